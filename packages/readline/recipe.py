"""GNU Readline as a shared library that is linked to the terminfo library of our ncurses."""

import re

from rezbuild.build.recipe_api import Build


def build(b: Build) -> None:
    """Build and install the shared libraries, without documents and examples."""
    b.search_dependencies()
    # With C23, configure's test of signals does not compile, and its result is wrong.
    b.language("gnu17")
    b.flags(CFLAGS="-O2 -fPIC")
    b.configure(
        "--disable-install-examples",
        "--enable-multibyte",
        "--with-curses",
        # configure's own test may select the old termcap library.
        "bash_cv_termcap_lib=libtinfo",
    )
    # Without SHLIB_LIBS the shared library is not linked to a terminfo library.
    b.make("SHLIB_LIBS=-ltinfo")
    b.install("SHLIB_LIBS=-ltinfo", "install")
    b.remove("share", "bin")
    # The payload contains the terminfo library; pkg-config must not require its .pc file.
    pc = b.payload / "lib/pkgconfig/readline.pc"
    pc.write_text(re.sub(r"(?m)^Requires\.private:.*\n", "", pc.read_text()))
