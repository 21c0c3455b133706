"""`rezbuild reproduce`: a second build under other conditions, compared byte for byte."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import json_page
import pytest
from moves import DEFAULTS
from sample_packages import Samples
from studio import ROOT, Studio

pytestmark = pytest.mark.e2e

CHAIN = sorted(
    path.parent.name
    for path in (ROOT / "packages").glob("*/recipe.py")
    if not path.parent.name.startswith("python_")
)
# The payload contains time, folder, user, host and jobs, in a text, a program and a library.
LEAKY = {
    "Makefile": "all:\n"
    "\techo 'a line that stays' > facts\n"
    "\techo user $$(id -u) host $$(uname -n) mask $$(umask) >> facts\n"
    "\techo place $$(pwd | cksum) >> facts\n"
    '\t$(CC) -DSTAMP="\\"built at $$(date +%s.%N)\\"" -Wl,-z,now main.c -o leaky $(LDFLAGS)\n'
    "\t$(CC) -c other.c -o other.o && touch other.o && ar rcU libother.a other.o\n"
    "install:\n\tmkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib\n"
    "\tcp leaky $(DESTDIR)$(PREFIX)/bin\n\tcp facts libother.a $(DESTDIR)$(PREFIX)/lib\n"
    "\tln -s facts $(DESTDIR)$(PREFIX)/lib/link-$$(uname -n)\n",
    "main.c": "#include <stdio.h>\nint main(void) { puts(STAMP); return 0; }\n",
    "other.c": "int other(void) { return 1; }\n",
}
# Bad modes: some private, some world-writable.
MODES = {
    "Makefile": "install:\n\tmkdir -p -m 700 $(DESTDIR)$(PREFIX)/bin\n"
    "\tmkdir -p -m 2777 $(DESTDIR)$(PREFIX)/share\n"
    "\tinstall -m 700 tool $(DESTDIR)$(PREFIX)/bin/tool\n"
    "\tinstall -m 555 tool $(DESTDIR)$(PREFIX)/bin/fixed\n"
    "\tinstall -m 666 text $(DESTDIR)$(PREFIX)/share/open\n"
    "\tinstall -m 400 text $(DESTDIR)$(PREFIX)/share/closed\n"
    "\ttouch $(DESTDIR)$(PREFIX)/share/made\n"
    "all:\n",
    "tool": "#!/bin/sh\n:\n",
    "text": "text\n",
}


@pytest.fixture
def leaky(samples: Samples) -> Samples:
    samples.add("leaky", "1.0.0", LEAKY)
    recipe = samples.recipes / "leaky/recipe.py"
    recipe.write_text(f"{recipe.read_text()}    (b.payload / 'lib/jobs').write_text(str(b.jobs))\n")
    return samples


def _differences(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return path and text of each difference in the JSON."""
    data = json_page.read(done.stdout)
    return {d["path"]: "\n".join([d["what"], *d["detail"]]) for d in data["differences"]}


def test_package_and_dependency_are_reproducible(studio: Studio, samples: Samples) -> None:
    studio.rezbuild("build", "top")
    done = studio.rezbuild("reproduce", "top", "--json")
    data = json_page.read(done.stdout)
    assert data["identical"]
    assert data["files"] >= 5
    assert Path(data["first"]).is_relative_to(studio.local)
    varied = data["varied"]
    assert varied["umask"] == "077"
    assert "TZ=<+1245>-12:45" in varied["environment"]
    # If the kernel allows it; otherwise the report says so.
    for name in ("user", "host name"):
        assert name in varied or any(line.startswith(name) for line in data["not_varied"])


def test_package_that_is_not_installed_is_built_twice(studio: Studio, samples: Samples) -> None:
    done = studio.rezbuild("reproduce", "low")
    assert done.stdout.count("low-1.0.0: building (") == 2
    assert "identical byte for byte" in done.stdout
    assert not studio.local.exists(), "nothing is installed"
    failed = studio.rezbuild("reproduce", "top", ok=False)
    assert failed.returncode == 11
    assert "rezbuild build low-1.0.0" in failed.stderr


def test_leaked_facts_are_shown(studio: Studio, leaky: Samples, tmp_path: Path) -> None:
    studio.rezbuild("build", "leaky", "-j2")
    keep = tmp_path / "kept"
    done = studio.rezbuild("reproduce", "leaky", "-j2", "--json", "--keep", keep, ok=False)
    assert done.returncode == 12
    found = _differences(done)
    assert sorted(found)[:4] == ["bin/leaky", "lib/facts", "lib/jobs", "lib/libother.a"]
    assert "-2\n+3" in found["lib/jobs"]
    assert "section .rodata" in found["bin/leaky"]
    assert "built at 1" in found["bin/leaky"]
    facts = found["lib/facts"]
    assert " a line that stays" in facts
    assert "\n-place" in facts
    assert "\n+place" in facts
    data = json_page.read(done.stdout)["varied"]
    if "user" in data:
        assert f"-user {os.getuid()} " in facts
        assert "+user 47110 " in facts
    if "host name" in data:
        assert f"host {socket.gethostname()}" in facts
        assert "host another-host" in facts
        assert "only in the first" in found[f"lib/link-{socket.gethostname()}"]
        assert "only in the second" in found["lib/link-another-host"]
    assert "member 2 other.o/: time, owner, mode, size" in found["lib/libother.a"]
    assert (keep / "the-second-build-in-another-place/payload/lib/facts").is_file()


