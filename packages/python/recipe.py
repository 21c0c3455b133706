"""CPython with the shared libpython, built against what Rez resolved."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from rezbuild.build.recipe_api import Build
from rezbuild.errors import BuildError
from rezbuild.payload.sbom import Part

from . import inside, installed, managed, names, others

# Modules whose libraries have no Rez package, and that a studio does not need.
NOT_BUILT = {"nis": "Sun's yellow pages: libnsl and libtirpc; removed from CPython 3.13"}

# With PGO, gcc 12 takes the interpreter loop of CPython 3.13 for code that never runs, and puts it
# between such code. gcc knows this option from version 10 on.
GCC_LOOP = "Python/ceval.o: PY_CORE_CFLAGS += -fprofile-partial-training\n"
# clang 19 makes one indirect jump of all those in the interpreter loop, unless it may copy blocks
# with many predecessors; clang 20 always copies computed gotos (LLVM's TailDuplicator.cpp).
CLANG_19_LINK = "-Wl,-plugin-opt=-tail-dup-pred-size=1000,-plugin-opt=-tail-dup-succ-size=1000"

# The program whose run gives the PGO profile.
TRAINING = "training.py"

# Names of the build folder and of the source in debug data; python_debug uses the second, too.
WORK = "/usr/src/debug"
SOURCE = "/usr/src/debug/python"
FOLDERS = ("Include", "Modules", "Objects", "Parser", "Programs", "Python")

# Results of configure tests that depend on the build machine. In a chroot or container without
# shared memory, network or terminals, the tests would fail, and Python would have no semaphores.
ANSWERS = {
    "ac_cv_posix_semaphores_enabled": "yes",
    "ac_cv_broken_sem_getvalue": "no",
    "ac_cv_buggy_getaddrinfo": "no",
    "ac_cv_file__dev_ptmx": "yes",
    "ac_cv_file__dev_ptc": "no",
    # Headers and libraries that the build machine may have, and that no module uses.
    "ac_cv_header_db_h": "no",
    "ac_cv_have_libdb": "no",
    "ac_cv_header_gdbm_dash_ndbm_h": "no",
    "ac_cv_header_rpc_rpc_h": "no",
    "ac_cv_search_yp_match": "no",
    # By default, the newest python3.X of the build machine. No step of the build runs it.
    "ac_cv_prog_PYTHON_FOR_REGEN": "python3",
}

# Run by the new interpreter: its libraries must be those of the Rez packages, not the host's.
CHECK = """\
import sys
import decimal, pyexpat, ssl, zlib
found = {
    "expat": pyexpat.EXPAT_VERSION.partition("_")[2],
    "mpdecimal": decimal.__libmpdec_version__,
    "openssl": ssl.OPENSSL_VERSION.split()[1],
    "zlib": zlib.ZLIB_RUNTIME_VERSION,
}
wanted = dict(item.split("=") for item in sys.argv[1:])
assert found == wanted, f"this should be {wanted}, and is {found}"
"""


def build(b: Build) -> None:
    """Build and install; the profile ``optimized`` uses PGO and LTO."""
    b.search_dependencies()
    _flags(b)
    installed.prepare(b)
    setup_local = b.source / "Modules/Setup.local"
    setup_local.write_text("*disabled*\n" + "\n".join(NOT_BUILT) + "\n")
    _hide_from_pkg_config(b, "libb2", "libnsl")
    _fit_mpdecimal(b)
    whole = b.series >= inside.SINCE
    if whole:
        inside.prepare(b)
    b.configure(*_arguments(b), env=_environment(b))
    if whole:
        inside.configured(b)
    _compile_nothing(b)
    _check_profile(b)
    if b.optimized:
        _tune(b)
        shutil.copyfile(b.recipe / TRAINING, b.source / TRAINING)
        # The training runs this many processes; each adds to the profile.
        b.env["TRAINING_JOBS"] = str(b.jobs)
    trained = b.optimized and b.stored_profile()
    if trained:
        # If this file exists, CPython's make skips the training.
        (b.source / "profile-run-stamp").touch()
    b.make()
    if b.optimized and not trained:
        _check_training(b)
        b.keep_profile("**/*.gcda", "*.profclangd")
    b.install()
    _trim(b)
    for name in ("python", "pip"):
        (b.payload / "bin" / name).symlink_to(f"{name}3")
    if names.free_threaded(b):
        # make install makes a hard link to the program, which would become a second copy.
        program = b.payload / "bin" / names.program(b)
        plain = program.with_name(program.name.removesuffix("t"))
        plain.unlink()
        plain.symlink_to(program.name)


def finish(b: Build) -> None:
    """Fix text files, compile all modules, and test the new interpreter."""
    python = str(b.payload / "bin/python3")
    lib = b.payload / _lib(b)
    installed.fix(b)
    managed.fix(lib)
    b.run(python, "-I", "-B", "-c", managed.LEAN_WHEELS, str(lib / "ensurepip/_bundled"))
    _tcl_scripts(b)
    b.remove("lib/**/__pycache__")
    if b.series >= inside.SINCE:
        inside.finish(b, lib)
    else:
        _compile(b, python, lib)
    checked = ("expat", "mpdecimal", "openssl", "zlib")
    versions = [f"{name}={b.dependency(name).version}" for name in checked]
    b.run(python, "-I", "-B", "-c", CHECK, *versions)
    b.run(python, "-I", "-B", str(b.recipe / "host/stdlib.py"))


def _compile(b: Build, python: str, lib: Path) -> None:
    b.run(
        *(python, "-I", "-B", "-m", "compileall", "-q", "-f", f"-j{b.jobs}"),
        # Such a .pyc file stays valid if a copy changes the times of the files. In a read-only
        # repository, Python could not write new ones.
        *("--invalidation-mode", "unchecked-hash"),
        *("-s", str(b.payload), str(lib)),
    )


def parts(b: Build) -> Iterator[Part]:
    """Return the parts of other projects in the payload, for the bill of materials."""
    return others.parts(b.source, b.payload / _lib(b))


def _flags(b: Build) -> None:
    # These flags are for CPython only; extension modules must not inherit them. It gets no stack
    # protector, which costs 2.5 % of the instructions, see docs/explanation/hardening.md.
    flags = b.env.pop("CFLAGS").split()
    protection = " ".join(flag for flag in flags if not flag.startswith("-fstack-protector"))
    mapped = " ".join(_mapped(b.destdir.parent, b.source))
    b.flags(
        OPT=f"-DNDEBUG -fwrapv {'-O3' if b.optimized else '-O2'} -Wall",
        # Debug data is kept for python_debug and found by build-id. With LTO, the link step writes
        # debug data, so it needs the mappings, too.
        CFLAGS_NODIST=f"{protection} -g {mapped}",
        LDFLAGS_NODIST=f"-Wl,--build-id=sha1 {mapped}",
        # Up to 3.10, _uuidmodule.c includes <uuid.h>.
        CPPFLAGS=f"-I{b.dependency('libuuid').include}/uuid -I{_bluetooth(b)}",
    )


def _bluetooth(b: Build) -> Path:
    """Make the Bluetooth headers that CPython's socket module needs; return their folder."""
    headers = b.source / "hidden/bluetooth"
    headers.mkdir(parents=True)
    for name in ("bluetooth", "hci", "l2cap", "rfcomm", "sco"):
        shutil.copyfile(b.recipe / "bluetooth.h", headers / f"{name}.h")
    return headers.parent


