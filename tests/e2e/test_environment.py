"""Other programs work in an environment with our Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from host_tools import require_tool
from moves import DEFAULTS, PYTHON, find_on_host, variant

pytestmark = pytest.mark.e2e

SERIES = ".".join(PYTHON.split(".")[:2])
# Variables of Rez and of the shell.
IGNORED = ("REZ_", "SHLVL", "_", "PWD", "OLDPWD", "PS1")


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Return the added, removed and changed variables."""
    found = {}
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name) and not name.startswith(IGNORED):
            kind = "added" if name not in before else "changed"
            found[name] = "removed" if name not in after else kind
    return found


def variables_in_rez_env(built, moved: Path, **env: str) -> dict[str, str]:
    out = built.in_env(moved, "python", "env", "-0", **env).stdout
    return dict(item.split("=", 1) for item in out.split("\0") if "=" in item)


def test_environment_gets_path_and_loses_python_variables_of_a_dcc(built, moved):
    """A DCC sets PYTHONHOME and PYTHONPATH for its own Python."""
    assert difference(built.env, variables_in_rez_env(built, moved)) == {"PATH": "changed"}
    dcc = {
        "PYTHONHOME": "/dcc/python",
        "PYTHONPATH": "/dcc/scripts",
        "LD_LIBRARY_PATH": "/dcc/lib",
        "SSL_CERT_FILE": "/dcc/cert.pem",
        "QT_PLUGIN_PATH": "/dcc/plugins",
    }
    after = difference({**built.env, **dcc}, variables_in_rez_env(built, moved, **dcc))
    assert after == {"PATH": "changed", "PYTHONHOME": "changed", "PYTHONPATH": "removed"}
    path = variables_in_rez_env(built, moved)["PATH"].split(os.pathsep)
    assert path[0] == str(variant(moved) / "bin")
    assert not [folder for folder in path[1:] if str(moved) in folder]


SYSTEM = {
    "git": ("git", "--version"),
    "ssh": ("ssh", "-V"),
    "curl": ("curl", "--version"),
    "python": ("/usr/bin/python3", "-c", "import ssl, sys; print(sys.prefix, ssl.OPENSSL_VERSION)"),
}


@pytest.mark.parametrize("tool", SYSTEM)
def test_system_tools_run_beside_the_package(built, moved, tool):
    argv = SYSTEM[tool]
    if tool != "python":
        require_tool(tool)
    outside = built.run(*argv)
    there = built.in_env(moved, "python", *argv)
    assert there.stdout == outside.stdout
    if tool != "curl":  # it prints more if a variable of Rez is set
        assert there.stderr.splitlines()[-1:] == outside.stderr.splitlines()[-1:]


# A DCC: a program with its own Python and OpenSSL, which LD_LIBRARY_PATH finds.
DCC = """\
#include <Python.h>
#ifdef OWN_OPENSSL
#include <openssl/ssl.h>
#endif
int main(void)
{
#ifdef OWN_OPENSSL
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (context == NULL)
        return 1;
#endif
    Py_Initialize();
    int failed = PyRun_SimpleString(
        "import os, ssl, sys, subprocess\\n"
        "maps = open('/proc/self/maps').read()\\n"
        "names = ('libpython', 'libssl', 'libcrypto')\\n"
        "print(sorted({l.split()[-1] for l in maps.splitlines() if any(n in l for n in names)}))\\n"
        "ssl.create_default_context()\\n"
        "print(sys.prefix)\\n"
    );
    return Py_FinalizeEx() || failed;
}
"""


@pytest.fixture(scope="module")
def dcc(copied: Path, copied_openssl: Path, scratch: Path) -> Path:
    """Return a DCC: another Python of the same version, an OpenSSL, and a program over both."""
    folder = scratch / "dcc"
    shutil.copytree(variant(copied), folder / "python", symlinks=True)
    openssl = variant(copied_openssl, "openssl", DEFAULTS["openssl"])
    shutil.copytree(openssl / "lib", folder / "lib", symlinks=True)
    source = scratch / "dcc.c"
    source.write_text(DCC)
    include = folder / f"python/include/python{SERIES}"
    words = ["cc", source, f"-I{include}", f"-L{folder}/python/lib", f"-lpython{SERIES}"]
    words += ["-DOWN_OPENSSL", f"-I{openssl}/include", f"-L{folder}/lib", "-lssl", "-lcrypto"]
    subprocess.run([*words, "-o", folder / "dcc"], check=True)
    return folder


def test_dcc_keeps_its_own_libraries(built, moved, dcc):
    """The DCC starts inside rez-env, as by a studio's launcher."""
    leak = {"LD_LIBRARY_PATH": f"{dcc}/lib:{dcc}/python/lib", "PYTHONHOME": f"{dcc}/python"}
    argv = ["env", *(f"{name}={value}" for name, value in leak.items()), dcc / "dcc"]
    out = built.in_env(moved, "python", *argv).stdout
    assert str(moved) not in out
    assert out.splitlines()[-1] == str(dcc / "python")
    for name in ("python/lib/libpython", "lib/libssl", "lib/libcrypto"):
        assert f"{dcc}/{name}" in out


def test_package_started_from_a_dcc_keeps_its_libraries(built, moved, dcc):
    leak = {"LD_LIBRARY_PATH": f"{dcc}/lib:{dcc}/python/lib", "PYTHONHOME": f"{dcc}/python"}
    code = "import ssl, sys; print(open('/proc/self/maps').read()); print(sys.prefix)"
    out = built.in_env(moved, "python", "python3", "-c", code, **leak).stdout
    assert str(dcc) not in out
    assert out.splitlines()[-1] == str(variant(moved))


def test_host_python_library_is_not_loaded(built, moved, tmp_path):
    """The program embeds the distribution's Python of the same series.

    Without a program name or a home, CPython searches its library beside the first python3 on PATH.
    """
    soname = f"libpython{SERIES}.so.1.0"
    library = find_on_host(soname)
    if library is None:
        pytest.skip(f"the host has no {soname}: apt-get install libpython{SERIES}")
    source = tmp_path / "embeds.c"
    source.write_text(DCC)
    include = variant(moved) / f"include/python{SERIES}"
    subprocess.run(["cc", source, f"-I{include}", library, "-o", tmp_path / "embeds"], check=True)
    argv = ("env", "PYTHONHOME=/usr", tmp_path / "embeds")
    out = built.in_env(moved, "python", *argv).stdout
    assert str(moved) not in out
    assert str(library.resolve()) in out
