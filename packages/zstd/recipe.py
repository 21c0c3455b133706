"""Zstandard: the library with threads, and the command that uses it."""


def build(b):
    """Builds and installs the shared library and the command."""
    # -O3 is upstream's own, which setting CFLAGS drops.
    # Its assertions name their file, which make calls by an absolute path.
    optimize = f"-O3 -ffile-prefix-map={b.source}=."
    b.flags(CFLAGS=optimize)
    prefix = f"PREFIX={b.prefix}"
    b.make("-C", "lib", prefix, "libzstd", "libzstd.pc")
    # Other formats would bring other libraries; the command reads and writes its own.
    alone = ("HAVE_ZLIB=0", "HAVE_LZMA=0", "HAVE_LZ4=0", "BACKTRACE=0")
    b.make("-C", "programs", prefix, *alone, "zstd-dll")
    b.install("-C", "lib", prefix, "install-pc", "install-shared", "install-includes")
    tools = b.payload / "bin"
    b.run("install", "-D", "-m", "755", "programs/zstd", str(tools / "zstd"))
    for name in ("unzstd", "zstdcat", "zstdmt"):
        (tools / name).symlink_to("zstd")
