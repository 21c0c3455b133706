"""The ``commands()`` of our Pythons under variables of a DCC, run by Rez in all its ways.

The package has the host's Python, which starts with neither variable of the DCC.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from rez.packages import get_developer_package
from studio import ROOT, Studio

PACKAGES = ("python", "python_freethreading")
# As the launchers of Maya and Houdini, and the process of Nuke, set them for their own Python.
DCC = {
    "maya": {"PYTHONHOME": "/dcc/maya", "PYTHONPATH": "/dcc/maya/scripts"},
    "houdini": {"PYTHONHOME": "/dcc/houdini/python", "PYTHONPATH": "/dcc/houdini/python/lib"},
    "nuke": {"PYTHONHOME": "/dcc/nuke", "PYTHONPATH": "/dcc/nuke/plugins:/dcc/nuke/lib"},
}
SHOW = "import json, os, sys; print(json.dumps([sys.path, os.environ.get('PYTHONPATH')]))"
# A program of the DCC that starts our Python. argv: repository, way, requests, variables.
LAUNCHER = """\
import json, os, subprocess, sys
from rez.resolved_context import ResolvedContext
repository, way, requests, dcc, show = sys.argv[1:]
dcc = json.loads(dcc)
context = ResolvedContext(requests.split(), package_paths=[repository])
command = ["python3", "-c", show]
if way == "given":
    status = context.execute_command(command, parent_environ={**os.environ, **dcc}).wait()
else:
    os.environ.update(dcc)
    if way == "inherited":
        status = context.execute_command(command).wait()
    elif way == "shell":
        status = context.execute_shell(command=command, block=True)[0]
    elif way == "dictionary":
        environ = {**os.environ, **context.get_environ()}
        status = subprocess.run(command, env=environ).returncode
    elif way == "applied":
        context.apply()
        status = subprocess.run(command).returncode
sys.exit(status)
"""


def commands_of(package: str) -> str:
    """Return the source of a package's function ``commands``, as Rez installs it."""
    return get_developer_package(str(ROOT / "packages" / package)).commands.to_text("commands")


def add(repository: Path, name: str, commands: str) -> Path:
    folder = repository / name / "1.0"
    folder.mkdir(parents=True)
    (folder / "package.py").write_text(f'name = "{name}"\nversion = "1.0"\n{commands}\n')
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Studio:
    studio = Studio(tmp_path)
    folder = add(studio.local, "python", commands_of("python"))
    (folder / "bin").mkdir()
    (folder / "bin/python3").symlink_to(Path(sys.executable).resolve())
    add(studio.local, "tool", "def commands():\n    env.PYTHONPATH.append('/of/the/tool')\n")
    return studio


def start(site: Studio, way: str, requests: str, dcc: dict[str, str]) -> tuple[list[str], str]:
    """Start our Python from the process of a DCC; return sys.path and PYTHONPATH."""
    argv = (site.local, way, requests, json.dumps(dcc), SHOW)
    out = site.run(sys.executable, "-W", "ignore", "-c", LAUNCHER, *argv).stdout
    path, variable = json.loads(out.splitlines()[-1])
    return path, variable


def test_both_pythons_have_the_same_commands():
    assert commands_of(PACKAGES[0]) == commands_of(PACKAGES[1])


@pytest.mark.parametrize("way", ["given", "inherited", "shell", "applied"])
@pytest.mark.parametrize("dcc", DCC)
def test_variables_of_a_dcc_do_not_reach_our_python(site, dcc, way):
    path, variable = start(site, way, "python", DCC[dcc])
    assert not [folder for folder in path if folder.startswith("/dcc")]
    assert not variable


def test_python_starts_from_a_dictionary_that_was_merged(site):
    """Rez returns only variables that packages have set, so the DCC's PYTHONPATH stays."""
    _, variable = start(site, "dictionary", "python", DCC["maya"])
    assert variable == DCC["maya"]["PYTHONPATH"]


@pytest.mark.parametrize("way", ["given", "inherited", "shell", "applied", "dictionary"])
@pytest.mark.parametrize("requests", ["python tool", "tool python"])
def test_pythonpath_of_another_package_stays(site, way, requests):
    path, variable = start(site, way, requests, DCC["maya"])
    assert variable == "/of/the/tool"
    assert not [folder for folder in path if folder.startswith("/dcc")]


@pytest.mark.parametrize("way", ["given", "shell", "dictionary"])
def test_pythonpath_without_pythonhome_stays(site, way):
    """Without ``parent_environ``, ``execute_command`` passes on only what packages have set."""
    dcc = {"PYTHONPATH": "/dcc/scripts"}
    assert start(site, way, "python", dcc)[1] == "/dcc/scripts"


def test_environment_in_an_environment_keeps_the_users_pythonpath(site):
    """The first one leaves an empty PYTHONHOME, which is no DCC's."""
    dcc = {"PYTHONHOME": "", "PYTHONPATH": "/my/modules"}
    assert start(site, "given", "python", dcc)[1] == "/my/modules"


def test_pythonhome_that_is_set_after_the_resolve_reaches_python(site):
    command = ("env", "PYTHONHOME=/dcc", "python3", "-c", SHOW)
    done = site.in_env(site.local, "python", *command, ok=False)
    assert done.returncode != 0
    assert "PYTHONHOME = '/dcc'" in done.stderr
