"""Tk on X11, with Xft fonts if the build machine has the headers of Xft.

The X11 libraries come from the host: like a graphics driver, they belong to its display.
"""

import re
import shutil

from rezbuild.build.recipe_api import Build

# An extension's configure reads tkConfig.sh after it has set TK_BIN_DIR to the file's folder.
ROOT = '_tk_root=$(cd "${TK_BIN_DIR:?is not set: the folder of tkConfig.sh}/.." && pwd)\n'


def build(b: Build) -> None:
    """Build and install Tk."""
    b.search_dependencies()
    tcl = b.dependency("tcl")
    options = ("--enable-shared", "--enable-threads", "--disable-rpath")
    # The screen saver extension (xss) needs one more library for one rarely used command.
    b.configure(f"--with-tcl={tcl.lib}", *options, "--disable-xss", folder="unix")
    b.make("-C", "unix", "binaries", "libraries")
    install = ("install-binaries", "install-libraries", "install-headers")
    b.run("make", "-C", "unix", f"DESTDIR={b.destdir}", *install)
    _configuration(b)
    (b.payload / "bin/wish").symlink_to("wish8.6")
    b.remove("man", "share", "lib/tk8.6/demos", "lib/tk8.6/tkAppInit.c")
    # Tcl searches its scripts and modules beside its library, also beside a bundled one.
    for folder in ("tcl8", "tcl8.6"):
        bundled = b.payload / "deps/tcl" / tcl.version / "lib" / folder
        shutil.copytree(tcl.lib / folder, bundled)


def _configuration(b: Build) -> None:
    """Make tkConfig.sh compute its folders: upstream's contains build folders and the prefix."""
    path = b.payload / "lib/tkConfig.sh"
    lines = []
    for line in path.read_text().splitlines(keepends=True):
        new = line.replace(f"{b.source}/unix", f"{b.prefix}/lib")
        new = new.replace(str(b.source), f"{b.prefix}/include/tk-private")
        new = new.replace(b.env["CFLAGS"], "").replace(_search(b), "")
        if b.prefix in new:
            new = re.sub("='(.*)'", r'="\1"', new.replace(b.prefix, "${_tk_root}"))
        lines.append(new)
    path.write_text(ROOT + "".join(lines))
    pc = b.payload / "lib/pkgconfig/tk.pc"
    pc.write_text(re.sub(r"(?m)^Libs\.private:.*\n", "", pc.read_text()))


def _search(b: Build) -> str:
    return " ".join(f"-L{dependency.lib}" for dependency in b.dependencies.values())
