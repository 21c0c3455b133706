"""CPython with the shared libpython, built against what Rez resolved."""

# Modules that link libraries which no Rez package brings and which a studio has no use for.
NOT_BUILT = {"nis": "Sun's yellow pages: libnsl and libtirpc, gone from CPython 3.13"}


def build(b):
    """Builds and installs; ``optimized`` trains and links over the whole program."""
    b.search_dependencies()
    b.flags(LDFLAGS="-Wl,-z,relro,-z,now,-z,noexecstack")
    setup_local = b.source / "Modules/Setup.local"
    setup_local.write_text("*disabled*\n" + "\n".join(NOT_BUILT) + "\n")
    b.run("./configure", *_arguments(b))
    b.make()
    b.install()
    _trim(b)


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
    lib = f"lib/python{b.series[0]}.{b.series[1]}"
    b.remove("lib/*.a", f"{lib}/config-*/*.a", f"{lib}/test", f"{lib}/**/tests", "share/man")
    b.remove(f"{lib}/lib-dynload/_test*", f"{lib}/lib-dynload/_xx*", f"{lib}/lib-dynload/xx*")
    b.remove(f"{lib}/lib-dynload/_ctypes_test*")
