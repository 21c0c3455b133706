"""The text rules of packages/python/recipe.py, without a build."""

from __future__ import annotations

import re
import shutil
import subprocess
import types
from pathlib import Path

import pytest

from rezbuild.build import toolchain
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue import sources_toml
from rezbuild.errors import BuildError
from rezbuild.settings import Settings
from rezbuild.util import import_file

FOLDER = Path(__file__).parents[3] / "packages/python"
PREFIX = "/rezbuild/python-3.11.2"


def compilers(name: str) -> Toolchain:
    return toolchain.find(Settings.read({"REZBUILD_CC": name}))


@pytest.fixture(scope="module")
def installed_module():
    return import_file.load(FOLDER, "recipe.py").installed


@pytest.fixture
def build(tmp_path):
    env = {"CC": "/opt/gcc-12/bin/gcc-12", "CXX": "/opt/gcc-12/bin/g++-12"}
    return types.SimpleNamespace(
        name="python", payload=tmp_path, prefix=PREFIX, series=(3, 11), env=env
    )


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/opt/gcc-12/bin/gcc-12 -shared -I/rezbuild/zlib-1.3.1/include -Wall", "cc -shared -Wall"),
        ("CC=\t/opt/gcc-12/bin/gcc-12 -pthread", "CC= cc -pthread"),
        (
            "-fwrapv -flto -fuse-linker-plugin -ffat-lto-objects -flto-partition=none -g",
            "-fwrapv -g",
        ),
        ("-fprofile-use -fprofile-correction -O3", "-O3"),
        ("X=-L/rezbuild/zlib-1.3.1/lib/pkgconfig/../../lib -lz", "X= -lz"),
        ("-I/rezbuild/python-3.11.2/include", "-I/rezbuild/python-3.11.2/include"),
        ("/usr/bin/gcc-ar", "ar"),
        ("/usr/lib/llvm-19/bin/llvm-ar", "ar"),
        ("-flto=thin -fprofile-instr-use=code.profclangd -g", "-g"),
        ("-Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--build-id=sha1", "-Wl,--as-needed"),
        ("-DNDEBUG -DNDEBUG -DNDEBUGGER", "-DNDEBUG -DNDEBUGGER"),
        ("is gcc-12 here", "is gcc-12 here"),
    ],
)
def test_sysconfig_contains_no_flags_of_the_build(installed_module, build, text, clean):
    assert " ".join(installed_module.clean(build, text).split()) == clean


def test_unknown_sysconfig_text_stops_the_build(installed_module, build):
    folder = build.payload / "lib/python3.11/config-3.11"
    folder.mkdir(parents=True)
    makefile = folder / "Makefile"
    makefile.write_text(f"prefix=\t{PREFIX}\nNEW=\t/rezbuild/thing-1.0/bin/tool\n")
    with pytest.raises(
        BuildError, match=r"names folders of the build: /rezbuild/thing-1\.0/bin/tool"
    ):
        installed_module.fix(build)
    makefile.write_text("prefix=\t/one\nprefix=\t/two\n")
    with pytest.raises(BuildError, match="sets its prefix 2 times"):
        installed_module.fix(build)


def test_json_files_of_newer_versions_are_relative(installed_module, build):
    """PEP 739: base_prefix may be relative to the file, other paths are relative to base_prefix."""
    lib = build.payload / "lib/python3.11"
    lib.mkdir(parents=True)
    file = lib / "build-details.json"
    file.write_text(
        f'{{"base_prefix": "{PREFIX}", "base_interpreter": "{PREFIX}/bin/python3.14",'
        f' "libpython": {{"dynamic": "{PREFIX}/lib/libpython3.14.so.1.0", "static": null}},'
        ' "abi": {"flags": []}}'
    )
    variables = lib / "_sysconfig_vars__linux_x86_64-linux-gnu.json"
    variables.write_text(
        f'{{"LIBDIR": "{PREFIX}/lib", "LIBPL": "{PREFIX}/lib/python3.14/config", "N": 1,'
        f' "CC": "/opt/gcc-12/bin/gcc-12", "CONFIG_ARGS": "\'--prefix={PREFIX}\' \'CC=gcc\'",'
        ' "abs_srcdir": "/rezbuild/source"}'
    )
    installed_module.fix(build)
    text = file.read_text() + variables.read_text()
    assert "/rezbuild" not in text
    assert '"base_prefix": "../.."' in text
    assert '"dynamic": "./lib/libpython3.14.so.1.0"' in text
    assert '"LIBDIR": "../../lib"' in text
    assert '"CC": "cc"' in text


