"""Link libpython, the extension modules and the code of common modules into bin/python3.

On a network file system, each file that Python opens at its start costs a round trip. Calls between
files also cost time later. docs/explanation/performance.md has the numbers.
"""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rezbuild.build.recipe_api import Build
from rezbuild.errors import BuildError

from . import names

# CPython's own build supports this from 3.11 on (MODULE_BUILDTYPE, _bootstrap_python).
SINCE = (3, 11)

# Modules that stay files. _tkinter: X11 comes from the host and may be missing. _crypt: libcrypt's
# old symbols work in a shared library only. GPL: programs that embed libpython must not contain
# such code. East Asian encodings: large, rarely used, and libpython would contain them, too.
FILES: tuple[str, ...] = ("_crypt", "_dbm", "_gdbm", "_tkinter", "nis", "ossaudiodev", "readline")
FILES += tuple(f"_codecs_{place}" for place in ("cn", "hk", "iso2022", "jp", "kr", "tw"))
FILES += ("_multibytecodec",)

# Setup.stdlib of 3.11 has no lines for modules that only its setup.py can configure.
SETUP_3_11 = """\
_ctypes _ctypes/_ctypes.c _ctypes/callbacks.c _ctypes/callproc.c _ctypes/stgdict.c \
_ctypes/cfield.c -DHAVE_FFI_PREP_CIF_VAR -DHAVE_FFI_PREP_CLOSURE_LOC -DHAVE_FFI_CLOSURE_ALLOC -lffi
_curses _cursesmodule.c -DHAVE_NCURSESW -lncursesw
_curses_panel _curses_panel.c -DHAVE_NCURSESW -lpanelw -lncursesw
*shared*
readline readline.c -lreadline
"""

# Libraries that a static library needs; a shared one lists them itself.
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
# The program has libpython's soname: for a library that is linked to libpython, ld.so uses this
# program (it compares sonames), so a process has one runtime. The program is not
# position-independent, like Debian's: its data needs no relocation at start. Without -fno-pic, LTO
# would generate code for a shared library, since the objects were compiled for one.
LINK_WHOLE = (
    "$(LINKCC) $(PY_CORE_LDFLAGS) $(LINKFORSHARED) -no-pie -fno-pic -fno-pie"
    " -Wl,-soname,$(INSTSONAME) -Wl,-T,program.ld -o $@"
    " Programs/python.o Python/modules_table.o $(LIBRARY_OBJS) $(LIBS) $(MODLIBS) $(SYSLIBS)"
)
RULES = """
LIBRARY_OBJS += Python/modules_code.o
$(BUILDPYTHON) libpython$(LDVERSION).so: Python/modules_code.o
$(BUILDPYTHON): Python/modules_table.o program.ld
Python/modules_code.o: Python/modules_code.c Python/modules_table.s
\t$(CC) -c $(PY_CORE_CFLAGS) -o $@ Python/modules_code.c
Python/modules_table.o: Python/modules_table.s
\t$(CC) -c -Wa,--noexecstack -o $@ Python/modules_table.s
Python/modules_table.s: freeze.py _bootstrap_python
\t./_bootstrap_python freeze.py program $(srcdir)/Lib lib/python$(VERSION)$(ABI_THREAD) \\
\t\tPython/modules_table
"""
# Each extension module also has a file in lib-dynload, as in any CPython: see inside.c. The rules
# define no variable, since sysconfig would return it.
RULES_FILES = """
SHAREDMODS += {files}
{target}: {files}
{files}: Modules/inside.o
\t$(filter-out {without},$(BLDSHARED)) {options} -o $@ Modules/inside.o \\
\t\t-Wl,--defsym,PyInit_$(notdir $(@:$(EXT_SUFFIX)=))=inside_init
Modules/inside.o: inside.c
\t$(CC) -c $(CCSHARED) $(filter-out {without},$(PY_STDMODULE_CFLAGS)) -fno-lto -o $@ inside.c
"""
# Flags that these files cannot have: the training does not count them, since clang's profile
# runtime needs the start files, and they have no LTO.
NOT_FOR_FILES = "$(PGO_PROF_GEN_FLAG) $(PGO_PROF_USE_FLAG) $(LTO_LINK_FLAG)"
# Each of these files has two pages, the smallest possible size.
SMALL = "-s -fno-lto -nostartfiles -Wl,-z,noseparate-code"
LINK_LIBRARY = "-o $(INSTSONAME) $(LIBRARY_OBJS)"
# Up to 3.12, the code of modules for the start is in static C objects. The program keeps them. In a
# shared library, each pointer needs a relocation of 24 bytes, which takes as long as to unmarshal.
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
# 3.12 counts function versions from the last static one.
NO_STATIC_OBJECTS_3_12 = "uint32_t _Py_next_func_version = 1;\n"
# Run by rezbuild's own Python: load the library; an undefined symbol is an error (RTLD_NOW).
LOADS = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
# The table of modules inside the program; in the source folder.
TABLE = "Python/modules_table.bin"
# The file that modules_code.c opens, in the folder of the standard library.
OTHERS = "modules.code"


