"""Packages for an older glibc than the host's: ``--glibc`` and the years' releases."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from chroots import Chroot, scratch_folder
from host_answers import LOCALES
from host_tools import require_newer_glibc
from loopback import serving
from moves import PYTHON, REQUEST, variant
from studio import ROOT, Studio

from rezbuild.audit import glibc
from rezbuild.elf import reader
from rezbuild.util.glibc_version import number

pytestmark = pytest.mark.e2e

FLOOR = "2.28"
# 3.11 builds its modules with setup.py, later series with make.
SERIES = "3.13"
# The payloads that the matrix tests.
PAYLOADS = ("fast", "optimized", "other series")
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
    """plan, record, bill of materials and manifest name it; a change of it builds again."""
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
    assert "--glibc-m is unknown; is it --glibc" in done.stderr


def test_reproduce_builds_for_the_floor_of_the_installed_package(studio, threads):
    studio.rezbuild("build", "top", "--glibc", FLOOR)
    out = studio.rezbuild("reproduce", "top").stdout
    assert "the first build is" in out
    assert "identical byte for byte" in out


@pytest.fixture(scope="module")
def chain(scratch: Path) -> Studio:
    """Build the chain under test for the older glibc.

    While tests are written, the folder that REZBUILD_TEST_CHAIN names keeps it.
    """
    require_newer_glibc(FLOOR)
    kept = os.environ.get("REZBUILD_TEST_CHAIN")
    chain = Studio(Path(f"{kept}-glibc") if kept else scratch / "older glibc")
    given = {name: value for name, value in os.environ.items() if name == "REZBUILD_CCACHE"}
    chain.rezbuild("build", REQUEST, REZBUILD_GLIBC=FLOOR, **given)
    return chain


@pytest.fixture(scope="module")
def optimized(chain: Studio) -> Studio:
    """Build two series with PGO and LTO for the older glibc, with the packages of the chain."""
    studio = Studio(chain.folder.with_name(f"{chain.folder.name}-optimized"))
    if not studio.local.exists():
        shutil.copytree(chain.local, studio.local, symlinks=True)
    for request in (REQUEST, f"python-{SERIES}"):
        studio.rezbuild("build", request, "--profile", "optimized", REZBUILD_GLIBC=FLOOR)
    return studio


@pytest.fixture(scope="module")
def payloads(chain: Studio, optimized: Studio) -> dict[str, Path]:
    """Return the payloads of python, by their names in PAYLOADS."""
    (other,) = (path.name for path in (optimized.local / "python").glob(f"{SERIES}.*"))
    found = (
        variant(chain.local),
        variant(optimized.local),
        variant(optimized.local, version=other),
    )
    return dict(zip(PAYLOADS, found))


@pytest.mark.matrix
@pytest.mark.parametrize("which", PAYLOADS)
def test_no_file_of_python_needs_a_newer_glibc(chain, payloads, which):
    root = payloads[which]
    files = {str(path.relative_to(root)): reader.read(path) for path in reader.walk(root)}
    needs = glibc.needs(files)
    assert needs.glibc
    assert number(needs.glibc) <= number(FLOOR), needs.because
    record = json.loads((root / "rezbuild.json").read_text())
    assert record["profile"] == ("fast" if which == "fast" else "optimized")
    chain.rezbuild("check", root, "--moved")


@pytest.mark.matrix
def test_python_for_an_older_glibc_equals_a_native_stock_build(chain):
    """A new process is needed, because tests read their settings at import."""
    environ = {"REZBUILD_TEST_CHAIN": str(chain.folder), "REZBUILD_GLIBC": FLOOR}
    files = [ROOT / "tests/e2e" / name for name in ("fidelity", "test_program_code.py")]
    argv = (sys.executable, "-m", "pytest", "-q", "-m", "not matrix", *files)
    done = chain.run(*argv, ok=False, **environ)
    assert done.returncode == 0, done.stdout[-20000:]


@pytest.mark.matrix
def test_optimized_python_for_an_older_glibc_passes_cpythons_tests(optimized):
    """No test fails or is skipped but those that known-failures.toml lists for all builds."""
    out = optimized.rezbuild("check", variant(optimized.local), "--moved", "--regrtest").stdout
    assert "FAILED" not in out
    assert "test suite: " in out


class Release:
    """A Debian release with its own Python, and our payloads in folders.

    Attributes:
        payload: The path of the fast payload inside the release.
    """

    PACKAGES = ("ca-certificates", "fonts-dejavu-core", "locales", "ncurses-term", "python3-tk")

    def __init__(self, suite: str, payloads: Mapping[str, Path]) -> None:
        self.system = Chroot(suite, scratch_folder())
        self.system.install(*self.PACKAGES, "xvfb")
        for name, payload in payloads.items():
            shutil.copytree(payload, self.system.folder / "another place" / name, symlinks=True)
        self.payload = "/another place/fast"
        shutil.copy(ROOT / "tests/support/host_answers.py", self.system.folder)
        lines = [f"{name} {name.partition('.')[2]}\n" for name in LOCALES if "_" in name]
        (self.system.folder / "etc/locale.gen").write_text("".join(lines))
        self.system.run("locale-gen")

    def answers(self, python: str, subject: str) -> Any:
        return json.loads(self.system.run(python, "/host_answers.py", subject).stdout)


@pytest.fixture(scope="module", params=["bullseye", "bookworm", "trixie"])
def release(payloads, request) -> Iterator[Release]:
    """Install Debian 11, 12 or 13, with glibc 2.31, 2.36 or 2.41."""
    found = Release(request.param, payloads)
    yield found
    shutil.rmtree(found.system.folder)


@pytest.mark.matrix
@pytest.mark.parametrize("which", PAYLOADS)
def test_python_for_an_older_glibc_passes_its_test_on_other_releases(release, which):
    test = f"/another place/{which}/rezbuild-test/run.sh"
    told = release.system.run("sh", test, "long").stdout
    version = SERIES if which == PAYLOADS[-1] else PYTHON
    assert f"ok      python3 has version {version}" in told


@pytest.mark.matrix
@pytest.mark.parametrize("subject", ["locales", "terminals", "window"])
def test_other_releases_look_the_same_as_from_their_own_python(release, subject):
    """The payload reads the host's locales, terminals and fonts."""
    ours = release.answers(f"{release.payload}/bin/python3", subject)
    assert ours == release.answers("/usr/bin/python3", subject)


@pytest.mark.matrix
def test_other_releases_tell_which_authorities_to_trust(release, tmp_path):
    code = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read())"
    ask = (f"{release.payload}/bin/python3", "-c", code)
    with serving(tmp_path) as server:
        refused = release.system.run(*ask, server.url, ok=False)
        assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
        trusted = release.system.folder / "usr/local/share/ca-certificates"
        shutil.copy(server.authority, trusted / "studio.crt")
        release.system.run("update-ca-certificates")
        assert release.system.run(*ask, server.url).stdout == "b'hello'\n"