def _mapped(work: Path, source: Path) -> Iterator[str]:
    """Yield options that give each source file one name, in every build folder.

    make passes Objects/x.c or ./Modules/x.c, setup.py passes an absolute path, and ccache replaces
    both by a relative path. Headers of dependencies are beside the source. In debug data, all names
    are absolute: with a relative name, LTO stores the build folder (gcc's lto-streamer-out.c), and
    an object from ccache would name the folder of the first build. The last matching option counts.

    ccache compares the number and order of these options, but not their values. If you change a
    value, change the number or the order as well.
    """
    up = os.path.relpath(work, source)
    works, sources = ([os.path.realpath(place), str(place)] for place in (work, source))
    for place in (*works, up, *sources, "."):
        yield f"-fmacro-prefix-map={place}/="
    named = [(place, WORK) for place in works] + [(f"{up}/", f"{WORK}/")]
    named += [(place, SOURCE) for place in sources] + [("./", f"{SOURCE}/")]
    for place, name in named:
        yield f"-fdebug-prefix-map={place}={name}"
    for folder in FOLDERS:
        yield f"-fdebug-prefix-map={folder}/={SOURCE}/{folder}/"


def _environment(b: Build) -> dict[str, str]:
    return {
        # configure puts it into RUNSHARED, so that the new interpreter finds its libraries during
        # the build. An rpath would leave the path in the files.
        "LD_LIBRARY_PATH": ":".join(str(dependency.lib) for dependency in b.dependencies.values()),
        # sysconfig records this value, so it must not contain the number of jobs.
        "PROFILE_TASK": TRAINING,
        **ANSWERS,
        # Up to 3.11, setup.py searches bzlib.h, and configure finds only a header of the host.
        **({"ac_cv_header_bzlib_h": "no"} if b.series < (3, 12) else {}),
        **_llvm_tools(b),
    }


