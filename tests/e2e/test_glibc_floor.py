"""Packages for an older glibc than the host's: ``--glibc`` and the years' releases."""

from __future__ import annotations

import json

import pytest
from host_tools import require_newer_glibc

pytestmark = pytest.mark.e2e

FLOOR = "2.28"
# hypot has version 2.35, and pthread_create version 2.34.
PROGRAM = """\
#include <math.h>
#include <pthread.h>
#include <stdio.h>
int low(void);
static void *none(void *data) { return data; }
int main(int argc, char **argv) {
    pthread_t thread;
    pthread_create(&thread, NULL, none, NULL);
    pthread_join(thread, NULL);
    printf("%d %.0f\\n", low(), hypot(3 * argc, 4));
    return 0;
}
"""
MAKEFILE = """\
all:
\t$(CC) $(CFLAGS) -Wl,-z,now top.c -o top $(LDFLAGS) -llow -lm
install:
\tmkdir -p $(DESTDIR)$(PREFIX)/bin
\tcp top $(DESTDIR)$(PREFIX)/bin
"""


@pytest.fixture(autouse=True)
def newer_host():
    require_newer_glibc(FLOOR)


@pytest.fixture
def threads(samples):
    samples.add("top", "3.0.0", {"Makefile": MAKEFILE, "top.c": PROGRAM}, requires='"low-1"')


def payload(studio, name: str):
    (found,) = studio.local.glob(f"{name}/*/*/*")
    return found


def record(studio, name: str) -> dict:
    return json.loads((payload(studio, name) / "rezbuild.json").read_text())


@pytest.mark.usefixtures("threads")
def test_floor_is_an_input_of_the_build(studio):
    """plan, record, bill of materials and manifest name it; another one builds again."""
    assert "built for glibc 2.28 (" in studio.rezbuild("plan", "top", "--glibc", FLOOR).stdout
    studio.rezbuild("build", "top", "--glibc", FLOOR)
    found = record(studio, "top")
    assert found["glibc_floor"].startswith("2.28 (ziglang ")
    assert tuple(map(int, found["glibc"].split("."))) <= (2, 28)
    assert studio.in_env(studio.local, "top", "top").stdout == "42 5\n"
    bill = json.loads((payload(studio, "top") / "rezbuild-sbom.cdx.json").read_text())
    named = {"name": "rezbuild:glibc-floor", "value": found["glibc_floor"]}
    assert named in bill["metadata"]["component"]["properties"]
    assert found["glibc_floor"] in studio.rezbuild("manifest", "top").stdout
    again = studio.rezbuild("build", "top", REZBUILD_GLIBC=FLOOR).stdout
    assert "nothing to do" in again
    native = studio.rezbuild("build", "top").stdout
    assert f"it was built for glibc {found['glibc_floor']}" in native
    assert "glibc_floor" not in record(studio, "top")
    assert tuple(map(int, record(studio, "top")["glibc"].split("."))) > (2, 28)


@pytest.mark.usefixtures("threads")
def test_short_forms_of_options_are_refused(studio):
    """``--glibc`` was once a short form of ``--glibc-max``."""
    done = studio.rezbuild("plan", "top", "--glibc-m", FLOOR, ok=False)
    assert done.returncode == 2
    assert "unrecognized arguments: --glibc-m" in done.stderr


def test_reproduce_builds_for_the_floor_of_the_installed_package(studio, threads):
    studio.rezbuild("build", "top", "--glibc", FLOOR)
    out = studio.rezbuild("reproduce", "top").stdout
    assert "the first build is" in out
    assert "identical byte for byte" in out
