"""The audit in a build, of installed packages, and of other folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import json_page
import pytest
from moves import copy_packages
from sample_packages import Samples
from studio import Studio

pytestmark = pytest.mark.e2e

# Rez's API gives the attribute for the package, its variant, and in a resolve.
ASK = """\
import json, sys
from rez.packages import get_package_from_repository
from rez.resolved_context import ResolvedContext
package = get_package_from_repository("top", "2.0.0", sys.argv[1])
(variant,) = package.iter_variants()
resolved = ResolvedContext(["top"], package_paths=[sys.argv[1]]).get_resolved_package("top")
print(json.dumps([package.glibc, variant.glibc, resolved.glibc]))
"""
# The last line of the recipe of a sample package.
END = '    b.install(f"PREFIX={b.prefix}", "install")\n'


def root(repository: Path, name: str = "top", version: str = "2.0.0") -> Path:
    (found,) = (repository / name / version).glob("platform-*/arch-*")
    return found


def record(payload: Path) -> dict:
    return json.loads((payload / "rezbuild.json").read_text())


def ask(studio: Studio, repository: Path) -> list:
    return json.loads(studio.run(sys.executable, "-c", ASK, repository).stdout)


def step(samples: Samples, text: str) -> None:
    """Add a step at the end of the recipe of ``top``."""
    samples.edit("top/recipe.py", END, f"{END}    {text}\n")


def rules(studio: Studio, what: Path | str, **env: str) -> dict[str, set[str]]:
    """Return the paths that break each rule."""
    done = studio.rezbuild("audit", "--json", what, ok=False, **env)
    found: dict[str, set[str]] = {}
    for finding in json_page.read(done.stdout)["findings"]:
        found.setdefault(finding["rule"], set()).add(finding["path"])
    return found


def test_rez_package_has_the_needed_glibc(studio, samples, tmp_path):
    studio.rezbuild("build", "top")
    payload = root(studio.local)
    needed = record(payload)["glibc"]
    assert needed.startswith("2.")
    assert record(payload)["glibc_because"]["bin/top"]
    assert ask(studio, studio.local) == [needed] * 3
    # A library without calls needs no version of glibc.
    assert record(root(studio.local, "low", "1.0.0"))["glibc"] is None

    # A copy reads its own record in any folder, without recipe and rezbuild.
    copy = tmp_path / "a copy"
    copy_packages(studio, copy, "top-2.0.0")
    shutil.rmtree(studio.local / "top")
    changed = {**record(root(copy)), "glibc": "2.17"}
    (root(copy) / "rezbuild.json").write_text(json.dumps(changed))
    assert ask(studio, copy) == ["2.17"] * 3
    for broken in ("[]", "nonsense", "{}"):
        (root(copy) / "rezbuild.json").write_text(broken)
        assert ask(studio, copy) == [None] * 3
    shutil.rmtree(root(copy))
    assert ask(studio, copy) == [None] * 3


def test_glibc_limit_stops_a_build(studio, samples):
    done = studio.rezbuild("build", "top", "--glibc-max", "2.1", ok=False)
    assert done.returncode == 9
    assert "glibc-ceiling: bin/top: more than 2.1: " in done.stderr
    assert "__libc_start_main" in done.stderr
    assert not (studio.local / "top").exists()

    # The limit is no input of a build, but also applies to installed packages.
    studio.rezbuild("build", "top")
    done = studio.rezbuild("build", "top", ok=False, REZBUILD_GLIBC_MAX="2.1")
    assert done.returncode == 9
    assert f"top-2.0.0, installed in {root(studio.local)}, needs glibc " in done.stderr
    assert "bin/top: " in done.stderr
    assert root(studio.local).is_dir()
    out = studio.rezbuild("build", "top", "--glibc-max", "2.99").stdout
    assert "(nothing to do, 2 packages installed)" in out


def test_glibc_limit_stops_rez_build(studio, samples):
    """The limit also applies to a finished build that is only installed."""
    studio.rezbuild("build", "low")
    studio.rez("build", cwd=samples.recipes / "top")
    done = studio.rez(
        "build", "-i", cwd=samples.recipes / "top", ok=False, REZBUILD_GLIBC_MAX="2.1"
    )
    assert "already built" in done.stdout
    assert "top 2.0.0 needs glibc " in done.stderr
    assert not (studio.local / "top").exists() or not list(studio.local.glob("top/*/*/*/bin"))


@pytest.mark.parametrize("value", ["2", "two", "3.1", "2.28.1"])
def test_invalid_glibc_limit_is_refused(studio, value, tmp_path):
    for done in (
        studio.rezbuild("audit", tmp_path, "--glibc-max", value, ok=False),
        studio.rezbuild("audit", tmp_path, ok=False, REZBUILD_GLIBC_MAX=value),
    ):
        assert done.returncode == 2
        assert "invalid glibc version" in done.stderr


def test_audit_prints_the_glibc_and_applies_the_limit(studio, samples):
    studio.rezbuild("build", "top")
    needed = record(root(studio.local))["glibc"]
    done = studio.rezbuild("audit", "top")
    assert f"needs glibc {needed}, because of bin/top" in done.stdout
    assert rules(studio, "top") == {}
    assert rules(studio, "top", REZBUILD_GLIBC_MAX="2.1") == {"glibc-ceiling": {"bin/top"}}
    assert studio.rezbuild("audit", "top", "--glibc-max", "2.1", ok=False).returncode == 9


LEAKS = (
    "b.source",
    "b.payload",
    "b.env['HOME']",
    "b.dependency('low').root",
    "b.dependency('low').root.resolve()",
)


def test_build_path_in_a_payload_fails_the_audit(studio, samples):
    """The path is in compiled files, which relocation does not change."""
    place = f"'{studio.local}/top/2.0.0/platform-linux/arch-x86_64'"
    for number, leak in enumerate((*LEAKS, place)):
        data = f"b'\\0' + str({leak}).encode() + b'/x'"
        step(samples, f"(b.payload / 'data{number}').write_bytes({data})")
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 9
    for number in range(len(LEAKS) + 1):
        assert f"build-path: data{number}: it names /" in done.stderr


def test_record_with_a_path_fails_the_audit(studio, samples, tmp_path):
    """The record contains the output of the compiler."""
    compiler = tmp_path / "cc"
    says = f'[ "$1" = --version ] && exec echo cc for {samples.recipes / "low"}'
    compiler.write_text(f'#!/bin/sh\n{says}\nexec /usr/bin/cc "$@"\n')
    compiler.chmod(0o755)
    done = studio.rezbuild("build", "low", ok=False, REZBUILD_CC=str(compiler))
    assert done.returncode == 9
    assert f"rezbuild.json of the payload contains {samples.recipes / 'low'}" in done.stderr


def test_payload_is_readable_for_all_users(studio, samples):
    """The umask of the builder does not matter."""
    argv = ["sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-m", "rezbuild"]
    studio.run(*argv, "build", "top")
    assert rules(studio, root(studio.local)) == {}
    path = root(studio.local)
    while path != studio.local.parent:
        assert path.stat().st_mode & 0o777 == 0o755, path
        path = path.parent
    (root(studio.local) / "bin/top").chmod(0o700)
    (root(studio.local) / "bin").chmod(0o777)
    assert rules(studio, root(studio.local)) == {"mode": {"bin/top", "bin"}}


def test_audit_reports_added_and_missing_files(studio, samples):
    studio.rezbuild("build", "top")
    payload = root(studio.local)
    listed = record(payload)["elf"]
    assert "bin/top" in listed
    (library,) = (path for path in listed if path.startswith("deps/"))
    assert rules(studio, "top") == {}

    (payload / "__pycache__").mkdir()
    # python -O writes the name of the source.
    (payload / "__pycache__/x.cpython-311.pyc").write_bytes(b"\0" + bytes(payload / "x.py"))
    assert rules(studio, "top") == {}
    (payload / "module.py").write_text("x = 1\n")
    assert rules(studio, "top") == {"file-added": {"module.py"}}
    assert studio.rezbuild("audit", "top").returncode == 0

    shutil.copy(payload / library, payload / "module.so")
    (payload / "bin/top").write_text("#!/bin/sh\n")
    found = rules(studio, "top")
    assert found["elf-set"] == {"module.so", "bin/top"}
    assert found["file-missing"] == {"bin/top"}
    (payload / library).unlink()
    assert library in rules(studio, "top")["file-missing"]
    assert studio.rezbuild("audit", "top", ok=False).returncode == 9
    (payload / "rezbuild-files.json").unlink()
    assert rules(studio, "top")["file-missing"] == {"rezbuild-files.json", library}


def test_copy_that_follows_links_passes_the_audit(studio, samples, tmp_path):
    """Rez's package cache makes such copies."""
    studio.rezbuild("build", "low")
    copy = tmp_path / "copy"
    shutil.copytree(root(studio.local, "low", "1.0.0"), copy)
    assert not (copy / "lib/liblow.so").is_symlink()
    assert rules(studio, copy) == {}


def test_audit_of_a_virtual_environment(studio, tmp_path):
    """The environment contains its own path, and a link to another Python."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    found = rules(studio, folder)
    assert {"bin/activate", "bin/activate.fish", "bin/pip"} <= found["build-path"]
    assert "bin/pip" in found["shebang"]
    assert "bin/python3" in found["link-absolute"] | found["link-outside"]
    out = studio.rezbuild("audit", folder, ok=False).stdout
    count = len(found["build-path"])
    assert f"error: build-path: {count} files: it names {folder}: " in out
    assert f"{folder}: named in {count} files" in out
    assert len(out.splitlines()) < 60


def test_file_name_that_is_not_text_is_reported(studio, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    name = os.fsdecode(b"caf\xe9")
    (tree / name).symlink_to("/nowhere")
    for env in ({}, {"PYTHONIOENCODING": "ascii"}):
        done = studio.rezbuild("audit", tree, ok=False, **env)
        assert done.returncode == 9
        assert "link-absolute: caf\\xe9: it leads to /nowhere" in done.stdout
    done = studio.rezbuild("audit", "--json", tree, ok=False)
    (finding, _) = json_page.read(done.stdout)["findings"]
    assert finding["path"] == name
