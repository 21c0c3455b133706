"""Compilers for an older glibc than the host's: real sysroots, compilers and programs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from host_tools import require_newer_glibc

from rezbuild.audit import glibc
from rezbuild.build import glibc_floor, glibc_sysroot, toolchain
from rezbuild.elf import reader
from rezbuild.errors import ChecksumError, MachineError
from rezbuild.files import diff_trees
from rezbuild.settings import Settings
from rezbuild.util.glibc_version import host_glibc, number

FLOOR = "2.28"
# pthread_create has moved to libc.so.6 with version 2.34; hypot has a new version in 2.35.
PROGRAM = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
static void leave(void) { }
static void *count(void *data) { ++*(int *)data; return NULL; }
int main(int argc, char **argv) {
    int counted = 0;
    char random[4];
    struct stat facts;
    pthread_t thread;
    if (pthread_create(&thread, NULL, count, &counted) || pthread_join(thread, NULL)) return 1;
    if (getrandom(random, 4, 0) != 4 || memfd_create("name", 0) < 0) return 2;
    if (atexit(leave) || at_quick_exit(leave) || stat(argv[0], &facts)) return 3;
    if (copy_file_range(-1, NULL, -1, NULL, 1, 0) != -1) return 4;
    printf("%d %.1f %d\\n", counted, hypot(2 + argc, 4), dlsym(RTLD_DEFAULT, "main") == NULL);
    return 0;
}
"""
VARIABLES = """\
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
extern char **__environ;
int main(int argc, char **argv) {
    tzset();
    printf("%s %s %s %s ", environ[0], __environ[0], tzname[0], tzname[1]);
    printf("%ld %d ", timezone, daylight);
    printf("%s %d ", program_invocation_short_name, program_invocation_name == argv[0]);
    lgamma(-0.5 * argc);
    printf("%d\\n", signgam);
    return 0;
}
"""
SPEEDS = """\
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
int main(void) {
    speed_t speeds[] = {B50, B9600, EXTB, B57600, B4000000};
    struct termios facts;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0) return 1;
    for (int i = 0; i < 5; i++) {
        if (tcgetattr(terminal, &facts) || cfsetispeed(&facts, speeds[i])) return 2;
        if (cfsetospeed(&facts, speeds[i]) || tcsetattr(terminal, TCSANOW, &facts)) return 3;
        if (tcgetattr(terminal, &facts) || cfgetospeed(&facts) != speeds[i]) return 4;
    }
    return 0;
}
"""
# setup.py of CPython 3.11 names them.
HOST_FOLDERS = ("-I/usr/include", f"-I/usr/include/{os.uname().machine}-linux-gnu")
LIBRARIES = ("-lm", "-lpthread", "-ldl")
# SOURCE is newer_functions.c, compiled as for the floor.
NEWER_FUNCTIONS = """\
#define OWN static
#include <features.h>
#undef __GLIBC_PREREQ
#define __GLIBC_PREREQ(major, minor) 0
#define sem_clockwait own_sem_clockwait
#define close_range own_close_range
#include <stddef.h>
#ifdef WITHOUT_THE_HOSTS
#include <dlfcn.h>
static void *none(void *handle, const char *name) { return NULL; }
#define dlsym none
#endif
#include "SOURCE"
#include <stdio.h>
int main(void) {
    struct timespec until;
    sem_t semaphore;
    sem_init(&semaphore, 0, 1);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) { until.tv_sec++; until.tv_nsec -= 1000000000; }
    printf("%d ", own_sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until));
    printf("%d ", own_sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until));
    printf("%d ", errno == ETIMEDOUT);
    int copy = dup(1);
    own_close_range(copy, copy, 0);
    printf("%d\\n", dup2(copy, copy));
    return 0;
}
"""


@pytest.fixture(scope="module", autouse=True)
def newer_host():
    require_newer_glibc(FLOOR)


@pytest.fixture(scope="module", params=["gcc", "clang"])
def tools(request) -> toolchain.Toolchain:
    """Find gcc and, if it is installed, clang by any name, e.g. clang-19."""
    names = [request.param, *(f"{request.param}-{number}" for number in range(30, 12, -1))]
    found = [name for name in names if toolchain.which(name, toolchain.SYSTEM_PATH)]
    if not found:
        pytest.skip(f"{request.param} is not installed")
    return toolchain.find(Settings.read({"REZBUILD_CC": found[0]}))


@pytest.fixture(scope="module")
def wrapped(tools, tmp_path_factory) -> toolchain.Toolchain:
    return glibc_floor.wrap(tools, FLOOR, tmp_path_factory.mktemp("cache"))


