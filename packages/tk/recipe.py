"""Tk on X11, with Xft fonts if the build machine has the headers of Xft.

The X11 libraries come from the host: like a graphics driver, they belong to its display.
"""

import re
import shutil

from rezbuild.build.recipe_api import Build

# An extension's configure reads tkConfig.sh after it has set TK_BIN_DIR to the file's folder.
ROOT = '_tk_root=$(cd "${TK_BIN_DIR:?is not set: the folder of tkConfig.sh}/.." && pwd)\n'
# The libraries of the host that Tk calls, and their sonames.
HOST = {"Xft": "libXft.so.2", "fontconfig": "libfontconfig.so.1", "X11": "libX11.so.6"}


def build(b: Build) -> None:
    """Build and install Tk."""
    b.search_dependencies()
    tcl = b.dependency("tcl")
    options = ("--enable-shared", "--enable-threads", "--disable-rpath")
    # The screen saver extension (xss) needs one more library for one rarely used command.
    b.configure(f"--with-tcl={tcl.lib}", *options, "--disable-xss", folder="unix")
    # wish calls libraries of Tcl and Tk only.
    wish = "WISH_LIBS=$(TCL_LIB_SPEC) -Wl,--allow-shlib-undefined"
    host = f"X11_LIB_SWITCHES={_link_by_soname(b)}"
    b.make("-C", "unix", host, wish, "binaries", "libraries")
    install = ("install-binaries", "install-libraries", "install-headers")
    b.run("make", "-C", "unix", f"DESTDIR={b.destdir}", *install)
    _configuration(b)
    (b.payload / "bin/wish").symlink_to("wish8.6")
    b.remove("man", "share", "lib/tk8.6/demos", "lib/tk8.6/tkAppInit.c")
    # Tcl searches its scripts and modules beside its library, also beside a bundled one.
    for folder in ("tcl8", "tcl8.6"):
        bundled = b.payload / "deps/tcl" / tcl.version / "lib" / folder
        shutil.copytree(tcl.lib / folder, bundled)


def _link_by_soname(b: Build) -> str:
    """Return options that link the host's libraries by libraries without symbols.

    The symbols of all libraries in a link decide about the order of Tk's, and Tk exports _edata if
    a library does, e.g. libX11 of Debian 12. So each host would make other bytes.
    """
    switches = re.findall(r"(?m)^(?:XFT_LIBS|X11_LIB_SWITCHES)\s*=(.*)", _makefile(b))
    names = [name for name in HOST if f"-l{name}" in " ".join(switches).split()]
    for name in names:
        soname = f"-Wl,-soname,{HOST[name]}"
        empty = ("-shared", "-nostdlib", "-x", "c", "/dev/null")
        b.run(b.env["CC"], *empty, soname, "-o", f"unix/lib{name}.so")
    libraries = " ".join(f"-l{name}" for name in names)
    return f"-L. -Wl,--no-as-needed {libraries} -Wl,--as-needed"


def _makefile(b: Build) -> str:
    return (b.source / "unix/Makefile").read_text()


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
