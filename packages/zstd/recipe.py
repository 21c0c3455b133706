"""Zstandard: the multithreaded library, and the command that uses it."""

from rezbuild.build.recipe_api import Build


def build(b: Build) -> None:
    """Build and install the shared library and the command."""
    # -O3 is upstream's default, which CFLAGS replaces. Assertions contain the file's name, and make
    # passes it as an absolute path.
    optimize = f"-O3 -ffile-prefix-map={b.source}=."
    b.flags(CFLAGS=optimize)
    prefix = f"PREFIX={b.prefix}"
    b.make("-C", "lib", prefix, "libzstd", "libzstd.pc")
    # Other formats need other libraries: the command reads and writes the zstd format only.
    alone = ("HAVE_ZLIB=0", "HAVE_LZMA=0", "HAVE_LZ4=0", "BACKTRACE=0")
    b.make("-C", "programs", prefix, *alone, "zstd-dll")
    b.install("-C", "lib", prefix, "install-pc", "install-shared", "install-includes")
    tools = b.payload / "bin"
    b.run("install", "-D", "-m", "755", "programs/zstd", str(tools / "zstd"))
    for name in ("unzstd", "zstdcat", "zstdmt"):
        (tools / name).symlink_to("zstd")