def prepare(b: Build) -> None:
    """Make the linker find static libraries first; call this before configure."""
    # A link, since `make clean` deletes all archives below the source.
    folder, static = b.source.with_name("static"), b.source / "static"
    folder.mkdir()
    static.symlink_to(folder)
    for dependency in b.dependencies.values():
        for archive in dependency.lib.glob("*.a"):
            name = archive.stem[len("lib") :]
            # A linker script, ld(1), with the libraries that this one needs.
            script = f'INPUT("{archive}" {NEEDS.get(name, "")})\n'
            (static / archive.name).write_text(script)
    b.env["LDFLAGS"] = f"-L{static} {b.env['LDFLAGS']}"
    # Hide their symbols: a library that a DCC loads must find the DCC's OpenSSL.
    b.flags(LDFLAGS_NODIST="-Wl,--exclude-libs,ALL")
    b.env["MODULE_BUILDTYPE"] = "static"


def configured(b: Build) -> None:
    """Write the list of modules and the link rules; call this after configure."""
    modules = b.source / "Modules"
    text = (modules / "Setup.stdlib").read_text()
    body, _, tests = text.partition("# Test modules")
    lines = body.splitlines()
    inside = [line for line in lines if line.partition(" ")[0] not in FILES]
    files = [line for line in lines if line not in inside]
    if b.series < (3, 12):
        # setup.py builds the other modules.
        (modules / "Setup.local").write_text("\n".join([*inside, SETUP_3_11, *_disabled(b)]))
    else:
        text = "\n".join([*inside, "*shared*", *files, tests])
        (modules / "Setup.stdlib").write_text(text)
    # -W: generate the Makefile now, whatever the file times are. It is edited below, so make must
    # not generate it again later.
    b.make("-W", f"Modules/Setup.{'local' if b.series < (3, 12) else 'stdlib'}", "Makefile")
    for name in ("freeze.py", "inside.c", "program.ld"):
        shutil.copyfile(b.recipe / name, b.source / name)
    makefile = b.source / "Makefile"
    text = makefile.read_text()
    _check_modules(text, "MODBUILT_NAMES", inside)
    if b.series >= (3, 12):
        # Setup.stdlib also has lines for disabled modules if the host has their libraries.
        disabled = " ".join(_disabled(b)).split()
        built = [line for line in files if line.partition(" ")[0] not in disabled]
        _check_modules(text, "MODSHARED_NAMES", built)
    if text.count(LINK) < 1 or text.count(LINK_LIBRARY) != 1:
        raise BuildError(
            "CPython's Makefile has unknown rules to link its program or its library",
            advice=["adapt packages/python/inside.py to this version of CPython"],
        )
    text = text.replace(LINK, LINK_WHOLE, 1) + RULES
    extensions = _extensions(modules, text)
    _list_apart(modules / "config.c", extensions)
    # A stock build lists them, too; setup.py of 3.11 would delete files of unlisted modules.
    text = text.replace("\nMODSHARED_NAMES=", f"\nMODSHARED_NAMES= {' '.join(extensions)} ", 1)
    text += RULES_FILES.format(
        files=" ".join(f"Modules/{name}$(EXT_SUFFIX)" for name in extensions),
        options=SMALL,
        without=NOT_FOR_FILES,
        target="oldsharedmods" if b.series < (3, 12) else "sharedmods",
    )
    if b.series < (3, 13):
        _marshalled(b.source, b.series)
        text = text.replace(LINK_LIBRARY, LINK_MARSHALLED) + RULES_MARSHALLED
    makefile.write_text(text)


