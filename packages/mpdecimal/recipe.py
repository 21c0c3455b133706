"""mpdecimal: libmpdec, which Python's decimal module uses, without its C++ wrapper."""


def build(b):
    """Build and install the libraries."""
    # Upstream's own -O2 stays in force: these flags are added to it.
    b.flags(CFLAGS="-fPIC")
    b.configure(
        "./configure",
        f"--prefix={b.prefix}",
        "--disable-cxx",
        "--disable-doc",
        # mpdecimal 2.5 has no .pc file; all versions get the same one.
        "--disable-pc",
    )
    b.make()
    b.install()
    b.remove("share", "include/decimal.hh", "lib/libmpdec++*")
    b.describe("libmpdec", "-lmpdec -lm", "Decimal floating-point arithmetic")
