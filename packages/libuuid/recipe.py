"""libuuid, the only part of util-linux that Python needs."""

from rezbuild.build.recipe_api import Build


def build(b: Build) -> None:
    """Build and install the libraries."""
    b.flags(CFLAGS="-O2")
    b.configure(
        "--with-pic",
        "--disable-all-programs",
        "--enable-libuuid",
        "--disable-nls",
        "--disable-rpath",
        "--disable-asciidoc",
        "--disable-bash-completion",
        "--without-python",
        "--without-systemd",
    )
    b.make()
    b.install()
    b.remove("lib/*.la", "share", "bin", "sbin")
