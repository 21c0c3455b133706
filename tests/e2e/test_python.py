"""The real chain, built once and moved in several ways; the original is hidden."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import TlsServer, serving
from moves import (
    DEFAULTS,
    NAMES,
    PROBE,
    PYTHON,
    PYTHON_SERIES,
    REQUEST,
    check,
    find_on_host,
    probe,
    variant,
)
from preload import faults
from studio import ROOT, Studio

pytestmark = pytest.mark.e2e


def test_python_works_in_the_local_repository(built):
    check(probe(built, built.local, f"python=={PYTHON}"), variant(built.local))


def test_another_user_runs_it_read_only(built, moved):
    """Root can write everywhere, so another user runs it."""
    root = variant(moved)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if is_root() else []
    done = subprocess.run(
        [*prefix, root / "bin/python3", "-c", PROBE],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    check(json.loads(done.stdout), root)


def is_root() -> bool:
    return os.geteuid() == 0


def test_commands_work_through_links(built, moved, scratch):
    root = variant(moved)
    link = scratch / "pip link"
    link.symlink_to(root / "bin/pip3")
    for command in (root / "bin/pip", root / "bin/pip3", link):
        out = built.run(command, "--version", cwd=scratch).stdout
        assert str(root.resolve()) in out
    out = built.in_env(moved, "python", "pydoc3", "zlib").stdout
    assert "zlib" in out


def test_links_of_the_payload_are_relative(built):
    for name in NAMES:
        root = variant(built.local, name, DEFAULTS[name])
        links = [path for path in root.rglob("*") if path.is_symlink()]
        assert links
        assert not [path for path in links if os.readlink(path).startswith("/")]


def test_no_file_names_a_folder_of_the_build(built):
    """Rez's own records contain the folder and are exempt."""
    places = [os.fsencode(path) for path in (ROOT, built.folder)]
    for name in NAMES:
        root = variant(built.local, name, DEFAULTS[name])
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.name != "build.rxt":
                data = path.read_bytes()
                assert not [place for place in places if place in data], path


def test_missing_locale_is_harmless(built, moved):
    """Artists' environments name locales that farm hosts lack; readline must not crash."""
    code = "import readline, sys; print(readline._READLINE_LIBRARY_VERSION)"
    out = built.in_env(moved, "python", "python3", "-c", code, LC_ALL="xx_YY.UTF-8").stdout
    assert out.strip() == DEFAULTS["readline"]


# TLS.


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsServer]:
    with serving(tmp_path) as server:
        yield server


TLS = """\
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2] or None)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[3]) as tls:
        print(tls.version())
"""


