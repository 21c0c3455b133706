"""zlib has its own small configure: no autotools, no dependencies."""

import platform

# Compare two bytes at once, as distributions do: 1.15 times as fast on some processors. On others
# than x86, C code may not read numbers from odd addresses.
_FASTER = {"x86_64": " -DUNALIGNED_OK"}


def build(b):
    """Builds and installs the libraries."""
    b.flags(CFLAGS=f"-O3 -fPIC{_FASTER.get(platform.machine(), '')}")
    b.configure("./configure", f"--prefix={b.prefix}")
    b.make()
    b.install()
    b.remove("share")
