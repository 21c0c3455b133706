"""GNU Readline as a shared library that brings the terminfo library of our ncurses along."""

import re


def build(b):
    """Builds and installs the shared libraries, without documents and examples."""
    b.search_dependencies()
    # With C23, configure's test of signals does not compile, and its answer is wrong.
    b.language("gnu17")
    b.flags(CFLAGS="-O2 -fPIC")
    b.configure(
        "./configure",
        f"--prefix={b.prefix}",
        "--disable-install-examples",
        "--enable-multibyte",
        "--with-curses",
        # configure's own probe may settle on old termcap.
        "bash_cv_termcap_lib=libtinfo",
    )
    # Without SHLIB_LIBS the shared library leaves its terminfo functions to whoever loads it.
    b.make("SHLIB_LIBS=-ltinfo")
    b.install("SHLIB_LIBS=-ltinfo", "install")
    b.remove("share", "bin")
    # terminfo is inside the package; its own .pc file need not be there.
    pc = b.payload / "lib/pkgconfig/readline.pc"
    pc.write_text(re.sub(r"(?m)^Requires\.private:.*\n", "", pc.read_text()))
