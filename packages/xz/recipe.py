"""XZ Utils: liblzma and the xz command, without translations and scripts around it."""


def build(b):
    """Builds and installs the libraries and the command."""
    # CFLAGS takes the place of configure's own -O2.
    b.flags(CFLAGS="-O2 -fPIC")
    b.configure(
        "./configure",
        f"--prefix={b.prefix}",
        "--disable-nls",
        "--disable-doc",
        "--disable-rpath",
        # xzgrep and its like are shell scripts, each with the tools of the host around it.
        "--disable-scripts",
        "--disable-lzma-links",
        "--disable-lzmadec",
        "--disable-lzmainfo",
    )
    b.make()
    b.install()
    b.remove("lib/*.la", "share")
