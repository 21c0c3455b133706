"""CPython with the shared libpython, built against what Rez resolved."""

# Modules that link libraries which no Rez package brings and a studio has no use for.
NOT_BUILT = {"nis": "Sun's yellow pages: libnsl and libtirpc; gone from CPython 3.13"}

# Run by the new interpreter: an extension module that cannot be imported fails the build.
IMPORT_ALL = """\
import importlib, pathlib, sys
folder = next(p for p in sys.path if p.endswith("lib-dynload"))
for path in sorted(pathlib.Path(folder).iterdir()):
    importlib.import_module(path.name.split(".")[0])
    print(path.name)
"""


def build(b):
    """Builds and installs; ``optimized`` trains the compiler and links as a whole."""
    b.search_dependencies()
    b.flags(LDFLAGS="-Wl,-z,relro,-z,now,-z,noexecstack")
    setup_local = b.source / "Modules/Setup.local"
    setup_local.write_text("*disabled*\n" + "\n".join(NOT_BUILT) + "\n")
    b.run("./configure", *_arguments(b))
    b.make()
    b.install()
    _trim(b)
    for name in ("python", "pip"):
        (b.payload / "bin" / name).symlink_to(f"{name}3")


def finish(b):
    """Compiles every module where it stands now, then imports the extension modules."""
    python = str(b.payload / "bin/python3")
    b.remove("lib/**/__pycache__")
    b.run(
        *(python, "-I", "-B", "-m", "compileall", "-q", "-f", f"-j{b.jobs}"),
        # Valid whatever the files' times are: a copy may not keep them, and a repository that is
        # read-only could not take new ones.
        *("--invalidation-mode", "unchecked-hash"),
        *("-s", str(b.payload), str(b.payload / _lib(b))),
    )
    b.run(python, "-I", "-B", "-c", IMPORT_ALL)


def _arguments(b):
    yield f"--prefix={b.prefix}"
    yield "--enable-shared"
    yield "--enable-loadable-sqlite-extensions"
    yield f"--with-openssl={b.dependency('openssl').root}"
    yield "--with-ensurepip=install"
    yield "--with-dbmliborder=gdbm"
    if b.series >= (3, 10):
        yield "--without-static-libpython"
    if b.optimized:
        yield "--enable-optimizations"
        yield "--with-lto"


def _trim(b):
    """Leaves out what only the developers of CPython use."""
    lib = _lib(b)
    b.remove("lib/*.a", f"{lib}/config-*/*.a", f"{lib}/test", f"{lib}/**/tests", "share/man")
    b.remove(*(f"{lib}/lib-dynload/{name}*" for name in ("_test", "_ctypes_test", "_xx", "xx")))


def _lib(b):
    return f"lib/python{b.series[0]}.{b.series[1]}"
