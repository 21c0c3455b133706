"""zlib has its own small configure: no autotools, no dependencies."""


def build(b):
    """Builds and installs the libraries."""
    b.flags(CFLAGS="-O3 -fPIC")
    b.configure("./configure", f"--prefix={b.prefix}")
    b.make()
    b.install()
    b.remove("share")
