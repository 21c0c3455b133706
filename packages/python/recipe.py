"""CPython with the shared libpython, built against what Rez resolved."""

import os
import re
import shutil

from rezbuild.errors import BuildError

from . import inside, installed, managed, names, others

# Modules that link libraries which no Rez package brings and a studio has no use for.
NOT_BUILT = {"nis": "Sun's yellow pages: libnsl and libtirpc; gone from CPython 3.13"}

# What the compiler's profile is collected from.
TRAINING = "training.py"

# What debug data calls the folder of the build and the source; python_debug knows the second too.
WORK = "/usr/src/debug"
SOURCE = "/usr/src/debug/python"
FOLDERS = ("Include", "Modules", "Objects", "Parser", "Programs", "Python")

# What configure tries on the builder. In a chroot or container that has no shared memory, network
# or terminals, it would make a Python without semaphores, or none at all.
ANSWERS = {
    "ac_cv_posix_semaphores_enabled": "yes",
    "ac_cv_broken_sem_getvalue": "no",
    "ac_cv_buggy_getaddrinfo": "no",
    "ac_cv_file__dev_ptmx": "yes",
    "ac_cv_file__dev_ptc": "no",
}

# Run by the new interpreter: it is built against what Rez resolved, and not against the host's.
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


def build(b):
    """Builds and installs; ``optimized`` trains the compiler and links as a whole."""
    b.search_dependencies()
    _flags(b)
    installed.prepare(b)
    setup_local = b.source / "Modules/Setup.local"
    setup_local.write_text("*disabled*\n" + "\n".join(NOT_BUILT) + "\n")
    _hide_from_pkg_config(b, "libb2")
    _fit_mpdecimal(b)
    whole = b.series >= inside.SINCE
    if whole:
        inside.prepare(b)
    b.configure("./configure", *_arguments(b), env=_environment(b))
    if whole:
        inside.configured(b)
    _compile_nothing(b)
    _check_profile(b)
    if b.optimized:
        _link_in_parallel(b)
        shutil.copyfile(b.recipe / TRAINING, b.source / TRAINING)
        # As many processes as there are jobs; each adds to the profile.
        b.env["TRAINING_JOBS"] = str(b.jobs)
    trained = b.optimized and b.stored_profile()
    if trained:
        # CPython's make looks at it alone, and goes on where the training has ended.
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
        # make install makes a second name of the program, which would become a second copy.
        program = b.payload / "bin" / names.program(b)
        plain = program.with_name(program.name.removesuffix("t"))
        plain.unlink()
        plain.symlink_to(program.name)


def finish(b):
    """Makes the text true, compiles every module where it stands now, tries the new interpreter."""
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


def _compile(b, python, lib):
    b.run(
        *(python, "-I", "-B", "-m", "compileall", "-q", "-f", f"-j{b.jobs}"),
        # Valid whatever the files' times are: a copy may not keep them, and a repository that is
        # read-only could not take new ones.
        *("--invalidation-mode", "unchecked-hash"),
        *("-s", str(b.payload), str(lib)),
    )


def parts(b):
    """What CPython brings of others."""
    return others.parts(b.source, b.payload / _lib(b))


def _flags(b):
    # For CPython alone: those who build against it have flags of their own. The stack protector is
    # left out: it costs 2.5 % of the interpreter's instructions, see docs/explanation/hardening.md.
    flags = b.env.pop("CFLAGS").split()
    protection = " ".join(flag for flag in flags if not flag.startswith("-fstack-protector"))
    mapped = " ".join(_mapped(b.destdir.parent, b.source))
    b.flags(
        OPT=f"-DNDEBUG -fwrapv {'-O3' if b.optimized else '-O2'} -Wall",
        # Debug data is kept for python_debug, and is found by build-ids. LTO writes it when it
        # links.
        CFLAGS_NODIST=f"{protection} -g {mapped}",
        LDFLAGS_NODIST=f"-Wl,--build-id=sha1 {mapped}",
        # To 3.10 uuid.h is looked for by that name.
        CPPFLAGS=f"-I{b.dependency('libuuid').include}/uuid -I{_bluetooth(b)}",
    )


def _bluetooth(b):
    """The folder of the headers by which CPython's socket module knows Bluetooth."""
    headers = b.source / "hidden/bluetooth"
    headers.mkdir(parents=True)
    for name in ("bluetooth", "hci", "l2cap", "rfcomm", "sco"):
        shutil.copyfile(b.recipe / "bluetooth.h", headers / f"{name}.h")
    return headers.parent


