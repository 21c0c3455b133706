"""GNU Readline as a shared library that brings its own terminfo library along."""

# Where a host has the terminfo part of wide curses: by itself, or inside.
TERMINFO = ("tinfo", "tinfow", "ncursesw")


def build(b):
    """Builds and installs the shared libraries, without documents and examples."""
    b.search_dependencies()
    b.flags(CFLAGS="-O2", LDFLAGS="-Wl,-z,relro,-z,now,-z,noexecstack")
    terminfo = b.first_library(*TERMINFO)
    b.run(
        "./configure",
        f"--prefix={b.prefix}",
        "--disable-static",
        "--disable-install-examples",
        "--enable-multibyte",
        "--with-curses",
        # configure's own probe may settle on old termcap.
        f"bash_cv_termcap_lib=lib{terminfo}",
    )
    # Without SHLIB_LIBS the shared library leaves its terminfo functions to whoever loads it.
    b.make(f"SHLIB_LIBS=-l{terminfo}")
    b.install(f"SHLIB_LIBS=-l{terminfo}", "install")
    b.remove("share", "bin")