def test_tls_handshake_verifies_the_certificate(built, moved, server):
    def handshake(authority: str, name: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        arguments = (str(server.port), authority, name)
        return built.in_env(moved, "python", "python3", "-c", TLS, *arguments, ok=ok)

    assert handshake(str(server.authority), "localhost").stdout.strip() == "TLSv1.3"
    for authority, name in (("", "localhost"), (str(server.authority), "other.invalid")):
        done = handshake(authority, name, ok=False)
        assert done.returncode != 0
        assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


def test_host_authorities_are_found_without_a_variable(built, moved):
    """OpenSSL's own folder does not exist; it searches the host's folders."""
    code = "import ssl; c = ssl.create_default_context(); print(len(c.get_ca_certs()))"
    out = built.in_env(moved, "python", "python3", "-c", code).stdout
    known = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    assert (int(out) > 10) == any(Path(path).exists() for path in known)


def test_openssl_command_reads_its_own_configuration(built, moved_openssl):
    """It reads openssl.cnf beside the library, never the host's."""
    out = built.in_env(moved_openssl, "openssl", "openssl", "version").stdout
    assert f"OpenSSL {DEFAULTS['openssl']}" in out
    arguments = "req -new -nodes -newkey rsa:2048 -keyout /dev/null -subj /CN=x -out /dev/null"
    built.in_env(moved_openssl, "openssl", "openssl", *arguments.split())
    # OpenSSL 1.1.1 has no providers, so legacy algorithms are always available.
    legacy = () if DEFAULTS["openssl"] < "3" else ("-provider", "legacy")
    argv = ("openssl", "dgst", "-md4", *legacy, "/dev/null")
    digest = built.in_env(moved_openssl, "openssl", *argv)
    assert "31d6cfe0d16ae931b73c59d7e0c089c0" in digest.stdout


# A host that interferes


def library_of_the_host(soname: str, folder: Path) -> None:
    """Copy the host's library into ``folder``, or make an empty library with its name."""
    found = find_on_host(soname)
    if found is not None:
        shutil.copy(found, folder / soname)
        return
    argv = ["cc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-", f"-Wl,-soname,{soname}"]
    subprocess.run([*argv, "-o", folder / soname], input=b"int none;\n", check=True)


FOREIGN = ("libssl.so.3", "libcrypto.so.3", "libz.so.1", "libreadline.so.8")


def test_hostile_environment_changes_nothing(built, moved, scratch):
    folder = scratch / "leaked"
    folder.mkdir()
    libpython = f"libpython{'.'.join(PYTHON.split('.')[:2])}.so.1.0"
    for soname in (*FOREIGN, libpython):
        library_of_the_host(soname, folder)
    other = scratch / "other python"
    (other / "lib").mkdir(parents=True)
    (other / "os.py").write_text("raise SystemExit('a foreign os module')\n")
    seen = probe(
        built,
        moved,
        LD_LIBRARY_PATH=str(folder),
        PYTHONHOME=str(other),
        PYTHONPATH=str(other),
    )
    check(seen, variant(moved))
    assert str(other) not in seen["path"]


def test_preloaded_host_library_is_not_used(built, moved):
    """The host's tk loads the host's libz before our zlib module is imported."""
    code = "import _tkinter, zlib; print(zlib.ZLIB_RUNTIME_VERSION, open('/proc/self/maps').read())"
    version, maps = built.in_env(moved, "python", "python3", "-c", code).stdout.split(None, 1)
    assert version == DEFAULTS["zlib"]
    assert "/usr/lib" in maps
    assert "libz" in maps


def test_tcl_and_tk_are_where_nuitka_looks_for_them(moved):
    """Nuitka looks in <prefix>/lib; otherwise it copies the host's scripts of another version."""
    for place in ("tcl8.6/init.tcl", "tk8.6/tk.tcl"):
        assert (variant(moved) / "lib" / place).is_file()


def test_makefile_names_no_python_and_library_of_the_build_machine(moved):
    """configure searches the newest python3.X, and libnsl for a module that is not built."""
    (makefile,) = variant(moved).glob("lib/python3*/config-*/Makefile")
    text = makefile.read_text()
    assert re.findall(r"(?m)^PYTHON_FOR_REGEN\??=(.*)", text) == ["python3"]
    assert "-lnsl" not in text


WAITS = """\
import threading, time
event, lock = threading.Event(), threading.Lock()
lock.acquire()
for wait in (event.wait, lambda seconds: lock.acquire(timeout=seconds)):
    begin = time.monotonic()
    assert not wait(0.3)
    print(round(time.monotonic() - begin, 1))
"""


@pytest.mark.skipif(PYTHON_SERIES < (3, 11), reason="CPython before 3.11 waits by the wall clock")
@pytest.mark.parametrize("years", [100, -1])
def test_waits_take_as_long_if_the_clock_is_wrong(moved, tmp_path, years):
    """The wait must use sem_clockwait, which glibc has since 2.30, or its replacement."""
    offset = tmp_path / "offset"
    offset.write_text(str(years * 365 * 24 * 3600))
    argv = [variant(moved) / "bin/python3", "-I", "-c", WAITS]
    env = {**faults(), "CLOCK_OFFSET": str(offset)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0.3", "0.3"]


def test_leaked_library_path_affects_other_programs(built, moved, scratch):
    """This proves that the previous test leaks a path: a program without rpath is affected."""
    folder = scratch / "leaked 2"
    folder.mkdir()
    library_of_the_host("libz.so.1", folder)
    code = "import ctypes; ctypes.CDLL('libz.so.1'); print(open('/proc/self/maps').read())"
    argv = (sys.executable, "-S", "-c", code)
    out = built.in_env(moved, "python", *argv, LD_LIBRARY_PATH=str(folder)).stdout
    assert str(folder) in out


def test_pythonpath_of_a_package_survives_that_of_a_dcc(built, moved, scratch):
    """If PYTHONHOME is set, the package removes PYTHONPATH, unless another package has set it."""
    package = moved / "tool/1.0"
    package.mkdir(parents=True)
    (package / "package.py").write_text(
        'name = "tool"\nversion = "1.0"\n'
        'def commands():\n    env.PYTHONPATH.append("/of/the/tool")\n'
    )
    start = ("env", "--paths", moved)
    command = ("--", "python3", "-c", "import os; print(os.environ.get('PYTHONPATH'))")
    for requests in (("tool", "python"), ("python", "tool")):
        out = built.rez(*start, *requests, *command, PYTHONHOME="/dcc", PYTHONPATH="/dcc").stdout
        assert out.strip() == "/of/the/tool"
    shutil.rmtree(package.parent)


def test_user_pythonpath_stays(built, moved):
    code = "import os; print(os.environ.get('PYTHONPATH'), os.environ.get('PYTHONHOME'))"
    out = built.in_env(moved, "python", "python3", "-c", code, PYTHONPATH="/my/modules").stdout
    assert out.strip() == "/my/modules None"


# Building.


def test_second_build_is_quick_and_says_one_line(built):
    began = time.monotonic()
    out = built.rezbuild("build", REQUEST).stdout
    assert time.monotonic() - began < 20
    assert f" (nothing to do, {len(NAMES)} packages installed)\n" in out
    assert ": nothing to do" not in out


def test_failed_build_keeps_the_installed_python(built, scratch):
    recipes = scratch / "recipes"
    shutil.copytree(ROOT / "packages", recipes, ignore=shutil.ignore_patterns("build"))
    recipe = recipes / "python/recipe.py"
    recipe.write_text(recipe.read_text().replace("b.configure(", 'b.run("false", '))
    done = built.rezbuild("build", "python", "--recipes", recipes, ok=False)
    assert done.returncode == 7
    assert f"python {PYTHON}: false --enable-shared" in done.stderr
    check(probe(built, built.local), variant(built.local))


# Packages that build within a minute; one has a dependency.
QUICK = ("zlib", "bzip2", "tcl")


@pytest.mark.parametrize("names", [QUICK, pytest.param(NAMES, marks=pytest.mark.matrix)], ids=len)
def test_by_hand_in_each_folder_gives_the_same(built, scratch, names):
    """``rez-build -i`` runs in order, with a poisoned environment."""
    other = Studio(scratch / f"{len(names)} by hand")
    for name in ("platform", "arch"):
        other.rez("bind", name)
    leaked = other.folder / "leaked"
    leaked.mkdir()
    for soname in FOREIGN:
        library_of_the_host(soname, leaked)
    poison = {
        "LD_LIBRARY_PATH": str(leaked),
        "LD_RUN_PATH": "/poison/lib",
        "LIBRARY_PATH": "/poison/lib",
        "CFLAGS": "-DPOISON -O0 --no-such-option",
        "CPPFLAGS": "-I/poison/include",
        "LDFLAGS": "-L/poison/lib -lpoison",
        "CPATH": "/poison/include",
        "PYTHONHOME": "/poison",
        "PYTHONPATH": "/poison",
        "PKG_CONFIG_PATH": "/poison",
        "MAKEFLAGS": "--no-such-flag",
        "CC": "/poison/cc",
        "OPENSSL_CONF": "/poison/openssl.cnf",
        "DESTDIR": "/poison",
        "PERL5LIB": "/poison",
    }
    for name in names:
        other.rez("build", "-i", cwd=ROOT / "packages" / name, **poison)
    for name in names:
        mine, theirs = (variant(s.local, name, DEFAULTS[name]) for s in (built, other))
        assert listing(mine) == listing(theirs)
        for path in mine.rglob("*"):
            if path.is_file() and path.name not in ("build.rxt", "variant.json"):
                assert path.read_bytes() == (theirs / path.relative_to(mine)).read_bytes(), path
    if "python" in names:
        check(probe(other, other.local), variant(other.local))


def listing(root: Path) -> list[tuple[str, int]]:
    paths = sorted(root.rglob("*"))
    return [(str(path.relative_to(root)), path.lstat().st_mode) for path in paths]