def _mapped(work, source):
    """Options by which a source has one name, wherever it lies and however the compiler is told.

    Make says Objects/x.c or ./Modules/x.c, setup.py an absolute path, ccache for either a relative
    one; headers of dependencies are beside the source. In debug data all names are absolute: with a
    relative one LTO stores the folder of the build (gcc's lto-streamer-out.c), and an object that
    ccache gives to another folder would name the first. The last option that fits counts.

    ccache does not heed the values of these options, but their number and order: whoever changes
    what is called how changes one of those as well.
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


def _environment(b):
    return {
        # configure puts it into RUNSHARED, so that the new interpreter finds what it is linked to
        # while it builds itself; a rpath for that would leave its text in the files.
        "LD_LIBRARY_PATH": ":".join(str(dependency.lib) for dependency in b.dependencies.values()),
        # It is recorded in what sysconfig says, so it holds no number of jobs.
        "PROFILE_TASK": TRAINING,
        **ANSWERS,
    }


def _arguments(b):
    yield f"--prefix={b.prefix}"
    yield "--enable-shared"
    yield "--enable-loadable-sqlite-extensions"
    yield f"--with-openssl={b.dependency('openssl').root}"
    yield "--with-ensurepip=install"
    yield "--with-dbmliborder=gdbm"
    # Else a builder without IPv6, as many containers are, makes a Python without.
    yield "--enable-ipv6"
    # "System" libraries are the resolved packages here: CPython's own copies would get no updates.
    yield "--with-system-expat"
    yield "--with-system-libmpdec"
    if b.series >= (3, 10):
        yield "--without-static-libpython"
    if names.free_threaded(b):
        yield "--disable-gil"
    if b.optimized:
        yield "--enable-optimizations"
        yield "--with-lto"


def _compile_nothing(b):
    """`make install` compiles all modules three times, with every core; `finish` does it once."""
    makefile = b.source / "Makefile"
    # A line of a recipe, with those that go on from it.
    command = re.compile(r"(?m)^\t(?:.*\\\n)*.*\n")
    makefile.write_text(
        command.sub(
            lambda found: "" if "$(LIBDEST)/compileall.py" in found[0] else found[0],
            makefile.read_text(),
        )
    )


def _check_profile(b):
    """Configure leaves these flags out without a word where it does not know the compiler.

    Raises:
        BuildError: The build would be of another profile than was asked for.
    """
    makefile = (b.source / "Makefile").read_text()
    found = re.search(r"(?m)^PGO_PROF_USE_FLAG=.*-fprofile", makefile)
    found = found and re.search(r"(?m)^(CONFIGURE_)?LDFLAGS_NODIST=.*-flto", makefile)
    if b.optimized and not found:
        raise BuildError(
            f"CPython's configure knows neither PGO nor LTO for the compiler {b.env['CC']}",
            advice=["name gcc or clang by REZBUILD_CC", "or build with --profile fast"],
        )


def _link_in_parallel(b):
    """CPython's configure gives each link one partition, which takes one thread minutes.

    A later option cannot mend that: gcc's lto-wrapper heeds "none" wherever it stands. And what
    only serves the build, or collects the profile, need not be linked as a whole.
    """
    makefile = b.source / "Makefile"
    text = makefile.read_text().replace("-flto-partition=none", f"-flto={b.jobs}")
    text = re.sub(r"(?m)^(PGO_PROF_GEN_FLAG=.*-fprofile.*)$", r"\1 -fno-lto", text)
    freeze = "$(LINKCC) {} -o $@ Programs/_freeze_module.o"
    old, new = freeze.format("$(PY_CORE_LDFLAGS)"), freeze.format("$(PY_LDFLAGS_NOLTO)")
    makefile.write_text(text.replace(old, new))


def _check_training(b):
    """Make goes on whatever becomes of it, and the interpreter is slower for no visible reason.

    Raises:
        BuildError: Some of it, or all, did not run to its end.
    """
    path = b.source / "training-failed"
    failed = path.read_text() if path.is_file() else "all of it"
    if failed:
        raise BuildError(
            f"the training of the optimized interpreter failed: {failed}",
            advice=["the log of make says how", "or build with --profile fast"],
        )


def _hide_from_pkg_config(b, name):
    """CPython takes some libraries of the host where it finds them, and has its own otherwise."""
    folder = b.source / "hidden"
    folder.mkdir(exist_ok=True)
    unusable = f"Name: {name}\nDescription: hidden\nVersion: 0\nRequires: nothing-of-this-name\n"
    (folder / f"{name}.pc").write_text(unusable)
    b.env["PKG_CONFIG_PATH"] = f"{folder}:{b.env['PKG_CONFIG_PATH']}"


def _fit_mpdecimal(b):
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


def _trim(b):
    """Leaves out what only the developers of CPython use."""
    lib = _lib(b)
    b.remove("lib/*.a", f"{lib}/config-*/*.[ao]", "share/man")
    # Not below site-packages: pip's list of its files names the tests that it vendors.
    b.remove(*(f"{lib}/{tests}" for tests in ("test", "*/tests", "*/test", "*/idle_test")))
    helpers = ("_test", "_ctypes_test", "_xxtestfuzz", "xxlimited", "xxsubtype")
    b.remove(*(f"{lib}/lib-dynload/{name}*" for name in helpers))


def _tcl_scripts(b):
    """The scripts of Tcl and Tk beside each other, where both and PyInstaller look for them.

    Without Tcl's framework for tests, and the logos that only the demonstrations of Tk show.
    """
    left_out = shutil.ignore_patterns("tcltest-*", "images")
    bundled = b.payload / "deps/tcl" / b.dependency("tcl").version / "lib"
    for name, folder in (("tcl", "tcl8"), ("tcl", "tcl8.6"), ("tk", "tk8.6")):
        shutil.copytree(b.dependency(name).lib / folder, bundled / folder, ignore=left_out)
    # Nuitka looks for these in <prefix>/lib, and else takes the host's, of another version.
    for folder in ("tcl8.6", "tk8.6"):
        (b.payload / "lib" / folder).symlink_to(
            os.path.relpath(bundled / folder, b.payload / "lib")
        )


def _lib(b):
    return f"lib/{names.program(b)}"
