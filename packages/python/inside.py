"""bin/python3 has libpython, the extension modules and the common modules' code inside.

Each file that a start opens costs a round trip where the repository is on the network, and calls
between files cost time as long as a process lives. docs/explanation/performance.md has the figures.
"""

import re
import shutil
import sys

from rezbuild.errors import BuildError

from . import names

# From 3.11 on CPython's own build knows how (MODULE_BUILDTYPE, _bootstrap_python).
SINCE = (3, 11)

# They stay files: X11 is the host's, and may be missing; libcrypt's old names are for a library;
# what is under the GPL is not to become a part of the program and of what embeds libpython. The
# tables of East Asian encodings are large and seldom used, and would be in both.
FILES = ("_crypt", "_dbm", "_gdbm", "_tkinter", "nis", "ossaudiodev", "readline")
FILES += tuple(f"_codecs_{place}" for place in ("cn", "hk", "iso2022", "jp", "kr", "tw"))
FILES += ("_multibytecodec",)

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
    "expat": "-lm",
    # timer_create(2) is in librt before glibc 2.34.
    "gdbm": "-lrt",
    "gdbm_compat": "-lgdbm -lrt",
    "mpdec": "-lm",
    "ncursesw": "-ltinfo",
    "panelw": "-lncursesw -ltinfo",
    "readline": "-ltinfo",
    "sqlite3": "-lm -ldl -lpthread",
    "zstd": "-lpthread",
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
    " Programs/python.o Python/modules_table.o $(LIBRARY_OBJS) $(LIBS) $(MODLIBS) $(SYSLIBS)"
)
RULES = """
LIBRARY_OBJS += Python/modules_code.o
$(BUILDPYTHON) libpython$(LDVERSION).so: Python/modules_code.o
$(BUILDPYTHON): Python/modules_table.o
Python/modules_code.o: Python/modules_code.c Python/modules_table.s
\t$(CC) -c $(PY_CORE_CFLAGS) -o $@ Python/modules_code.c
Python/modules_table.o: Python/modules_table.s
\t$(CC) -c -Wa,--noexecstack -o $@ Python/modules_table.s
Python/modules_table.s: freeze.py _bootstrap_python
\t./_bootstrap_python freeze.py program $(srcdir)/Lib lib/python$(VERSION)$(ABI_THREAD) \\
\t\tPython/modules_table
"""
# Each extension module has its file in lib-dynload, as in any CPython: see inside.c.
RULES_FILES = """
FILES_INSIDE = {files}
SHAREDMODS += $(FILES_INSIDE)
{target}: $(FILES_INSIDE)
$(FILES_INSIDE): Modules/inside.o
\t$(BLDSHARED) {options} -Wl,--defsym,PyInit_$(notdir $(@:$(EXT_SUFFIX)=))=inside_init \\
\t\t-o $@ Modules/inside.o
Modules/inside.o: inside.c
\t$(CC) -c $(CCSHARED) $(PY_STDMODULE_CFLAGS) -fno-lto -o $@ inside.c
"""
# As small as they get: two pages.
SMALL = "-s -fno-lto -nostartfiles -Wl,-z,noseparate-code"
LINK_LIBRARY = "-o $(INSTSONAME) $(LIBRARY_OBJS)"
# To 3.12 the code of a start is there as static objects in C. The program needs not unpack them; in
# a shared library each pointer has to be relocated, takes 24 bytes more, and a start as much time.
LINK_MARSHALLED = (
    "-o $(INSTSONAME) $(filter-out Python/frozen.o $(DEEPFREEZE_OBJS), $(LIBRARY_OBJS))"
    " Python/frozen_plain.o"
)
RULES_MARSHALLED = """
libpython$(LDVERSION).so: Python/frozen_plain.o
Python/frozen_plain.o: Python/frozen_plain.c $(FROZEN_FILES_OUT)
\t$(CC) -c $(PY_CORE_CFLAGS) -o $@ Python/frozen_plain.c
"""
NO_STATIC_OBJECTS = """
int _Py_Deepfreeze_Init(void) { return 0; }
void _Py_Deepfreeze_Fini(void) {}
"""
# 3.12 counts the versions of functions from where the static ones end.
NO_STATIC_OBJECTS_3_12 = "uint32_t _Py_next_func_version = 1;\n"
# Of a process that is no Python of ours: a name that nothing defines is an error (RTLD_NOW).
LOADS = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
# What the program has inside, in the source's folder.
TABLE = "Python/modules_table.bin"
# Below the folder of the standard library: what modules_code.c opens.
OTHERS = "modules.code"


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
    files = [line for line in lines if line not in inside]
    if b.series < (3, 12):
        # setup.py makes the others.
        (modules / "Setup.local").write_text("\n".join([*inside, SETUP_3_11, *_disabled(b)]))
    else:
        text = "\n".join([*inside, "*shared*", *files, tests])
        (modules / "Setup.stdlib").write_text(text)
    # It is made of these lines, whatever the clock of the file system says of both, and must not be
    # made anew after what follows.
    b.make("-W", f"Modules/Setup.{'local' if b.series < (3, 12) else 'stdlib'}", "Makefile")
    for name in ("freeze.py", "inside.c"):
        shutil.copyfile(b.recipe / name, b.source / name)
    makefile = b.source / "Makefile"
    text = makefile.read_text()
    _check_modules(text, "MODBUILT_NAMES", inside)
    if b.series >= (3, 12):
        # The host may have what a disabled module needs: Setup.stdlib has its line all the same.
        disabled = " ".join(_disabled(b)).split()
        built = [line for line in files if line.partition(" ")[0] not in disabled]
        _check_modules(text, "MODSHARED_NAMES", built)
    if text.count(LINK) < 1 or text.count(LINK_LIBRARY) != 1:
        raise BuildError(
            "CPython's Makefile links its program or its library in an unknown way",
            advice=["packages/python/inside.py says which way is known"],
        )
    text = text.replace(LINK, LINK_WHOLE, 1) + RULES
    extensions = _extensions(modules, text)
    _list_apart(modules / "config.c", extensions)
    # As in a stock build; setup.py of 3.11 would delete the files of others.
    text = text.replace("\nMODSHARED_NAMES=", f"\nMODSHARED_NAMES= {' '.join(extensions)} ", 1)
    text += RULES_FILES.format(
        files=" ".join(f"Modules/{name}$(EXT_SUFFIX)" for name in extensions),
        options=SMALL,
        target="oldsharedmods" if b.series < (3, 12) else "sharedmods",
    )
    if b.series < (3, 13):
        _marshalled(b.source, b.series)
        text = text.replace(LINK_LIBRARY, LINK_MARSHALLED) + RULES_MARSHALLED
    makefile.write_text(text)


