"""The moved Python has the whole standard library.

CPython's build leaves out modules and functions silently if it does not find a library. The tests
compare the payload with the distribution's Python of the same version.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from moves import PYTHON, PYTHON_SERIES
from studio import ROOT

pytestmark = pytest.mark.e2e
LIBRARY = ROOT / "packages/python/host/stdlib.py"

# Both interpreters run this with the path of stdlib.py; it prints sets of names by kind.
PROBE = """\
import hashlib, json, runpy, sqlite3, sys, sysconfig
library = runpy.run_path(sys.argv[1])
broken = library["broken"]()
names = [name for name in library["modules"]() if name not in broken]
found = {"modules": names, "hash algorithms": hashlib.algorithms_available}
for name in names:
    module = sys.modules[name]
    if not getattr(module, "__file__", None) or module.__file__.endswith(".so"):
        found[name] = [attribute for attribute in dir(module) if attribute[:2] != "__"]
base = sqlite3.connect(":memory:")
for pragma in ("compile_options", "function_list", "module_list"):
    found["sqlite " + pragma] = [row[0].split("=")[0] for row in base.execute("pragma " + pragma)]
for name in ("flags", "float_info", "hash_info", "int_info", "thread_info"):
    found["sys." + name] = [str(getattr(sys, name))]
config = sysconfig.get_config_vars().items()
switches = ("HAVE_", "WITH_", "USE_", "SIZEOF_", "Py_")
found["pyconfig.h"] = [f"{n}={v}" for n, v in config if n.startswith(switches) and v != 0]
print(json.dumps({name: sorted(set(values)) for name, values in found.items()}))
"""

TESTS = "only the tests of CPython use it; rezbuild check compiles it for them"
DEBIAN = "a patch of Debian's"
BERKELEY = "Berkeley DB is AGPL; dbm.ndbm is built on gdbm"
# Modules of the reference that a payload lacks on purpose.
LESS = {
    "modules": {
        "_ctypes_test": TESTS,
        "_distutils_system_mod": DEBIAN,
        "_testbuffer": TESTS,
        "_testcapi": TESTS,
        "_testclinic": TESTS,
        "_testimportmultiple": TESTS,
        "_testinternalcapi": TESTS,
        "_testmultiphase": TESTS,
        "_xxtestfuzz": TESTS,
        "nis": "see NOT_BUILT in the recipe",
        "sitecustomize": DEBIAN,
        "xxlimited": TESTS,
        "xxlimited_35": TESTS,
    },
    "pyconfig.h": {
        "HAVE_BZLIB_H=1": "configure looks for it where pkg-config knows no bzip2",
        "HAVE_DB_H=1": BERKELEY,
        "HAVE_LIBDB=1": BERKELEY,
        "HAVE_RPC_RPC_H=1": "for nis, which is left out",
        "USE_COMPUTED_GOTOS=1": "an option of configure; without it HAVE_COMPUTED_GOTOS=1 decides",
        "WITH_DTRACE=1": "probes need SystemTap's headers",
    },
    "sqlite module_list": {
        "json_each": "a newer SQLite registers it when it is used",
        "json_tree": "a newer SQLite registers it when it is used",
    },
    "sqlite compile_options": {
        "COMPILER": "names the compiler",
        "ENABLE_LOAD_EXTENSION": "allows it before Python's enable_load_extension(True) does",
        "MAX_SCHEMA_RETRY": "Debian's own number",
        "ENABLE_FTS3_TOKENIZER": "lets SQL run code at any address; SQLite's documentation warns",
        "LIKE_DOESNT_MATCH_BLOBS": "faster, and differs from what SQLite documents",
        "SECURE_DELETE": "slower: deleted content is overwritten with zeros; a pragma sets it",
        "ENABLE_UPDATE_DELETE_LIMIT": "needs a parser that the amalgamation does not have",
        "OMIT_LOOKASIDE": "Debian goes without a cache of small allocations",
        "USE_URI": "URIs are a matter of sqlite3.connect(uri=True)",
    },
}


def ask(python: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", "-B", *argv], env={}, cwd="/", capture_output=True, text=True, check=False
    )


@pytest.fixture
def python(payload):
    return payload / "bin/python3"


def test_each_standard_module_imports(python):
    done = ask(python, LIBRARY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_missing_or_broken_module_is_named(python, tmp_path):
    """This proves that the previous test reads modules."""
    root = tmp_path / "broken"
    shutil.copytree(python.parents[1], root, symlinks=True)
    (modules,) = root.glob("lib/python3*/lib-dynload")
    next(modules.glob("_gdbm.*")).unlink()
    shutil.rmtree(modules.parent / "wsgiref")
    next(modules.glob("_dbm.*")).write_text("damaged")
    done = ask(root / "bin/python3", LIBRARY)
    assert done.returncode == 1
    # Python 3.9 has no list of its modules (sys.stdlib_module_names).
    lost = {"missing: _gdbm"} | ({"missing: wsgiref"} if PYTHON_SERIES >= (3, 10) else set())
    assert lost < set(done.stdout.splitlines())
    assert "broken: dbm.gnu: ModuleNotFoundError: No module named '_gdbm'" in done.stdout
    assert "broken: _dbm: ImportError: " in done.stdout


def reference() -> Path | None:
    """Return the distribution's Python if it has the same version."""
    name = "/usr/bin/python" + ".".join(PYTHON.split(".")[:2])
    if not Path(name).is_file():
        return None
    said = ask(Path(name), "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])").stdout
    return Path(name) if said.strip() == PYTHON else None


def test_payload_has_all_modules_of_the_distribution(python):
    """Exceptions are in the list above, with reasons."""
    other = reference()
    if other is None:
        pytest.skip(f"the distribution has no Python {PYTHON} in /usr/bin to compare with")
    ours, theirs = (json.loads(ask(p, "-c", PROBE, LIBRARY).stdout) for p in (python, other))
    less = {
        what: sorted(set(names) - set(ours[what]) - set(LESS.get(what, ())))
        for what, names in theirs.items()
        if what in ours  # a module that the payload lacks is listed under "modules"
    }
    assert {what: names for what, names in less.items() if names} == {}
