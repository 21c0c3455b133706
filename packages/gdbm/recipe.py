"""GNU dbm, with the ndbm interface that Python's _dbm module uses."""

from rezbuild.build.recipe_api import Build


def build(b: Build) -> None:
    """Build and install the libraries and the commands."""
    # The commands' source uses bool as a name; in C23 it is a keyword.
    b.language("gnu17")
    b.flags(CFLAGS="-O2")
    b.configure(
        "--with-pic",
        "--disable-nls",
        "--disable-rpath",
        "--enable-libgdbm-compat",
        "--without-readline",
    )
    b.make()
    b.install()
    b.remove("lib/*.la", "share")
    # Programs include <ndbm.h>, or <gdbm/ndbm.h> to avoid the header of another library.
    (b.payload / "include/gdbm").mkdir()
    for header in ("dbm.h", "gdbm.h", "ndbm.h"):
        (b.payload / "include/gdbm" / header).symlink_to(f"../{header}")
    b.describe("gdbm", "-lgdbm", "GNU key-value database")