def _extensions(modules, makefile):
    """The modules that a stock build has in files; what a start needs is part of any CPython."""
    built_in = set()
    for file in ("Setup", "Setup.bootstrap"):
        lines = (modules / file).read_text().splitlines()
        built_in |= {line.split()[0] for line in lines if line.strip()}
    # From 3.12 on the first list names the modules of the second as well.
    made, shared = (
        re.search(rf"(?m)^{names}=(.*)", makefile)[1].split()
        for names in ("MODBUILT_NAMES", "MODSHARED_NAMES")
    )
    return [name for name in made if name not in built_in and name not in shared]


def _list_apart(config, extensions):
    """Moves these modules from the table of built-in ones to the one that modules_code.c reads.

    Raises:
        BuildError: One of them is not in the table.
    """
    text, rows = config.read_text(), []
    for name in extensions:
        row = f'    {{"{name}", PyInit_{name}}},\n'
        if text.count(row) != 1:
            raise BuildError(f"{config} has no row for {name}")
        text = text.replace(row, "")
        rows.append(row)
    table = "".join(rows)
    text += f"\nconst struct _inittab _PyImport_ModulesInside[] = {{\n{table}    {{0, 0}}\n}};\n"
    config.write_text(text)


def _check_modules(makefile, variable, lines):
    """That the Makefile was made of these lines.

    Raises:
        BuildError: Modules would be left out.
    """
    made = re.search(rf"(?m)^{variable}=(.*)", makefile)[1].split()
    wanted = [line.split()[0] for line in lines if line[:1].isalpha() or line[:1] == "_"]
    missing = sorted(set(wanted) - set(made))
    if missing:
        raise BuildError(
            f"CPython's Makefile was not made with {', '.join(missing)} in {variable}",
            advice=["packages/python/inside.py says how it should be"],
        )


def _marshalled(source, series):
    """Writes a Python/frozen.c that has bytes of marshal in place of static objects."""
    text, makefile = ((source / file).read_text() for file in ("Python/frozen.c", "Makefile"))
    names = re.findall(r"(?m)^\t\tPython/frozen_modules/(\S+)\.h", makefile)
    text = re.sub(r"(?m)^extern PyObject \*_Py_get_.*\n", "", text)
    # 3.12: {"abc", _Py_M__abc, (int)sizeof(_Py_M__abc), false, GET_CODE(abc)}
    pattern, replacement = r"GET_CODE\(\w+\)\}", "NULL}"
    if series < (3, 12):
        # 3.11: {"abc", NULL, 0, false, GET_CODE(abc)}, without the bytes of marshal
        pattern = r"NULL, 0, (\w+), GET_CODE\((\w+)\)"
        replacement = r"_Py_M__\2, (int)sizeof(_Py_M__\2), \1, NULL"
    text, found = re.subn(pattern, replacement, text)
    begin = "/* Includes for frozen modules: */\n"
    if not found or begin not in text:
        raise BuildError(
            "Python/frozen.c is not as it is known",
            advice=["packages/python/inside.py says what becomes of it"],
        )
    if series < (3, 12):
        included = "".join(f'#include "frozen_modules/{name}.h"\n' for name in names)
        text = text.replace(begin, begin + included)
    text += NO_STATIC_OBJECTS
    if series >= (3, 12):
        text += NO_STATIC_OBJECTS_3_12
    (source / "Python/frozen_plain.c").write_text(text)


def finish(b, lib):
    """Packs the code of all other modules into one file: a .pyc for each is twice the size."""
    program = b.payload / "bin" / names.program(b)
    files = (lib, lib.relative_to(b.payload), b.source / TABLE, program, lib / OTHERS)
    script = (program, "-I", "-B", b.recipe / "freeze.py", "others", *files)
    b.run(*(str(word) for word in script))
    for record in lib.glob("site-packages/*.dist-info/RECORD"):
        rows = record.read_text().splitlines(keepends=True)
        record.write_text("".join(row for row in rows if ".pyc," not in row))
    (library,) = b.payload.glob("lib/libpython3.*.so.1.0")
    b.run(sys.executable, "-I", "-c", LOADS, str(library))


def _disabled(b):
    setup = (b.source / "Modules/Setup.local").read_text()
    return re.findall(r"(?ms)^\*disabled\*.*", setup)