def _llvm_tools(b: Build) -> dict[str, str]:
    """Return clang's own tools: those on PATH may be of an older LLVM, which cannot read counts."""
    if b.tools.compiler[0] != "clang":
        return {}
    return {f"LLVM_{name.upper()}": b.tools.program(f"llvm-{name}") for name in ("ar", "profdata")}


def _arguments(b: Build) -> Iterator[str]:
    yield "--enable-shared"
    yield "--enable-loadable-sqlite-extensions"
    yield f"--with-openssl={b.dependency('openssl').root}"
    yield "--with-ensurepip=install"
    yield "--with-dbmliborder=gdbm"
    # Without this, Python has no IPv6 if the build machine has none, as many containers.
    yield "--enable-ipv6"
    # "System" means the Rez packages here. CPython's own copies would get no security updates.
    yield "--with-system-expat"
    yield "--with-system-libmpdec"
    if b.series >= (3, 10):
        yield "--without-static-libpython"
    if names.free_threaded(b):
        yield "--disable-gil"
    if b.optimized:
        yield "--enable-optimizations"
        yield "--with-lto"


def _compile_nothing(b: Build) -> None:
    """Let `make install` compile no modules: it does so three times, and `finish` does it again."""
    makefile = b.source / "Makefile"
    # A line of a make recipe with its continuation lines.
    command = re.compile(r"(?m)^\t(?:.*\\\n)*.*\n")
    makefile.write_text(
        command.sub(
            lambda found: "" if "$(LIBDEST)/compileall.py" in found[0] else found[0],
            makefile.read_text(),
        )
    )


def _check_profile(b: Build) -> None:
    """Check that configure has set the flags of the profile.

    It leaves them out without a warning if it does not know the compiler.

    Raises:
        BuildError: The flags are missing.
    """
    makefile = (b.source / "Makefile").read_text()
    found = re.search(r"(?m)^PGO_PROF_USE_FLAG=.*-fprofile", makefile)
    found = found and re.search(r"(?m)^(CONFIGURE_)?LDFLAGS_NODIST=.*-flto", makefile)
    if b.optimized and not found:
        raise BuildError(
            f"CPython's configure sets no flags for PGO and LTO with the compiler {b.env['CC']}",
            advice=["set REZBUILD_CC to gcc or clang", "or build with --profile fast"],
        )