def test_leaked_facts_are_shown_as_text(studio: Studio, leaky: Samples) -> None:
    studio.rezbuild("build", "leaky")
    done = studio.rezbuild("reproduce", "leaky", ok=False)
    assert done.returncode == 12
    assert "lib/facts: its content" in done.stdout
    assert "two builds from the same inputs differ" in done.stderr


def test_failed_second_build_gives_its_error(studio: Studio, samples: Samples) -> None:
    studio.rezbuild("build", "low")
    samples.edit("low/recipe.py", "b.make(", 'b.run("false")\n    b.make(')
    done = studio.rezbuild("reproduce", "low", ok=False)
    assert done.returncode == 7
    assert "was built from other inputs, so it is built twice" in done.stdout
    assert "low 1.0.0: false: exit code 1" in done.stderr


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_payload_modes_ignore_the_umask(studio: Studio, samples: Samples, umask: int) -> None:
    samples.add("modes", "1.0.0", MODES)
    recipes = [samples.recipes / name for name in ("low", "modes")]
    for family in ("platform", "arch"):
        studio.rez("bind", "-r", family)
    # With rez-build by hand, Rez makes some of the folders and files.
    for recipe in recipes:
        start = "import os, sys; os.umask(int(sys.argv.pop(1))); from rez.cli._main import "
        argv = ["-c", start + "run; run('build')", str(umask), "-i"]
        studio.run(sys.executable, *argv, cwd=recipe)
    _for_everyone(studio.local)
    found = studio.local / "modes/1.0.0/platform-linux/arch-x86_64"
    shown = {p.name: p.stat().st_mode & 0o7777 for p in (*found.glob("bin/*"), found / "share")}
    assert shown == {"tool": 0o755, "fixed": 0o555, "share": 0o755}
    files = {p.name: p.stat().st_mode & 0o7777 for p in found.glob("share/*") if p.is_file()}
    assert files == {"open": 0o644, "closed": 0o444, "made": 0o644}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_cache_of_another_user_is_refused(studio: Studio, samples: Samples) -> None:
    cache = Path(samples.environ["REZBUILD_CACHE"])
    (cache / "ccache").mkdir(parents=True)
    os.chown(cache / "ccache", 47110, 47110)
    done = studio.rezbuild("build", "low", ok=False)
    assert done.returncode == 10
    assert f"{cache}/ccache belongs to" in done.stderr
    os.chown(cache, 47110, 47110)
    assert studio.rezbuild("fetch", "low", ok=False).returncode == 10
    assert studio.rezbuild("fetch", "low", REZBUILD_TRUST_CACHE="1").returncode == 0


def _for_everyone(repository: Path) -> None:
    """Assert that everyone can read the payload, and only the owner can change it."""
    wrong = []
    for path in repository.rglob("*"):
        if path.is_symlink() or str(path.relative_to(repository)).startswith(".rezbuild"):
            continue
        mode = path.stat().st_mode & 0o7777
        needed = 0o755 if path.is_dir() else 0o444
        if mode & needed != needed or mode & 0o022:
            wrong.append(f"{mode:o} {path}")
    assert not wrong, wrong


def test_zlib_is_reproducible(built: Studio) -> None:
    """The installed package is the first build."""
    done = built.rezbuild("reproduce", "zlib")
    assert "the first build is " in done.stdout
    zlib = re.escape(f"zlib-{DEFAULTS['zlib']} (fast)")
    assert re.search(rf"{zlib}: \d+ files, identical byte for byte", done.stdout)


@pytest.mark.matrix
@pytest.mark.parametrize("name", CHAIN)
def test_whole_chain_is_reproducible(built: Studio, name: str, tmp_path: Path) -> None:
    built.rezbuild("build", name)  # python 3.11 does not use zstd
    done = built.rezbuild("reproduce", name, "--keep", tmp_path / "kept", ok=False)
    assert "the first build is " in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(tmp_path / "kept")


def test_static_libraries_contain_no_times_and_users(built):
    """ar(1) omits them with D; the configure of ncurses turns D off."""
    archives = sorted(built.local.glob("*/*/*/*/lib/*.a"))
    assert {path.name for path in archives} >= {"libncursesw.a", "libcrypto.a", "libz.a"}
    for path in archives:
        for line in built.run("ar", "tv", path, TZ="UTC").stdout.splitlines():
            assert line.split()[1] == "0/0", f"{path}: {line}"
            assert " 1970 " in line, f"{path}: {line}"