def compiled(tools: toolchain.Toolchain, path: Path, source: str, *flags: str) -> Path:
    compiler = tools.cxx if path.suffix == ".cc" else tools.cc
    path.write_text(source)
    argv = [compiler, "-O2", *flags, path.name, "-o", path.stem, *LIBRARIES]
    env = {"PATH": tools.path}
    done = subprocess.run(
        argv, cwd=path.parent, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return path.with_name(path.stem)


def needed(program: Path) -> tuple[int, ...]:
    found = glibc.needs({program.name: reader.read(program)}).glibc
    assert found
    return number(found)


@pytest.mark.parametrize("flags", [(), ("-flto",), ("-no-pie",)], ids=["pie", "lto", "no-pie"])
def test_program_needs_no_newer_glibc_than_the_floor(wrapped, tools, tmp_path, flags):
    program = compiled(wrapped, tmp_path / "floor.c", PROGRAM, *flags)
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert told == "1 5.0 1\n"
    assert needed(program) <= number(FLOOR)
    assert needed(compiled(tools, tmp_path / "native.c", PROGRAM, *flags)) > number(FLOOR)


@pytest.mark.parametrize("floor", ["2.33", "2.34"])
def test_program_runs_that_is_built_for_any_glibc(tools, tmp_path, floor):
    """From 2.34 on, libc contains libpthread, libdl, librt and libutil."""
    require_newer_glibc(floor)
    other = glibc_floor.wrap(tools, floor, tmp_path / "cache")
    program = compiled(other, tmp_path / "any.c", PROGRAM, "-lrt", "-lutil")
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert told == "1 5.0 1\n"
    assert needed(program) <= number(floor)
    joined = {"libpthread.so.0", "libdl.so.2"}.isdisjoint(reader.read(program).needed)
    assert joined == (number(floor) >= (2, 34))


def test_programs_in_cpp_need_no_newer_glibc_than_the_floor(wrapped, tmp_path):
    source = """\
#include <iostream>
#include <thread>
int main() { std::thread([] { std::cout << "from a thread" << std::endl; }).join(); }
"""
    program = compiled(wrapped, tmp_path / "floor.cc", source)
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert told == "from a thread\n"
    assert needed(program) <= number(FLOOR)


@pytest.mark.parametrize("flags", [(), HOST_FOLDERS], ids=["plain", "host folders"])
def test_headers_are_those_of_the_floor(wrapped, tmp_path, flags):
    """configure finds no header and no macro that is newer."""
    source = """\
#include <features.h>
#if __has_include(<sys/pidfd.h>) || __has_include(<sys/single_threaded.h>)
#error "too new"
#endif
#if !__GLIBC_PREREQ(2, 28) || __GLIBC_PREREQ(2, 29) || !__has_include(<threads.h>)
#error "another version"
#endif
int main(void) { return 0; }
"""
    compiled(wrapped, tmp_path / "headers.c", source, *flags)


def test_newer_functions_are_found_by_configure_and_work(wrapped, tmp_path):
    """A test of autoconf: declared without a prototype, and linked."""
    for name in ("sem_clockwait", "close_range"):
        source = f"char {name}(void);\nint main(void) {{ return {name}(); }}\n"
        program = compiled(wrapped, tmp_path / f"{name}.c", source, "-fno-builtin", "-w")
        assert needed(program) <= number(FLOOR)


def test_libraries_of_a_newer_compiler_can_be_linked(wrapped, tmp_path):
    """libgcov of gcc on Debian 13 needs this function of glibc 2.38."""
    source = """\
long __isoc23_strtol(const char *text, char **end, int base);
int main(void) { return __isoc23_strtol("0x2a", (char **)0, 0) != 42; }
"""
    program = compiled(wrapped, tmp_path / "counts.c", source, "-fprofile-generate")
    subprocess.run([program], check=True, cwd=tmp_path)
    assert [*tmp_path.glob("counts.gcda"), *tmp_path.glob("default*.profraw")]
    assert needed(program) <= number(FLOOR)


@pytest.mark.parametrize("suffix", ["c", "cc"])
def test_newer_functions_are_declared(wrapped, tmp_path, suffix):
    source = """\
#include <fcntl.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>
#if PIDFD_NONBLOCK != O_NONBLOCK || !defined PIDFD_NONBLOCK
#error "no PIDFD_NONBLOCK"
#endif
int main() {
    sem_t semaphore;
    struct timespec until = {0, 0};
    sem_init(&semaphore, 0, 1);
    return sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until) || close_range(900, 900, 0);
}
"""
    flags = ("-D_GNU_SOURCE", "-Wall", "-Werror")
    program = compiled(wrapped, tmp_path / f"declared.{suffix}", source, *flags)
    subprocess.run([program], check=True)


@pytest.mark.parametrize("flags", [(), ("-DWITHOUT_THE_HOSTS",)], ids=["newer", "older"])
def test_newer_functions_do_the_same_on_older_hosts(tools, tmp_path, flags):
    """A posted semaphore is taken, the second wait ends in time, and the file is closed."""
    source = NEWER_FUNCTIONS.replace("SOURCE", str(glibc_sysroot.FUNCTIONS))
    program = compiled(tools, tmp_path / "newer.c", source, "-D_GNU_SOURCE", *flags)
    done = subprocess.run([program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "0 -1 1 -1\n"


def test_speeds_of_terminals_fit_the_functions_of_the_floor(wrapped, tmp_path):
    """With the numbers of glibc 2.42, an older cfsetospeed refuses each speed."""
    program = compiled(wrapped, tmp_path / "speeds.c", SPEEDS, "-Wall", "-Werror")
    subprocess.run([program], check=True)


@pytest.mark.parametrize("flags", [(), ("-no-pie",), ("-fPIC",)], ids=["pie", "no-pie", "pic"])
def test_variables_of_glibc_have_their_values(wrapped, tmp_path, flags):
    """Programs have copies of variables, which glibc knows by another name."""
    program = compiled(wrapped, tmp_path / "variables.c", VARIABLES, *flags)
    env = {"TZ": "AAA-3BBB"}
    done = subprocess.run([program], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "TZ=AAA-3BBB TZ=AAA-3BBB AAA BBB -10800 1 variables 1 -1\n"


def test_debug_data_and_assertions_do_not_name_the_sysroot(wrapped, tmp_path):
    source = "#include <stdio.h>\nint main(void) { return printf(__FILE__) + getchar(); }\n"
    program = compiled(wrapped, tmp_path / "named.c", source, "-g")
    assert b"/sysroot" not in program.read_bytes()
    assert b"/glibc" in program.read_bytes()


@pytest.mark.parametrize("option", ["-v", "--version", "-dumpmachine", "-print-prog-name=ld"])
def test_compiler_answers_without_a_file(wrapped, option):
    """configure and libtool ask so whether a compiler works."""
    for compiler in (wrapped.cc, wrapped.cxx):
        subprocess.run([compiler, option], env={"PATH": wrapped.path}, check=True)


def test_wrappers_are_made_once(wrapped, tools):
    (place,) = {Path(folder) for folder in wrapped.path.split(":") if "glibc" in folder}
    before = place.stat().st_mtime_ns
    assert glibc_floor.wrap(tools, FLOOR, place.parents[2]) == wrapped
    assert place.stat().st_mtime_ns == before


def test_sysroot_is_the_same_in_each_folder(wrapped, tools, tmp_path):
    """Else programs would have other build ids."""
    other = glibc_floor.wrap(tools, FLOOR, tmp_path / "another folder")
    roots = [Path(found.path.partition(":")[0]).with_name("sysroot") for found in (wrapped, other)]
    assert [d.path for d in diff_trees.compare(*roots)] == []


def test_floor_of_the_host_needs_no_sysroot(tools):
    host = host_glibc()
    assert glibc_floor.describe(host) == ""
    settings = Settings.read({"REZBUILD_GLIBC": host, "REZBUILD_CC": tools.cc})
    assert toolchain.find(settings) == tools


@pytest.mark.parametrize("version", ["2.16", "2.99", "3.0"])
def test_floor_out_of_range_is_refused(version):
    with pytest.raises(MachineError, match=rf"glibc {re.escape(version)} is not a possible"):
        glibc_floor.describe(version)


def test_floor_is_part_of_the_identity(tools):
    found = toolchain.find(Settings.read({"REZBUILD_GLIBC": FLOOR, "REZBUILD_CC": tools.cc}))
    assert found.identity != tools.identity
    assert FLOOR in found.identity
    recorded = {
        "compiler": found.description,
        "assembler": found.assembler,
        "linker": found.linker,
        "glibc_floor": found.glibc,
    }
    assert found.difference(recorded) == ""
    assert tools.difference(recorded) == f"it was built for glibc {found.glibc}"


@pytest.mark.parametrize(("version", "error"), [("0.17.1", ChecksumError), ("0.1", MachineError)])
def test_other_files_of_ziglang_are_refused(monkeypatch, tools, tmp_path, version, error):
    """A package with the pinned version and other files, and one with another version."""
    metadata = tmp_path / f"lib/ziglang-{version}.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: ziglang\nVersion: {version}\n")
    (tmp_path / "lib/ziglang").mkdir()
    (tmp_path / "lib/ziglang/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "lib")
    with pytest.raises(error, match=r"ziglang"):
        glibc_floor.wrap(tools, FLOOR, tmp_path / "cache")
    assert not list((tmp_path / "cache/glibc").glob("*/bin"))
