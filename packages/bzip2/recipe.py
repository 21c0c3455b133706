"""bzip2: the library and the commands. Upstream's Makefiles do not install the shared library."""

from rezbuild.build.recipe_api import Build

LIBRARY = "libbz2.so.1.0.8"
OBJECTS = "blocksort huffman crctable randtable compress decompress bzlib"


def build(b: Build) -> None:
    """Build the libraries, and the command that uses the shared one."""
    # These Makefiles have no variable for linker flags.
    compiler = f"CC={b.env['CC']} {b.env['LDFLAGS']}"
    flags = f"{b.env['CFLAGS']} -D_FILE_OFFSET_BITS=64"
    b.make("-f", "Makefile-libbz2_so", compiler, f"CFLAGS={flags} -O3 -fPIC")
    b.run("ar", "rcs", "libbz2.a", *(f"{name}.o" for name in OBJECTS.split()))
    b.make(compiler, f"CFLAGS={flags} -O2", "bzip2recover")
    _install(b)


def _install(b: Build) -> None:
    lib, tools = b.payload / "lib", b.payload / "bin"
    b.run("install", "-D", "-m", "755", "bzip2-shared", str(tools / "bzip2"))
    b.run("install", "-m", "755", "bzip2recover", str(tools))
    for name in ("bunzip2", "bzcat"):
        (tools / name).symlink_to("bzip2")
    b.run("install", "-D", "-m", "755", LIBRARY, str(lib / LIBRARY))
    b.run("install", "-m", "644", "libbz2.a", str(lib))
    # Upstream and Debian use this soname; Red Hat uses libbz2.so.1.
    for name in ("libbz2.so", "libbz2.so.1.0"):
        (lib / name).symlink_to(LIBRARY)
    b.run("install", "-D", "-m", "644", "bzlib.h", str(b.payload / "include/bzlib.h"))
    b.describe("bzip2", "-lbz2", "Lossless, block-sorting data compression")
