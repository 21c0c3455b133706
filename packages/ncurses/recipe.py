"""ncurses with wide characters; its terminfo part is a separate library, as in distributions.

ncurses reads the terminal descriptions of the host. The most used ones are compiled in, for hosts
without any. So ncurses never searches files of this package, and the package can be moved.
"""

import re
from pathlib import Path

from rezbuild.build.recipe_api import Build

# Folders of distributions for descriptions; the first that has the terminal wins, terminfo(5).
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
    # The mouse of the Linux console, by a library of the host.
    "--without-gpm",
    "--without-manpages",
    "--without-tests",
)

ANSWERS = {
    # The default (U) writes times and user ids into static libraries.
    "cf_cv_ar_flags": "-crD",
    # configure tests this on a terminal, which a build machine may not have.
    "cf_cv_working_poll": "yes",
}


def build(b: Build) -> None:
    """Build and install the libraries and the commands."""
    # In C23, bool is a keyword, and configure makes bool in curses.h an int: the ABI would differ.
    b.language("gnu17")
    b.flags(CFLAGS="-O2 -fPIC")
    _backspace(b)
    tools = _build_tools(b)
    b.configure(
        *LIBRARY_ONLY,
        "--enable-widec",
        # Without this, configure tests the file system of the build machine.
        "--enable-mixed-case",
        "--with-shared",
        "--with-termlib=tinfo",
        "--enable-pc-files",
        f"--with-pkg-config-libdir={b.prefix}/lib/pkgconfig",
        "--disable-db-install",
        "--with-default-terminfo-dir=/usr/share/terminfo",
        f"--with-terminfo-dirs={FOLDERS}",
        f"--with-fallbacks={','.join(COMPILED_IN.split())}",
        f"--with-tic-path={tools}/progs/tic",
        f"--with-infocmp-path={tools}/progs/infocmp",
        env=ANSWERS,
    )
    b.make()
    b.install("install.libs", "install.includes", "install.progs")
    # The .pc files have the configuration; ncurses*-config knows the fixed prefix only.
    b.remove("bin/*config", "bin/captoinfo", "bin/infotocap", "share", "lib/terminfo")
    # Programs include <curses.h> or <ncursesw/curses.h>.
    for header in sorted((b.payload / "include/ncursesw").glob("*.h")):
        (b.payload / "include" / header.name).symlink_to(f"ncursesw/{header.name}")


def _backspace(b: Build) -> None:
    """Describe backspace as DEL, which terminals send today; distributions do the same."""
    path = b.source / "misc/terminfo.src"
    text = path.read_text(encoding="latin-1")
    text = re.sub(
        r"(?m)^(xterm\+kbs|screen-base)\|.*\n(\t.*\n)+",
        lambda entry: entry[0].replace("kbs=^H,", "kbs=^?,"),
        text,
    )
    path.write_text(text, encoding="latin-1")


def _build_tools(b: Build) -> Path:
    """Build tic and infocmp, which write the compiled-in table; those of a host may differ."""
    (b.source / "first").mkdir()
    # They run for a second, so -O0 is enough.
    options = ("--enable-widec", *LIBRARY_ONLY)
    b.run("../configure", *options, folder="first", env={"CFLAGS": "-O0", **ANSWERS})
    for part in ("include", "ncurses"):
        b.make("-C", f"first/{part}")
    b.make("-C", "first/progs", "tic", "infocmp")
    return b.source / "first"
