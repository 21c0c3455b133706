"""XZ Utils: liblzma and the xz command, without translations and scripts."""

from rezbuild.build.recipe_api import Build


def build(b: Build) -> None:
    """Build and install the libraries and the command."""
    # CFLAGS replaces the -O2 of configure.
    b.flags(CFLAGS="-O2 -fPIC")
    b.configure(
        "--disable-nls",
        "--disable-doc",
        "--disable-rpath",
        # xzgrep and similar commands are shell scripts that depend on tools of the host.
        "--disable-scripts",
        "--disable-lzma-links",
        "--disable-lzmadec",
        "--disable-lzmainfo",
    )
    b.make()
    b.install()
    b.remove("lib/*.la", "share")