def _tune(b: Build) -> None:
    """Change the Makefile's options for PGO and LTO.

    Link in parallel: CPython's configure gives each link one partition, and so one thread. A later
    option does not help: gcc's lto-wrapper accepts "none" at any place. Programs that only serve
    the build or the training are linked without LTO.
    """
    makefile = b.source / "Makefile"
    text = makefile.read_text().replace("-flto-partition=none", f"-flto={b.jobs}")
    text = re.sub(r"(?m)^(PGO_PROF_GEN_FLAG=.*-fprofile.*)$", r"\1 -fno-lto", text)
    freeze = "$(LINKCC) {} -o $@ Programs/_freeze_module.o"
    old, new = freeze.format("$(PY_CORE_LDFLAGS)"), freeze.format("$(PY_LDFLAGS_NOLTO)")
    text = text.replace(old, new)
    name, version = b.tools.compiler
    if name == "gcc" and version >= 10:
        text += GCC_LOOP
    elif (name, version) == ("clang", 19):
        # In the rule of the last build only: the linker knows the option together with -flto.
        link = 'LDFLAGS_NODIST="$(LDFLAGS_NODIST)'
        text = text.replace(f'{link}"', f'{link} $(LTO_LINK_FLAG)"')
        # make takes it from here: it is no variable of the installed Makefile.
        b.env["LTO_LINK_FLAG"] = CLANG_19_LINK
    makefile.write_text(text)


def _check_training(b: Build) -> None:
    """Check the training: make ignores its exit code, and the interpreter would be slow.

    Raises:
        BuildError: The training, or a part of it, failed.
    """
    path = b.source / "training-failed"
    failed = path.read_text() if path.is_file() else "all parts"
    if failed:
        raise BuildError(
            f"the training of the optimized interpreter failed: {failed}",
            advice=["read the log of make", "or build with --profile fast"],
        )


def _hide_from_pkg_config(b: Build, *names: str) -> None:
    """Hide libraries of the host from configure: CPython has a copy, or does without."""
    folder = b.source / "hidden"
    folder.mkdir(exist_ok=True)
    for name in names:
        unusable = "Description: hidden\nVersion: 0\nRequires: nothing-of-this-name\n"
        (folder / f"{name}.pc").write_text(f"Name: {name}\n{unusable}")
    b.env["PKG_CONFIG_PATH"] = f"{folder}:{b.env['PKG_CONFIG_PATH']}"


def _fit_mpdecimal(b: Build) -> None:
    """Build against any mpdecimal: CPython 3.9 and 3.10 are written for version 2.

    Their setup.py links libmpdec.so.2 by that name, and _decimal.c takes the type uchar from
    mpdecimal.h, which has none in version 4.
    """
    changes = {
        "setup.py": ("':libmpdec.so.2'", "'mpdec'"),
        "Modules/_decimal/_decimal.c": ("(uchar)", "(unsigned char)"),
    }
    for name, (old, new) in changes.items():
        path = b.source / name
        if path.is_file():
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def _trim(b: Build) -> None:
    """Remove files that only developers of CPython need."""
    lib = _lib(b)
    b.remove("lib/*.a", f"{lib}/config-*/*.[ao]", "share/man")
    # Not below site-packages: pip's RECORD lists the tests of its vendored packages.
    b.remove(*(f"{lib}/{tests}" for tests in ("test", "*/tests", "*/test", "*/idle_test")))
    helpers = ("_test", "_ctypes_test", "_xxtestfuzz", "xxlimited", "xxsubtype")
    b.remove(*(f"{lib}/lib-dynload/{name}*" for name in helpers))


def _tcl_scripts(b: Build) -> None:
    """Copy the scripts of Tcl and Tk into one folder, where both and PyInstaller search them.

    Tcl's test framework, and the logos of Tk's demonstrations, are left out.
    """
    left_out = shutil.ignore_patterns("tcltest-*", "images")
    bundled = b.payload / "deps/tcl" / b.dependency("tcl").version / "lib"
    for name, folder in (("tcl", "tcl8"), ("tcl", "tcl8.6"), ("tk", "tk8.6")):
        shutil.copytree(b.dependency(name).lib / folder, bundled / folder, ignore=left_out)
    # Nuitka searches these in <prefix>/lib, then in the host's folders.
    for folder in ("tcl8.6", "tk8.6"):
        (b.payload / "lib" / folder).symlink_to(
            os.path.relpath(bundled / folder, b.payload / "lib")
        )


def _lib(b: Build) -> str:
    return f"lib/{names.program(b)}"
