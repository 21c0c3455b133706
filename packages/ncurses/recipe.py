"""ncurses in wide characters, its terminfo part by itself as in distributions.

Descriptions of terminals are the host's, where it has any. The most used ones are compiled in for
hosts without: so no file of this package is looked for, and it may stand anywhere.
"""

import re

# Where distributions keep descriptions; the first that has the terminal wins, terminfo(5).
FOLDERS = "/etc/terminfo:/lib/terminfo:/usr/share/terminfo:/usr/lib/terminfo"
COMPILED_IN = (
    "alacritty ansi dumb gnome-256color kitty konsole-256color linux putty-256color rxvt"
    " rxvt-256color screen screen-256color st-256color tmux tmux-256color vt100 vt102 vt220"
    " xterm xterm-256color xterm-color"
)
LIBRARY_ONLY = (
    "--without-ada",
    "--without-cxx",
    "--without-cxx-binding",
    "--without-debug",
    "--without-manpages",
    "--without-tests",
)

ANSWERS = {
    # configure's own choice (U) writes times and users into the archives.
    "cf_cv_ar_flags": "-crD",
    # It tries a terminal, which a builder may not have.
    "cf_cv_working_poll": "yes",
}


def build(b):
    """Builds and installs the libraries and the commands."""
    # With C23, where bool is a keyword, configure makes the bool of curses.h an int: another ABI.
    b.language("gnu17")
    b.flags(CFLAGS="-O2 -fPIC")
    _backspace(b)
    first = _first(b)
    b.configure(
        "./configure",
        f"--prefix={b.prefix}",
        *LIBRARY_ONLY,
        "--enable-widec",
        # Else the file system of the build decides.
        "--enable-mixed-case",
        "--with-shared",
        "--with-termlib=tinfo",
        "--enable-pc-files",
        f"--with-pkg-config-libdir={b.prefix}/lib/pkgconfig",
        "--disable-db-install",
        "--with-default-terminfo-dir=/usr/share/terminfo",
        f"--with-terminfo-dirs={FOLDERS}",
        f"--with-fallbacks={','.join(COMPILED_IN.split())}",
        f"--with-tic-path={first}/progs/tic",
        f"--with-infocmp-path={first}/progs/infocmp",
        env=ANSWERS,
    )
    b.make()
    b.install("install.libs", "install.includes", "install.progs")
    # The configuration is in the .pc files; this script knows no place but the prefix.
    b.remove("bin/*config", "bin/captoinfo", "bin/infotocap", "share", "lib/terminfo")
    # Programs ask for <curses.h> and for <ncursesw/curses.h>.
    for header in sorted((b.payload / "include/ncursesw").glob("*.h")):
        (b.payload / "include" / header.name).symlink_to(f"ncursesw/{header.name}")


def _backspace(b):
    """Terminals of today send DEL for backspace: what distributions have in their files."""
    path = b.source / "misc/terminfo.src"
    text = path.read_text(encoding="latin-1")
    text = re.sub(
        r"(?m)^(xterm\+kbs|screen-base)\|.*\n(\t.*\n)+",
        lambda entry: entry[0].replace("kbs=^H,", "kbs=^?,"),
        text,
    )
    path.write_text(text, encoding="latin-1")


def _first(b):
    """The tic and infocmp that write the compiled-in table; a host may have none, or others."""
    (b.source / "first").mkdir()
    # They run for a second: compiled in a hurry.
    options = ("--enable-widec", *LIBRARY_ONLY)
    b.configure("../configure", *options, folder="first", env={"CFLAGS": "-O0", **ANSWERS})
    for part in ("include", "ncurses"):
        b.make("-C", f"first/{part}")
    b.make("-C", "first/progs", "tic", "infocmp")
    return b.source / "first"
