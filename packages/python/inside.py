"""bin/python3 has libpython, the extension modules and the common modules' code inside.

Each file that a start opens costs a round trip where the repository is on the network, and calls
between files cost time as long as a process lives. docs/performance.md has the figures.
"""

import re
import shutil

from rezbuild.errors import BuildError

from . import freeze

# From 3.11 on CPython's own build knows how (MODULE_BUILDTYPE, _bootstrap_python).
SINCE = (3, 11)

# They stay files: X11 is the host's, and may be missing; libcrypt's old names are for a library;
# what is under the GPL is not to become a part of the program and of what embeds libpython.
FILES = ("_crypt", "_dbm", "_gdbm", "_tkinter", "nis", "ossaudiodev", "readline")

# 3.11 has no lines for what only its setup.py could find.
SETUP_3_11 = """\
_ctypes _ctypes/_ctypes.c _ctypes/callbacks.c _ctypes/callproc.c _ctypes/stgdict.c \
_ctypes/cfield.c -DHAVE_FFI_PREP_CIF_VAR -DHAVE_FFI_PREP_CLOSURE_LOC -DHAVE_FFI_CLOSURE_ALLOC -lffi
_curses _cursesmodule.c -DHAVE_NCURSESW -lncursesw
_curses_panel _curses_panel.c -DHAVE_NCURSESW -lpanelw -lncursesw
*shared*
readline readline.c -lreadline
"""

# What a static library needs of others: a shared one says so itself.
NEEDS = {
    "crypto": "-ldl -lpthread",
    "gdbm_compat": "-lgdbm",
    "ncursesw": "-ltinfo",
    "panelw": "-lncursesw -ltinfo",
    "readline": "-ltinfo",
    "sqlite3": "-lm -ldl -lpthread",
}

LINK = (
    "$(LINKCC) $(PY_CORE_LDFLAGS) $(LINKFORSHARED) -o $@ Programs/python.o $(LINK_PYTHON_OBJS)"
    " $(LIBS) $(MODLIBS) $(SYSLIBS)"
)
# A library that was linked to libpython finds this program by that name (ld.so compares sonames),
# so there is one runtime in a process. Not position-independent: as Debian's, and its data needs no
# relocation at each start. LTO generates code as the objects were compiled, for a shared library,
# unless it is told.
LINK_WHOLE = (
    "$(LINKCC) $(PY_CORE_LDFLAGS) $(LINKFORSHARED) -no-pie -fno-pic -fno-pie"
    " -Wl,-soname,$(INSTSONAME) -o $@"
    " Programs/python.o $(LIBRARY_OBJS) $(LIBS) $(MODLIBS) $(SYSLIBS)"
)
RULES = """
LIBRARY_OBJS += Python/stdlib_code.o
$(BUILDPYTHON) libpython$(LDVERSION).so: Python/stdlib_code.o
Python/stdlib_code.o: freeze.py _bootstrap_python
\t./_bootstrap_python freeze.py $(srcdir)/Lib lib/python$(VERSION) Python/stdlib_code.s
\t$(CC) -c -Wa,--noexecstack -o $@ Python/stdlib_code.s
"""


def prepare(b):
    """Before configure: libraries without a file of their own are found first."""
    # A link, since `make clean` deletes all archives below the source.
    folder, static = b.source.with_name("static"), b.source / "static"
    folder.mkdir()
    static.symlink_to(folder)
    for dependency in b.dependencies.values():
        for archive in dependency.lib.glob("*.a"):
            name = archive.stem[len("lib") :]
            # A linker script, ld(1): it brings along what the library needs.
            script = f'INPUT("{archive}" {NEEDS.get(name, "")})\n'
            (static / archive.name).write_text(script)
    b.env["LDFLAGS"] = f"-L{static} {b.env['LDFLAGS']}"
    # Their functions are for Python alone: a library that a DCC brings must find its own OpenSSL.
    b.flags(LDFLAGS_NODIST="-Wl,--exclude-libs,ALL")
    b.env["MODULE_BUILDTYPE"] = "static"


def configured(b):
    """After configure: which modules are inside, and how the program is linked."""
    modules = b.source / "Modules"
    text = (modules / "Setup.stdlib").read_text()
    body, _, tests = text.partition("# Test modules")
    lines = body.splitlines()
    inside = [line for line in lines if line.partition(" ")[0] not in FILES]
    if b.series < (3, 12):
        # setup.py makes the others.
        (modules / "Setup.local").write_text("\n".join([*inside, SETUP_3_11, *_disabled(b)]))
    else:
        files = [line for line in lines if line not in inside]
        text = "\n".join([*inside, "*shared*", *files, tests])
        (modules / "Setup.stdlib").write_text(text)
    # It is made of these lines, and must not be made anew after what follows.
    b.make("Makefile")
    shutil.copyfile(b.recipe / "freeze.py", b.source / "freeze.py")
    makefile = b.source / "Makefile"
    text = makefile.read_text()
    if text.count(LINK) < 1:
        raise BuildError(
            "CPython's Makefile links its program in an unknown way",
            advice=["packages/python/inside.py says which way is known"],
        )
    makefile.write_text(text.replace(LINK, LINK_WHOLE, 1) + RULES)


def remove_compiled(lib):
    """Drops the .pyc files of the modules whose code is inside: nothing reads them."""
    for _, file, _ in freeze.modules(lib):
        path = lib / file
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()


def _disabled(b):
    setup = (b.source / "Modules/Setup.local").read_text()
    return re.findall(r"(?ms)^\*disabled\*.*", setup)
