"""Each package alone, after a move, without the others and its sources."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from moves import add_host_packages, build_folders, find_on_host, hide
from studio import ROOT, Studio

from rezbuild import audit
from rezbuild.catalogue import sources_toml
from rezbuild.elf import reader, symbols
from rezbuild.elf.host_libraries import host_libraries

pytestmark = pytest.mark.e2e
# The pkg-config modules of each package.
MODULES = {
    "bzip2": ["bzip2"],
    "expat": ["expat"],
    "gdbm": ["gdbm"],
    "libffi": ["libffi"],
    "libuuid": ["uuid"],
    "libxcrypt": ["libcrypt", "libxcrypt"],
    "mpdecimal": ["libmpdec"],
    "ncurses": ["formw", "menuw", "ncursesw", "panelw", "tinfo"],
    "readline": ["history", "readline"],
    "sqlite": ["sqlite3"],
    "tcl": ["tcl"],
    "tk": ["tk"],
    "xz": ["liblzma"],
    "zlib": ["zlib"],
    "zstd": ["libzstd"],
}
# Modules of another package that a .pc file names.
ALSO = {"tk": ["tcl"]}
DEFAULTS = {name: sources_toml.load(ROOT / "packages" / name).default for name in MODULES}
COPY = """\
import sys
from rez.package_copy import copy_package
from rez.package_repository import package_repository_manager
from rez.packages import get_package
source, target, *names = sys.argv[1:]
repository = package_repository_manager.get_repository(target)
for name in names:
    copy_package(get_package(*name.rsplit("-", 1), paths=[source]), repository)