@pytest.fixture(scope="module")
def training():
    return import_file.load(FOLDER, "training.py")


def test_each_training_workload_runs(training, tmp_path, monkeypatch):
    """The workloads run in each built version; this test uses another one."""
    for name in ("Lib", "Python"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    for workload in training.WORKLOADS:
        workload()
    assert all(times > 0 for times in training.WORKLOADS.values())


def test_failed_training_stops_the_build(tmp_path):
    recipe = import_file.load(FOLDER, "recipe.py")
    build = types.SimpleNamespace(source=tmp_path)
    with pytest.raises(BuildError, match="training of the optimized interpreter failed: all parts"):
        recipe._check_training(build)
    (tmp_path / "training-failed").write_text("markup sums")
    with pytest.raises(BuildError, match="failed: markup sums"):
        recipe._check_training(build)
    (tmp_path / "training-failed").write_text("")
    recipe._check_training(build)


def test_configure_records_no_number_of_jobs():
    recipe = import_file.load(FOLDER, "recipe.py")
    known = {"dependencies": {}, "tools": compilers("gcc"), "series": (3, 11)}
    builds = [types.SimpleNamespace(**known, jobs=jobs) for jobs in (2, 3)]
    assert recipe._environment(builds[0]) == recipe._environment(builds[1])


@pytest.mark.parametrize("series", [(3, 9), (3, 11), (3, 13)])
def test_ipv6_does_not_depend_on_the_build_machine(series):
    """Without the option, configure opens an IPv6 socket."""
    recipe = import_file.load(FOLDER, "recipe.py")
    openssl = types.SimpleNamespace(root="/openssl")
    build = types.SimpleNamespace(
        name="python",
        prefix=PREFIX,
        series=series,
        optimized=False,
        dependency={"openssl": openssl}.get,
    )
    assert "--enable-ipv6" in list(recipe._arguments(build))


def test_old_series_build_with_the_resolved_mpdecimal(tmp_path):
    """CPython 3.9 and 3.10 are written for mpdecimal 2; from 3.12 on there is no setup.py."""
    recipe = import_file.load(FOLDER, "recipe.py")
    build = types.SimpleNamespace(source=tmp_path)
    recipe._fit_mpdecimal(build)
    setup, module = tmp_path / "setup.py", tmp_path / "Modules/_decimal/_decimal.c"
    module.parent.mkdir(parents=True)
    setup.write_text("libraries = [':libmpdec.so.2']\n")
    module.write_text("isascii((uchar)spec.dot[0])\n")
    recipe._fit_mpdecimal(build)
    assert setup.read_text() == "libraries = ['mpdec']\n"
    assert module.read_text() == "isascii((unsigned char)spec.dot[0])\n"


def test_every_series_uses_packaged_expat_and_mpdecimal():
    python = sources_toml.load(FOLDER)
    for version in python.releases:
        requires = {word.partition("-")[0] for word in python.release(version).requires}
        assert {"expat", "mpdecimal"} <= requires, version


@pytest.mark.parametrize(
    ("name", "disabled", "program"),
    [("python", False, "python3.13"), ("python_freethreading", True, "python3.13t")],
)
def test_freethreading_package_is_configured_without_gil(name, disabled, program):
    recipe = import_file.load(FOLDER, "recipe.py")
    openssl = types.SimpleNamespace(root="/openssl")
    build = types.SimpleNamespace(
        name=name,
        prefix=PREFIX,
        series=(3, 13),
        optimized=False,
        dependency={"openssl": openssl}.get,
    )
    assert ("--disable-gil" in list(recipe._arguments(build))) is disabled
    assert recipe._lib(build) == f"lib/{program}"


def test_freethreading_flags_use_its_own_headers(installed_module, build):
    text = (
        "-I/rezbuild/python_freethreading-3.13.5/include/python3.13t -I/rezbuild/zlib-1.3/include"
    )
    cleaned = installed_module.clean(build, text).split()
    assert cleaned == ["-I/rezbuild/python_freethreading-3.13.5/include/python3.13t"]


# The Makefile of 3.9 to 3.13; 3.12 and newer compile everything at once.
INSTALL = """\
libinstall:\tall
\t$(INSTALL_DATA) $(srcdir)/LICENSE $(DESTDIR)$(LIBDEST)/LICENSE.txt
\t-PYTHONPATH=$(DESTDIR)$(LIBDEST) $(RUNSHARED) \\
\t\t$(PYTHON_FOR_BUILD) -Wi -O $(DESTDIR)$(LIBDEST)/compileall.py \\
\t\t-j0 -d $(LIBDEST) -f \\
\t\t-x 'bad_coding|badsyntax' \\
\t\t$(DESTDIR)$(LIBDEST)
\t-PYTHONPATH=$(DESTDIR)$(LIBDEST) $(RUNSHARED) \\
\t\t$(PYTHON_FOR_BUILD) -m lib2to3.pgen2.driver $(DESTDIR)$(LIBDEST)/lib2to3/Grammar.txt

testall: all
\t$(TESTPYTHON) -E $(srcdir)/Lib/compileall.py
"""
INSTALL_COMPILES_NOTHING = """\
libinstall:\tall
\t$(INSTALL_DATA) $(srcdir)/LICENSE $(DESTDIR)$(LIBDEST)/LICENSE.txt
\t-PYTHONPATH=$(DESTDIR)$(LIBDEST) $(RUNSHARED) \\
\t\t$(PYTHON_FOR_BUILD) -m lib2to3.pgen2.driver $(DESTDIR)$(LIBDEST)/lib2to3/Grammar.txt

testall: all
\t$(TESTPYTHON) -E $(srcdir)/Lib/compileall.py
"""


def test_installation_compiles_no_modules(tmp_path):
    recipe = import_file.load(FOLDER, "recipe.py")
    (tmp_path / "Makefile").write_text(INSTALL)
    recipe._compile_nothing(types.SimpleNamespace(source=tmp_path))
    assert (tmp_path / "Makefile").read_text() == INSTALL_COMPILES_NOTHING


@pytest.fixture(scope="module")
def inside():
    return import_file.load(FOLDER, "recipe.py").inside


FROZEN_C_3_11 = """\
/* Includes for frozen modules: */
extern PyObject *_Py_get_site_toplevel(void);
static const struct _frozen bootstrap_modules[] = {
    {"site", NULL, 0, false, GET_CODE(site)},
};
"""
FROZEN_C_3_12 = """\
/* Includes for frozen modules: */
#include "frozen_modules/site.h"
extern PyObject *_Py_get_site_toplevel(void);
static const struct _frozen bootstrap_modules[] = {
    {"site", _Py_M__site, (int)sizeof(_Py_M__site), false, GET_CODE(site)},
};
"""


@pytest.mark.parametrize(
    ("series", "frozen", "defines_version"),
    [((3, 11), FROZEN_C_3_11, False), ((3, 12), FROZEN_C_3_12, True)],
)
def test_frozen_modules_of_libpython_are_marshal_data(
    inside, tmp_path, series, frozen, defines_version
):
    """deepfreeze.c of 3.12 also defines _Py_next_func_version, which codeobject.c reads."""
    (tmp_path / "Python").mkdir()
    (tmp_path / "Python/frozen.c").write_text(frozen)
    (tmp_path / "Makefile").write_text("\t\tPython/frozen_modules/site.h \\\n")
    inside._marshalled(tmp_path, series)
    text = (tmp_path / "Python/frozen_plain.c").read_text()
    assert text.count('#include "frozen_modules/site.h"') == 1
    assert '{"site", _Py_M__site, (int)sizeof(_Py_M__site), false, NULL}' in text
    assert "_Py_get_site_toplevel" not in text
    assert "void _Py_Deepfreeze_Fini(void) {}" in text
    assert ("uint32_t _Py_next_func_version = 1;" in text) is defines_version


CONFIG_C = """\
extern PyObject* PyInit_posix(void);
extern PyObject* PyInit__ssl(void);
struct _inittab _PyImport_Inittab[] = {
    {"posix", PyInit_posix},
    {"_ssl", PyInit__ssl},
    {"gc", PyInit_gc},
    {0, 0}
};
"""


def test_modules_in_files_are_not_built_in(inside, tmp_path):
    """sys.builtin_module_names comes from the first table; finders read it before sys.path."""
    config = tmp_path / "config.c"
    config.write_text(CONFIG_C)
    (tmp_path / "Setup.bootstrap").write_text("# comment\n\nposix posixmodule.c\n")
    (tmp_path / "Setup").write_text("#*shared*\n")
    makefile = "MODBUILT_NAMES=posix  _ssl xxsubtype\nMODSHARED_NAMES=  xxsubtype\n"
    names = inside._extensions(tmp_path, makefile)
    assert names == ["_ssl"]
    inside._list_apart(config, names)
    builtin, _, apart = config.read_text().partition("_PyImport_ModulesInside")
    assert "PyInit_posix}" in builtin
    assert "PyInit__ssl}" not in builtin
    assert '    {"_ssl", PyInit__ssl},\n    {0, 0}\n' in apart
    with pytest.raises(BuildError, match="no row for _ssl"):
        inside._list_apart(config, names * 2)


PARSER = """\
import os, re
_variable_rx = r"([a-zA-Z][a-zA-Z0-9_]+)\\s*=\\s*(.*)"
def parse_makefile(fn):
    found = {}
    with open(fn) as stream:
        lines = stream.readlines()
    for line in lines:
        m = re.match(_variable_rx, line)
        if m:
            found[m[1]] = m[2]
    return found
"""


def test_makefile_parser_reads_the_path_like_make(installed_module, tmp_path):
    path = tmp_path / "parser.py"
    assert not installed_module.parser(path)
    path.write_text(PARSER)
    assert installed_module.parser(path)
    makefile = tmp_path / "pre fix/lib/python3.11/config/Makefile"
    makefile.parent.mkdir(parents=True)
    makefile.write_text(
        f"{installed_module.PREFIX}\nLIBDIR=\t$(prefix)/lib\nall:\n\t@echo $(LIBDIR)\n"
    )
    namespace = {}
    exec(path.read_text(), namespace)
    assert namespace["parse_makefile"](str(makefile))["prefix"] == str(tmp_path / "pre fix")
    shutil.move(tmp_path / "pre fix", tmp_path / "moved")
    made = ["make", "-s", "-f", tmp_path / "moved/lib/python3.11/config/Makefile"]
    out = subprocess.run(made, capture_output=True, text=True, check=True).stdout
    assert out == f"{tmp_path}/moved/lib\n"


def test_paths_of_a_table_are_grouped():
    """A search reads only the paths, which are sorted; the code is in the order of the items."""
    freeze = import_file.load(FOLDER, "freeze.py")
    items = [("b/c.py", b"second", 6, 20, 200), ("a.py", b"first", 5, 10, 100)]
    table = freeze.table(items, b"marked 8", 7)
    rows = 20 + 2 * 24
    paths = b"a.py\0b/c.py\0"
    codes = rows + len(paths)
    assert table == (
        b"marked 8"
        + freeze.numbers(len(table), 7, 2)
        + freeze.numbers(rows, codes + 6, 5, 5, 10, 100)
        + freeze.numbers(rows + 5, codes, 6, 6, 20, 200)
        + paths
        + b"secondfirst"
    )


MAPPED = {
    "Modules/x.c": "#include <low.h>\n#include <stdio.h>\n"
    "int x(int n) { if (n < 0) puts(__FILE__); return low(n) + n; }\n",
    "Objects/y.c": "int x(int); int main(int count, char **words) { return x(count); }\n",
}
HEADER = "static inline int low(int n) { int i = 0; while (n > i) i += n & 7; return i; }\n"


def compile_files(recipe, root: Path, modules: str, lto: list[str]) -> Path:
    """Compile both files like make, setup.py or ccache; return the folder of the objects."""
    work, source = root / "work", root / "work/source/Python-3.11.2"
    for name, text in MAPPED.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    include = work / "needs/low/include"
    include.mkdir(parents=True, exist_ok=True)
    (include / "low.h").write_text(HEADER)
    spelled = {"ccache": "../../needs/low/include"}.get(modules, str(include))
    place = {"setup.py": f"{source}/Modules/x.c", "ccache": "Modules/x.c"}
    flags = [*lto, "-O2", "-g", *recipe._mapped(work, source), f"-I{spelled}"]
    for path, out in ((place.get(modules, "./Modules/x.c"), "x.o"), ("Objects/y.c", "y.o")):
        subprocess.run(["gcc", *flags, "-c", path, "-o", out], cwd=source, check=True)
    return source


def link_program(recipe, source: Path, objects: Path, lto: list[str]) -> bytes:
    flags = [*lto, "-O2", "-g", *recipe._mapped(source.parents[1], source), "-Wl,--build-id=sha1"]
    for name in ("x.o", "y.o"):
        if objects != source:
            shutil.copyfile(objects / name, source / name)
    subprocess.run(["gcc", *flags, "x.o", "y.o", "-o", "program"], cwd=source, check=True)
    return (source / "program").read_bytes()


@pytest.mark.skipif(not shutil.which("gcc"), reason="how it maps is gcc's")
@pytest.mark.parametrize("lto", [[], ["-flto=2"]], ids=["fast", "lto"])
def test_object_is_equal_from_each_folder_and_spelling(tmp_path, lto):
    recipe = import_file.load(FOLDER, "recipe.py")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    places = [tmp_path / "one", tmp_path / "another/and.deeper", tmp_path / "link"]
    ways = ("make", "setup.py", "ccache")
    found = {}
    for place in places:
        for way in ways:
            source = compile_files(recipe, place, way, lto)
            found[place, way] = link_program(recipe, source, source, lto)
    # ccache gives these names in another folder.
    given = places[1] / "given/work/source/Python-3.11.2"
    compile_files(recipe, places[1] / "given", "make", lto)
    first = compile_files(recipe, places[0], "ccache", lto)
    found["given"] = link_program(recipe, given, first, lto)
    assert len(set(found.values())) == 1
    data = found["given"]
    assert b"/usr/src/debug/python" in data
    assert b"/usr/src/debug/needs/low/include" in data
    assert str(tmp_path).encode() not in data
    assert b"\0Modules/x.c\0" in data


def test_makefile_without_the_expected_lines_stops_the_build(inside):
    lines = ["_struct _struct.c", "#_disabled x.c", "*static*", "math mathmodule.c -lm", ""]
    name = "MODBUILT_NAMES"
    inside._check_modules("A=b\nMODBUILT_NAMES=    posix  _struct math\n", name, lines)
    with pytest.raises(BuildError, match=r"MODBUILT_NAMES in .* lacks the modules _struct, math"):
        inside._check_modules("MODBUILT_NAMES=    posix\n", name, lines)


def test_configure_results_do_not_depend_on_the_build_machine():
    """On a machine without shared memory, configure would disable semaphores."""
    recipe = import_file.load(FOLDER, "recipe.py")
    known = {"dependencies": {}, "tools": compilers("gcc")}
    told = recipe._environment(types.SimpleNamespace(**known, series=(3, 11)))
    assert told["ac_cv_posix_semaphores_enabled"] == "yes"
    assert told["ac_cv_broken_sem_getvalue"] == "no"
    # The host may have a bzlib.h. From 3.12 on, configure needs the one of the package bzip2.
    assert told["ac_cv_header_bzlib_h"] == "no"
    newer = recipe._environment(types.SimpleNamespace(**known, series=(3, 12)))
    assert "ac_cv_header_bzlib_h" not in newer


def test_rules_define_no_variable():
    """sysconfig reads the installed Makefile and returns each name that is set there."""
    inside = import_file.load(FOLDER, "inside.py")
    text = inside.RULES + inside.RULES_FILES + inside.RULES_MARSHALLED
    assert re.findall(r"(?m)^\w+\s*:?=", text) == []


def test_compilers_get_the_options_for_the_interpreter_loop(tmp_path):
    """Each of them gave it one common jump, or took it for code that never runs."""
    recipe = import_file.load(FOLDER, "recipe.py")
    rule = '\t$(MAKE) LDFLAGS_NODIST="$(LDFLAGS_NODIST)"\n'
    for compiler in filter(shutil.which, ("gcc", "clang-19")):
        (tmp_path / "Makefile").write_text(rule)
        env: dict[str, str] = {}
        tools = compilers(compiler)
        recipe._tune(types.SimpleNamespace(env=env, source=tmp_path, jobs=2, tools=tools))
        text = (tmp_path / "Makefile").read_text()
        if compiler == "gcc":
            assert text == rule + recipe.GCC_LOOP
        else:
            assert text == rule.replace(')"', ') $(LTO_LINK_FLAG)"')
            assert env["LTO_LINK_FLAG"] == recipe.CLANG_19_LINK


CLANG = next((name for v in range(40, 13, -1) if shutil.which(name := f"clang-{v}")), "")


@pytest.mark.skipif(not CLANG, reason="no clang-<version> here")
def test_tools_of_llvm_have_the_version_of_clang():
    """PATH may lead to an older llvm-profdata, which cannot read the counts of this clang."""
    recipe = import_file.load(FOLDER, "recipe.py")
    found = recipe._llvm_tools(types.SimpleNamespace(tools=compilers(CLANG)))
    profdata = Path(found["LLVM_PROFDATA"])
    if not profdata.is_file():
        pytest.skip(f"the tools of {CLANG} are not installed")
    series = CLANG.partition("-")[2]
    words = [profdata, "--version"]
    said = subprocess.run(words, capture_output=True, text=True, check=True)
    assert f"version {series}." in said.stdout
    assert Path(found["LLVM_AR"]).parent == profdata.parent
