"""The command line: help, exit codes, messages."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import json_page
import pytest

from rezbuild import errors

pytestmark = pytest.mark.e2e
COMMANDS = ("build", "fetch", "versions", "add-version", "audit", "bench", "store", "doctor")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(studio, command):
    out = studio.rezbuild(command, "--help").stdout
    assert f"usage: rezbuild {command}" in out
    assert command in studio.rezbuild("--help").stdout


def test_help_lists_the_exit_codes(studio):
    out = studio.rezbuild("--help").stdout
    for kind in errors.RezbuildError.__subclasses__():
        assert re.search(rf"(^|\s){kind.exit_code}  ?[a-zA-Z]", out, re.MULTILINE), kind


@pytest.mark.parametrize("argv", [(), ("build",), ("nonsense",), ("build", "x", "--jobs", "0")])
def test_wrong_usage_exits_with_2(studio, argv):
    assert studio.rezbuild(*argv, ok=False).returncode == 2


@pytest.mark.parametrize(
    ("argv", "env", "code", "words"),
    [
        (("build", "nothing"), {}, 3, "choose a recipe: bzip2, expat, gdbm, libffi"),
        (("build", "python-2"), {}, 3, "choose a version: 3.9.2"),
        (("build", "python", "--recipes", "/nowhere"), {}, 3, "contains no recipes"),
        (("fetch",), {}, 2, "fetch requires requests, --all or --locked"),
        (("audit", ""), {}, 2, "must not be empty"),
        (("audit", "zlib-2,3"), {}, 2, "neither a folder nor a Rez request"),
        (("build", ""), {}, 2, "empty request"),
        (("build", "zlib", "--run", "'"), {}, 2, "cannot be read as a command"),
        (("build", "zlib"), {"REZBUILD_CC": "/bin/true"}, 10, "it is not a compiler"),
        (("build", "zlib"), {"REZ_PACKAGES_PATH": "/nowhere"}, 10, "REZ_PACKAGES_PATH"),
        (("versions", "nothing"), {}, 3, "no recipe for nothing"),
        (("audit", "/nowhere/at/all"), {}, 2, "is not a folder"),
        (("audit", "no-such-package"), {}, 11, "rez-search"),
        (("bench", "no-such-package"), {}, 11, "rez-search"),
        (("bench", "python-3,1"), {}, 2, "neither a folder nor a Rez request"),
        (("bench", "/nowhere/at/all"), {}, 2, "/nowhere/at/all does not exist"),
        (("build", "zlib"), {"REZBUILD_JOBS": "many"}, 2, "REZBUILD_JOBS"),
        (("build", "zlib"), {"REZBUILD_PROFILE": "best"}, 2, "fast or optimized"),
        (("build", "zlib"), {"REZBUILD_CC": "/no/cc"}, 10, "no compiler '/no/cc'"),
    ],
)
def test_errors_of_commands_give_advice(studio, argv, env, code, words):
    done = studio.rezbuild(*argv, ok=False, **env)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_unavailable_archive_exits_with_4(studio, tmp_path):
    done = studio.rezbuild(
        "build", "zlib", ok=False, REZBUILD_OFFLINE="1", REZBUILD_CACHE=str(tmp_path / "empty")
    )
    assert done.returncode == 4
    out = done.stdout + done.stderr
    assert "zlib-1.3.1.tar.gz" in out
    assert "REZBUILD_OFFLINE is set" in out
    assert "REZBUILD_MIRRORS" in out


def test_audit_of_a_foreign_folder(studio, tmp_path):
    tree = tmp_path / "tree"  # tmp_path itself is closed to others
    tree.mkdir()
    (tree / "link").symlink_to("/usr/bin/env")
    done = studio.rezbuild("audit", tree, ok=False)
    assert done.returncode == 9
    assert "error: link-absolute: link: it leads to /usr/bin/env" in done.stdout
    assert "1 error, 0 notes" in done.stdout
    done = studio.rezbuild("audit", "--json", tree, ok=False)
    (finding,) = json_page.read(done.stdout)["findings"]
    assert finding["rule"] == "link-absolute"
    (tree / "link").unlink()
    assert studio.rezbuild("audit", tree).returncode == 0


def test_versions_prints_json(studio):
    rows = json_page.read(studio.rezbuild("versions", "zlib", "--json").stdout)["versions"]
    assert [row["version"] for row in rows] == ["1.3.2", "1.3.1", "1.2.13"]
    assert [row["version"] for row in rows if row["default"]] == ["1.3.2"]
    assert all({"upstream", "debian"} <= set(row["had_from"]) for row in rows)


def test_doctor_accepts_this_machine(studio):
    out = studio.rezbuild("doctor").stdout
    assert "\nmissing" not in out
    assert re.search(r"ok +patchelf: 0\.\d+", out)


def test_doctor_lists_missing_programs(studio, tmp_path):
    (tmp_path / "file").write_text("")
    done = studio.rezbuild(
        "doctor",
        ok=False,
        REZBUILD_CC="/no/such/cc",
        REZ_LOCAL_PACKAGES_PATH=str(tmp_path / "file/repository"),
        REZBUILD_STORE="http://me:geheim@127.0.0.1:1/store",
        REZBUILD_RETRIES="0",
    )
    assert done.returncode == 10
    assert "optional  store: missing (needed for payloads of earlier builds)" in done.stdout
    assert "the store http://127.0.0.1:1/store cannot be read" in done.stdout
    assert "geheim" not in done.stdout
    assert re.search(r"(?m)^missing +cc", done.stdout)
    assert re.search(r"(?m)^missing +local repository", done.stdout)
    assert re.search(r"(apt-get|dnf|zypper) install gcc", done.stdout)


def test_doctor_knows_each_package_manager(studio):
    for options, last in (((), "libxft-dev"), (("--tests",), "libdbus-1-3")):
        lines = studio.rezbuild("doctor", *options, ok=False).stdout.splitlines()[-4:]
        apt, dnf, zypper, pacman = (line.split() for line in lines)
        assert apt[:2] == ["apt-get", "install"]
        assert apt[-1] == last
        assert "'perl(Time::Piece)'" in dnf
        assert zypper[:2] == ["zypper", "install"]
        assert pacman[:2] == ["pacman", "-S"]


def test_commands_work_from_any_folder(studio):
    """An editable installation finds the recipes of its clone from any folder."""
    command = Path(sys.executable).with_name("rezbuild")
    out = studio.run(command, "versions", "zlib", cwd=Path("/")).stdout
    assert "1.3.1" in out