def _extensions(modules: Path, makefile: str) -> list[str]:
    """Return the modules that have files in a stock build; the others are always built in."""
    built_in: set[str] = set()
    for file in ("Setup", "Setup.bootstrap"):
        lines = (modules / file).read_text().splitlines()
        built_in |= {line.split()[0] for line in lines if line.strip()}
    # From 3.12 on, the first list also contains the modules of the second.
    made, shared = (_values(makefile, name) for name in ("MODBUILT_NAMES", "MODSHARED_NAMES"))
    return [name for name in made if name not in built_in and name not in shared]


def _values(makefile: str, variable: str) -> list[str]:
    """Return the words of a variable in the text of a Makefile."""
    (value,) = re.findall(rf"(?m)^{variable}=(.*)", makefile)[:1]
    return str(value).split()


def _list_apart(config: Path, extensions: Sequence[str]) -> None:
    """Move modules from the table of built-in modules to the table that modules_code.c reads.

    Raises:
        BuildError: A module is not in the table.
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


def _check_modules(makefile: str, variable: str, lines: Sequence[str]) -> None:
    """Check that the Makefile was generated from these lines.

    Raises:
        BuildError: Modules are missing.
    """
    made = _values(makefile, variable)
    wanted = [line.split()[0] for line in lines if line[:1].isalpha() or line[:1] == "_"]
    missing = sorted(set(wanted) - set(made))
    if missing:
        raise BuildError(
            f"{variable} in CPython's Makefile lacks the modules {', '.join(missing)}",
            advice=["adapt packages/python/inside.py to this version of CPython"],
        )


def _marshalled(source: Path, series: tuple[int, int]) -> None:
    """Write Python/frozen_plain.c: frozen.c with marshalled bytes instead of static objects."""
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
            "Python/frozen.c has an unknown layout",
            advice=["adapt packages/python/inside.py to this version of CPython"],
        )
    if series < (3, 12):
        included = "".join(f'#include "frozen_modules/{name}.h"\n' for name in names)
        text = text.replace(begin, begin + included)
    text += NO_STATIC_OBJECTS
    if series >= (3, 12):
        text += NO_STATIC_OBJECTS_3_12
    (source / "Python/frozen_plain.c").write_text(text)


def finish(b: Build, lib: Path) -> None:
    """Pack the code of all other modules into one file, half the size of their .pyc files."""
    program = b.payload / "bin" / names.program(b)
    files = (lib, lib.relative_to(b.payload), b.source / TABLE, program, lib / OTHERS)
    script = (program, "-I", "-B", b.recipe / "freeze.py", "others", *files)
    b.run(*(str(word) for word in script))
    for record in lib.glob("site-packages/*.dist-info/RECORD"):
        rows = record.read_text().splitlines(keepends=True)
        record.write_text("".join(row for row in rows if ".pyc," not in row))
    (library,) = b.payload.glob("lib/libpython3.*.so.1.0")
    b.run(sys.executable, "-I", "-c", LOADS, str(library))


def _disabled(b: Build) -> list[str]:
    setup = (b.source / "Modules/Setup.local").read_text()
    return re.findall(r"(?ms)^\*disabled\*.*", setup)
