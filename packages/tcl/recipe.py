"""Tcl: the library, its scripts and tclsh, without the packages that upstream adds."""

import re
import shutil

from rezbuild.build.recipe_api import Build

# An extension's configure reads tclConfig.sh after it has set TCL_BIN_DIR to the file's folder.
ROOT = '_tcl_root=$(cd "${TCL_BIN_DIR:?is not set: the folder of tclConfig.sh}/.." && pwd)\n'


def build(b: Build) -> None:
    """Build and install Tcl."""
    b.search_dependencies()
    # Tcl's Makefile does not use CPPFLAGS.
    b.flags(CFLAGS=b.env["CPPFLAGS"])
    shutil.rmtree(b.source / "pkgs")
    # If zlib cannot be linked, configure uses Tcl's own copy without a warning: remove the copy.
    shutil.rmtree(b.source / "compat/zlib", ignore_errors=True)
    options = ("--enable-shared", "--enable-threads", "--disable-rpath", "--without-tzdata")
    # Without the answer, configure links a libinet of the host, if there is one.
    b.configure(*options, folder="unix", env={"ac_cv_lib_inet_main": "no"})
    b.make("-C", "unix", "binaries", "libraries")
    # These targets write to the same folders: one job only.
    b.run(
        *("make", "-C", "unix", f"DESTDIR={b.destdir}", "install-binaries", "install-libraries"),
        *("install-msgs", "install-headers"),
    )
    _private_headers(b)
    _configuration(b)
    (b.payload / "bin/tclsh").symlink_to("tclsh8.6")
    b.remove("man", "share", "lib/tclooConfig.sh")
    b.remove("lib/tcl8.6/tclAppInit.c")


def _private_headers(b: Build) -> None:
    """Install the headers that extensions such as Tk need in the source folder of tclConfig.sh."""
    for part in ("generic", "unix"):
        folder = b.payload / "include/tcl-private" / part
        folder.mkdir(parents=True)
        for header in (b.source / part).glob("*.h"):
            shutil.copy(header, folder)


def _configuration(b: Build) -> None:
    """Make tclConfig.sh compute its folders: upstream's contains build folders and the prefix."""
    path = b.payload / "lib/tclConfig.sh"
    lines = []
    for line in path.read_text().splitlines(keepends=True):
        new = line.replace(f"{b.source}/unix", f"{b.prefix}/lib")
        new = new.replace(str(b.source), f"{b.prefix}/include/tcl-private")
        new = new.replace(b.env["CFLAGS"], "").replace(b.env["CPPFLAGS"], "")
        new = new.replace(_search(b), "")
        if b.prefix in new:
            new = re.sub("='(.*)'", r'="\1"', new.replace(b.prefix, "${_tcl_root}"))
        lines.append(new)
    path.write_text(ROOT + "".join(lines))
    pc = b.payload / "lib/pkgconfig/tcl.pc"
    # The payload contains zlib; pkg-config must not require its .pc file.
    pc.write_text(re.sub(r"(?m)^(Requires\.private: zlib|Libs\.private:).*\n", "", pc.read_text()))


def _search(b: Build) -> str:
    return " ".join(f"-L{dependency.lib}" for dependency in b.dependencies.values())
