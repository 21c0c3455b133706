"""libffi: the library whose calls ctypes makes."""


def build(b):
    """Builds and installs the libraries."""
    # What configure takes where CFLAGS is not set, but -ffast-math.
    optimize = "-O3 -fomit-frame-pointer -fstrict-aliasing"
    b.flags(CFLAGS=optimize)
    b.configure(
        "./configure",
        f"--prefix={b.prefix}",
        "--with-pic",
        "--disable-docs",
        # Else it goes into lib64 where gcc has its own libraries there.
        "--disable-multi-os-directory",
        # Callbacks are code of the library itself, mapped again: no memory is writable and
        # executable, which SELinux refuses.
        "--enable-exec-static-tramp",
    )
    b.make()
    b.install()
    b.remove("lib/*.la", "share")
