"""mpdecimal: libmpdec, which Python's decimal module uses, without its C++ wrapper."""

from rezbuild.build.recipe_api import Build


def build(b: Build) -> None:
    """Build and install the libraries."""
    # configure adds this to upstream's -O2.
    b.flags(CFLAGS="-fPIC")
    b.configure(
        "--disable-cxx",
        "--disable-doc",
        # mpdecimal 2.5 has no .pc file; all versions get the same one.
        "--disable-pc",
    )
    b.make()
    b.install()
    b.remove("share", "include/decimal.hh", "lib/libmpdec++*")
    b.describe("libmpdec", "-lmpdec -lm", "Decimal floating-point arithmetic")
