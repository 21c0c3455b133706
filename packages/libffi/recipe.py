"""libffi: the library that ctypes uses to call C functions."""

from rezbuild.build.recipe_api import Build


def build(b: Build) -> None:
    """Build and install the libraries."""
    # The default of configure when CFLAGS is not set, without -ffast-math.
    optimize = "-O3 -fomit-frame-pointer -fstrict-aliasing"
    b.flags(CFLAGS=optimize)
    b.configure(
        "--with-pic",
        "--disable-docs",
        # Without this, libffi is installed in lib64 on hosts whose gcc uses lib64.
        "--disable-multi-os-directory",
        # For callbacks, libffi maps code from its library file again. Otherwise it needs memory
        # that is both writable and executable, which SELinux refuses.
        "--enable-exec-static-tramp",
    )
    b.make()
    b.install()
    b.remove("lib/*.la", "share")