"""
X11 = {"libX11.so.6", "libXft.so.2", "libfontconfig.so.1"}
SOURCES = Path(__file__).parent / "c"


@dataclass(frozen=True)
class MovedPackages:
    """The moved packages, and a folder for programs that use them."""

    repository: Path
    folder: Path

    def root(self, name: str) -> Path:
        found = self.repository.glob(f"{name}/*/platform-*/arch-*")
        (root,) = (path for path in found if path.parts[-3] == self.version(name))
        return root

    def version(self, name: str) -> str:
        """Return the default version, or the newest installed one if the default is missing."""
        versions = sorted(p.name for p in (self.repository / name).iterdir() if p.is_dir())
        return DEFAULTS[name] if DEFAULTS[name] in versions else versions[-1]

    def pkg_config(self, name: str, *arguments: str) -> str:
        """Run pkg-config without the host's modules."""
        names = (name, *ALSO.get(name, ()))
        path = ":".join(str(self.root(n) / "lib/pkgconfig") for n in names)
        env = {"PATH": os.environ["PATH"], "PKG_CONFIG_LIBDIR": path}
        done = subprocess.run(
            ["pkg-config", *arguments], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def compile(self, name: str, *extra: str) -> Path:
        """Compile ``c/<name>.c``; the program finds its library by rpath only."""
        module = {"libxcrypt": "libcrypt", "ncurses": "ncursesw"}.get(name, MODULES[name][-1])
        flags = shlex.split(self.pkg_config(name, "--cflags", "--libs", module))
        names = (name, *ALSO.get(name, ()))
        paths = [f"-Wl,-rpath,{self.root(n) / 'lib'}" for n in names]
        program = self.folder / name
        words = ["cc", SOURCES / f"{name}.c", "-o", program, *flags, *extra, *paths]
        subprocess.run(words, check=True, cwd=self.folder)
        self.check_libraries(program)
        return program

    def check_libraries(self, program: Path) -> None:
        """Assert that ld.so loads only glibc, moved packages, and X11 with its dependencies."""
        env = {"LD_TRACE_LOADED_OBJECTS": "1"}
        host = _closure(X11) if program.name == "tk" else set()
        lines = subprocess.run([program], env=env, capture_output=True, text=True, check=True)
        for line in lines.stdout.splitlines():
            name, _, where = line.strip().partition(" => ")
            soname = Path(name.split()[0]).name
            if soname not in host_libraries().glibc | {"linux-vdso.so.1"} | host:
                assert str(self.repository) in where or str(self.repository) in name, line

    def run(self, *argv: str | Path, **env: str) -> str:
        done = subprocess.run(
            argv,
            env={"PATH": "/nowhere", **env},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


def _closure(sonames: set[str]) -> set[str]:
    """Return libraries of the host with all their dependencies."""
    found: set[str] = set()
    while sonames:
        found |= sonames
        paths = [path for name in sonames if (path := find_on_host(name))]
        sonames = {needed for path in paths for needed in reader.read(path).needed} - found
    return found


@pytest.fixture(scope="module")
def moved(scratch: Path) -> Iterator[MovedPackages]:
    """Build the packages in the chain's studio, copy them, and hide the originals."""
    studio = Studio(Path(os.environ.get("REZBUILD_TEST_CHAIN") or scratch / "built"))
    studio.rezbuild("build", *MODULES)
    repository = scratch / "moved packages"
    (scratch / "programs").mkdir()
    repository.mkdir()
    add_host_packages(studio, repository)
    names = [
        f"{name}-{version.name}"
        for name in MODULES
        for version in (studio.local / name).iterdir()
        if version.is_dir()
    ]
    studio.run(sys.executable, "-c", COPY, studio.local, repository, *names)
    with hide(studio.local, *build_folders()):
        yield MovedPackages(repository, scratch / "programs")


@pytest.mark.parametrize("name", MODULES)
def test_each_package_passes_the_audit(moved, name):
    """Only glibc comes from the host, and X11 for Tk."""
    report = audit.audit(moved.root(name))
    assert report.errors == ()
    notes = {note.message.split()[0] for note in report.notes}
    assert notes <= (X11 if name == "tk" else set())


@pytest.mark.parametrize("name", MODULES)
def test_pkg_config_gives_the_current_folder(moved, name):
    root = moved.root(name)
    for module in MODULES[name]:
        words = shlex.split(moved.pkg_config(name, "--cflags", "--libs", module))
        places = [Path(word[2:]).resolve() for word in words if word[:2] in ("-I", "-L")]
        assert root.resolve() / "lib" in places, (module, words)
        assert all(place.is_dir() for place in places), words
        assert moved.pkg_config(name, "--modversion", module)


@pytest.mark.parametrize("name", MODULES)
def test_package_contains_only_needed_files(moved, name):
    """No static libraries without a shared one (except Tcl's stubs), and no manual pages."""
    root = moved.root(name)
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if path.suffix == ".la"]
    static = {path for path in files if path.suffix == ".a"}
    alone = {path.name for path in static if not path.with_suffix(".so").exists()}
    assert alone <= {"libtclstub8.6.a", "libtkstub8.6.a"}
    assert not [path for path in root.rglob("*") if path.name in ("man", "info", "doc", "locale")]
    for path in files:
        if path.name != "build.rxt":
            data = path.read_bytes()
            places = (os.fsencode(ROOT), b"rezbuild-e2e-", b"/needs/")
            assert not [place for place in places if place in data], path


PROGRAMS = {
    "bzip2": (),
    "expat": (),
    "gdbm": ("-lgdbm_compat",),
    "libffi": (),
    "libuuid": (),
    "libxcrypt": (),
    "mpdecimal": (),
    "sqlite": (),
    "readline": (),
    "xz": (),
    "zstd": (),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_that_uses_the_package_runs(moved, name):
    out = moved.run(moved.compile(name, *PROGRAMS[name]))
    assert out in ("ok", moved.version(name)), out


# Terminals.


def test_ncurses_knows_host_and_built_in_terminals(moved):
    """On a host without terminfo, only the most used terminals are known."""
    program = moved.compile("ncurses", "-lpanelw")
    known = ["xterm-256color", "screen-256color", "tmux", "linux", "vt220", "alacritty", "kitty"]
    env = {"TERMINFO": "/nowhere", "HOME": "/nowhere"}
    command = "for d in /etc /lib /usr/share /usr/lib; do"
    command += " [ ! -d $d/terminfo ] || mount -t tmpfs none $d/terminfo; done"
    unshare = ("/usr/bin/unshare", "--map-root-user", "--mount", "/bin/sh", "-c")
    try:
        moved.run(*unshare, command, PATH="/usr/bin:/bin")
    except AssertionError as error:
        pytest.skip(f"no mount namespace for this user: {error}")
    rule = f'{command}; exec "$@"'
    words = (*unshare, rule, "sh", program, *known, "sun")
    lines = moved.run(*words, **env, PATH="/usr/bin:/bin").splitlines()
    assert lines[0] == "xterm-256color: 256 127"
    assert lines[1] == "screen-256color: 256 127"
    assert [line.split(":")[0] for line in lines] == [*known, "sun"]
    assert [line for line in lines if "unknown" in line] == ["sun: unknown"]
    if any(Path(f, "s/sun").exists() for f in ("/lib/terminfo", "/usr/share/terminfo")):
        assert "unknown" not in moved.run(program, *known, "sun", **env)


def test_placeholder_prefix_is_in_no_library(moved):
    for path in (moved.root("ncurses") / "lib").glob("*.so*"):
        assert b"/rezbuild/" not in path.read_bytes(), path


# Tcl and Tk.

TCL = """\
set found {}
lappend found [encoding convertfrom shiftjis \\x82\\xa0]
lappend found [clock format 0 -timezone :UTC -format %Y]
lappend found [clock format 0 -timezone :UTC -format %B -locale de]
lappend found [zlib crc32 rez]
package require msgcat
package require http
lappend found [llength [encoding names]] $tcl_library $tcl_patchLevel
"""


def check_tcl(out: str, library: Path, version: str) -> None:
    text, year, month, crc, *_ = out.split()
    assert (text, year, month, crc) == ("\u3042", "1970", "Januar", "7234284")
    # A Tcl list quotes words with spaces by braces.
    assert f"{{{library}}}" in out
    assert out.endswith(f" {version}")


@pytest.mark.parametrize("layout", ["lib", "deps/tcl/8.6.0/lib"])
def test_tcl_finds_its_scripts_beside_its_library(moved, tmp_path, layout):
    """The program is in another folder, and only the library and its scripts are copied."""
    program = moved.compile("tcl")
    folder = tmp_path / "b\u00fcndel one" / layout
    folder.mkdir(parents=True)
    lib = moved.root("tcl") / "lib"
    shutil.copy(lib / "libtcl8.6.so", folder)
    # The rpath leads to its zlib.
    shutil.copytree(moved.root("tcl") / "deps", folder.parent / "deps")
    for scripts in ("tcl8", "tcl8.6"):
        shutil.copytree(lib / scripts, folder / scripts)
    where = {"LD_LIBRARY_PATH": str(folder), "LC_ALL": "C.UTF-8"}
    check_tcl(moved.run(program, TCL, **where), folder / "tcl8.6", moved.version("tcl"))
    # Scripts of another patch level from a DCC are ignored.
    foreign = tmp_path / "tcl8.6"
    foreign.mkdir()
    (foreign / "init.tcl").write_text("package require -exact Tcl 8.6.1\n")
    out = moved.run(program, TCL, **where, TCL_LIBRARY=str(foreign))
    check_tcl(out, folder / "tcl8.6", moved.version("tcl"))


def test_tcl_and_tk_config_compute_their_paths(moved):
    for name in ("tcl", "tk"):
        root = moved.root(name)
        variable = name.upper()
        show = f'. "$1"; echo "${variable}_PREFIX"; echo "${variable}_LIB_SPEC"'
        out = moved.run(
            *("/bin/sh", "-c", show, "sh", root / f"lib/{name}Config.sh"),
            **{f"{variable}_BIN_DIR": str(root / "lib")},
        )
        assert out.splitlines()[0] == str(root)
        assert f"-L{root}/lib -l{name}8.6" in out
        assert "/rezbuild/" not in (root / f"lib/{name}Config.sh").read_text()


def test_tk_draws(moved, display):
    program = moved.compile("tk")
    script = "ttk::button .b -text x; pack .b; update; list [winfo width .b] $tk_library"
    out = moved.run(program, script, DISPLAY=display)
    assert int(out.split()[0]) > 10
    assert str(moved.root("tk") / "lib/tk8.6") in out
    wish = moved.root("tk") / "bin/wish"
    code = "puts [list $tcl_library $tk_library]; exit"
    (moved.folder / "code.tcl").write_text(code)
    assert str(moved.root("tk") / "deps/tcl") in moved.run(wish, "code.tcl", DISPLAY=display)


def test_tk_has_no_symbols_of_libraries_of_the_host(moved):
    """The linker exports _edata if a library in the link does, e.g. libX11 of Debian 12."""
    exported = symbols.exported(moved.root("tk") / "lib/libtk8.6.so")
    assert "Tk_Init" in exported
    assert not exported & {"_edata", "_end", "__bss_start"}


# Commands.


@pytest.mark.parametrize(
    ("name", "argv", "words"),
    [
        ("bzip2", ("bzip2", "--help"), ""),
        ("gdbm", ("gdbmtool", "--version"), "gdbmtool"),
        ("ncurses", ("infocmp", "-1", "xterm"), "xterm"),
        ("ncurses", ("tic", "-V"), "ncurses"),
        ("ncurses", ("tput", "-T", "xterm-256color", "colors"), "256"),
        ("sqlite", ("sqlite3", ":memory:", "select fts5(1) is null"), "0"),
        ("tcl", ("tclsh8.6",), ""),
        ("xz", ("xz", "--version"), "liblzma"),
        ("zstd", ("zstd", "--version"), "Zstandard"),
    ],
)
def test_commands_of_packages_run(moved, name, argv, words):
    program = moved.root(name) / "bin" / argv[0]
    moved.check_libraries(program)
    if name == "sqlite":
        assert moved.run(program, ":memory:", "select 6 * 7") == "42"
    else:
        assert words in moved.run(program, *argv[1:])


# Speed.

HOST = {
    "bzip2": ("libbz2.so.1.0", "libbz2.so.1"),
    "xz": ("liblzma.so.5",),
    "zlib": ("libz.so.1",),
    "sqlite": ("libsqlite3.so.0",),
}


def _measure_pairs(program: Path, name: str, own: Path) -> list[float]:
    for soname in HOST[name]:
        done = subprocess.run(
            [program, name, own, soname, "6"], capture_output=True, text=True, check=False
        )
        if done.returncode != 3:
            assert done.returncode == 0, done.stderr
            return [float(line) for line in done.stdout.split()]
    pytest.skip(f"the host has no {HOST[name][0]}")


@pytest.mark.parametrize("name", HOST)
def test_speed_is_that_of_the_distribution(moved, name):
    """CPU time is compared with the host's library in one process, in paired rounds.

    The addresses that a process gets change the ratio by some hundredths in all of its rounds. So a
    process that measures too much is followed by a second process.
    """
    program = moved.folder / "speed"
    if not program.exists():
        words = ["cc", "-O2", SOURCES / "speed.c", "-o", program, "-ldl"]
        subprocess.run(words, check=True)
    (own,) = (moved.root(name) / "lib").glob("*.so")
    ratios: list[float] = []
    for _ in range(3):
        ratios += _measure_pairs(program, name, own)
        if min(ratios) <= 1.1:
            break
    print(name, ratios)
    assert min(ratios) <= 1.1, ratios
