"""GNU dbm, with the interface of ndbm that _dbm uses."""


def build(b):
    """Builds and installs the libraries and the commands."""
    # Its commands have names such as bool, a keyword of C23.
    b.language("gnu17")
    b.flags(CFLAGS="-O2")
    b.configure(
        "./configure",
        f"--prefix={b.prefix}",
        "--with-pic",
        "--disable-nls",
        "--disable-rpath",
        "--enable-libgdbm-compat",
        "--without-readline",
    )
    b.make()
    b.install()
    b.remove("lib/*.la", "share")
    # Programs ask for <ndbm.h>, and for <gdbm/ndbm.h> so as not to get another library's.
    (b.payload / "include/gdbm").mkdir()
    for header in ("dbm.h", "gdbm.h", "ndbm.h"):
        (b.payload / "include/gdbm" / header).symlink_to(f"../{header}")
    b.describe("gdbm", "-lgdbm", "GNU database of keys and values")
