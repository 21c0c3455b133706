"""CPython with the shared libpython, built against what Rez resolved."""

# Modules that link libraries which no Rez package brings and a studio has no use for.
NOT_BUILT = {"nis": "Sun's yellow pages: libnsl and libtirpc; gone from CPython 3.13"}

# Run by the new interpreter. CPython's own build only mentions what it could not build: a Python
# without these is none. Then every extension module there is must load.
CHECK = """\
import importlib, pathlib, sys
import ctypes, hashlib, readline, sqlite3, ssl, sysconfig, zlib
# configure leaves these flags out without a word where it does not know the compiler.
flags = [sysconfig.get_config_var(n) or "" for n in ("PGO_PROF_USE_FLAG", "PY_CORE_LDFLAGS")]
found = {
    "openssl": ssl.OPENSSL_VERSION.split()[1],
    "zlib": zlib.ZLIB_RUNTIME_VERSION,
    "profile": "optimized" if "-fprofile" in flags[0] and "-flto" in flags[1] else "fast",
}
wanted = dict(item.split("=") for item in sys.argv[1:])
assert found == wanted, f"this should be {wanted}, and is {found}"
folder = next(p for p in sys.path if p.endswith("lib-dynload"))
for path in sorted(pathlib.Path(folder).iterdir()):
    importlib.import_module(path.name.split(".")[0])
    print(path.name)
"""


def build(b):
    """Builds and installs; ``optimized`` trains the compiler and links as a whole."""
    b.search_dependencies()
    b.flags(
        # No -g: debug data would be compiled for nothing, it is stripped. Some modules' code names
        # its file, and setup.py compiles by absolute paths.
        OPT=f"-DNDEBUG -fwrapv {'-O3' if b.optimized else '-O2'} -Wall",
        CFLAGS_NODIST=f"-ffile-prefix-map={b.source}=.",
        LDFLAGS="-Wl,-z,relro,-z,now,-z,noexecstack",
    )
    setup_local = b.source / "Modules/Setup.local"
    setup_local.write_text("*disabled*\n" + "\n".join(NOT_BUILT) + "\n")
    # configure puts it into RUNSHARED, so that the new interpreter finds what it is linked to while
    # it builds itself; a rpath for that would leave its text in the files.
    libraries = ":".join(str(dependency.lib) for dependency in b.dependencies.values())
    _hide_from_pkg_config(b, "libb2")
    b.run("./configure", *_arguments(b), env={"LD_LIBRARY_PATH": libraries})
    b.make()
    b.install()
    _trim(b)
    for name in ("python", "pip"):
        (b.payload / "bin" / name).symlink_to(f"{name}3")


def finish(b):
    """Compiles every module where it stands now, then tries the new interpreter."""
    python = str(b.payload / "bin/python3")
    b.remove("lib/**/__pycache__")
    b.run(
        *(python, "-I", "-B", "-m", "compileall", "-q", "-f", f"-j{b.jobs}"),
        # Valid whatever the files' times are: a copy may not keep them, and a repository that is
        # read-only could not take new ones.
        *("--invalidation-mode", "unchecked-hash"),
        *("-s", str(b.payload), str(b.payload / _lib(b))),
    )
    versions = [f"{name}={b.dependency(name).version}" for name in ("openssl", "zlib")]
    b.run(python, "-I", "-B", "-c", CHECK, *versions, f"profile={b.profile}")


def _arguments(b):
    yield f"--prefix={b.prefix}"
    yield "--enable-shared"
    yield "--enable-loadable-sqlite-extensions"
    yield f"--with-openssl={b.dependency('openssl').root}"
    yield "--with-ensurepip=install"
    yield "--with-dbmliborder=gdbm"
    # From 3.13 on the host's is the default; CPython's own serves everywhere.
    yield "--with-system-libmpdec=no"
    if b.series >= (3, 10):
        yield "--without-static-libpython"
    if b.optimized:
        yield "--enable-optimizations"
        yield "--with-lto"


def _hide_from_pkg_config(b, name):
    """CPython takes some libraries of the host where it finds them, and has its own otherwise."""
    folder = b.source / "hidden"
    folder.mkdir()
    unusable = f"Name: {name}\nDescription: hidden\nVersion: 0\nRequires: nothing-of-this-name\n"
    (folder / f"{name}.pc").write_text(unusable)
    b.env["PKG_CONFIG_PATH"] = f"{folder}:{b.env['PKG_CONFIG_PATH']}"


def _trim(b):
    """Leaves out what only the developers of CPython use."""
    lib = _lib(b)
    b.remove("lib/*.a", f"{lib}/config-*/*.a", f"{lib}/test", f"{lib}/**/tests", "share/man")
    b.remove(*(f"{lib}/lib-dynload/{name}*" for name in ("_test", "_ctypes_test", "_xx", "xx")))


def _lib(b):
    return f"lib/python{b.series[0]}.{b.series[1]}"
