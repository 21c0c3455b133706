"""Changes of a payload's bytes after the build; the size stays the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rezbuild import audit
from rezbuild.errors import StoreError
from rezbuild.payload import manifest, self_test
from rezbuild.store import add_installed

NAMES = ["text", "sp ace", "new\nline", "back\\slash", "\udce4", "\\n"]


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    folder = tmp_path / "payload"
    (folder / "bin").mkdir(parents=True)
    argv = ["cc", "-Wl,-z,relro,-z,now", "-x", "c", "-", "-o", folder / "bin/program"]
    subprocess.run(argv, input="int main(void) { return 0; }", text=True, check=True)
    for name in NAMES:
        (folder / os.fsencode(name).decode("utf-8", "surrogateescape")).write_text("content")
    (folder / "link").symlink_to("text")
    self_test.write(folder, folder, "1.0")
    manifest.write(folder, {"name": "thing", "version": "1.0", "elf": ["bin/program"]})
    manifest.write_contents(folder)
    return folder


def audit_errors(payload: Path) -> list[tuple[str, str]]:
    rules = ("file-changed", "file-missing")
    return [(f.rule.id, f.path) for f in audit.audit(payload).errors if f.rule.id in rules]


def patch(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def run(payload: Path) -> subprocess.CompletedProcess[str]:
    argv = ["sh", payload / self_test.FOLDER / self_test.RUN, "long"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace")


def test_unchanged_payload_matches_its_checksums(payload):
    assert audit_errors(payload) == []
    argv = ["sha256sum", "--strict", "--quiet", "-c", manifest.SUMS]
    subprocess.run(argv, cwd=payload, check=True)
    assert f"{len(NAMES) + 5} files have the checksums of the build" in run(payload).stdout


@pytest.mark.parametrize("name", [*NAMES, "bin/program", "rezbuild-test/run.sh"])
def test_change_of_equal_size_is_an_error_of_the_audit(payload, name):
    patch(payload / name)
    assert audit_errors(payload) == [("file-changed", name)]


def test_change_of_equal_size_is_not_uploaded(payload):
    patch(payload / "text")
    with pytest.raises(StoreError, match="has changed since its build: text: its sha256 is"):
        add_installed._check_unchanged(payload)


def test_change_of_equal_size_fails_the_test_on_a_host(payload):
    patch(payload / "bin/program")
    done = run(payload)
    assert done.returncode == 1
    assert "FAILED  files differ from the build: bin/program: FAILED" in done.stdout


def test_changed_record_is_found(payload):
    text = (payload / manifest.MANIFEST).read_text()
    (payload / manifest.MANIFEST).write_text(text.replace('"1.0"', '"1.1"'))
    assert audit_errors(payload) == [("file-changed", manifest.MANIFEST)]


def test_removed_checksum_is_found(payload):
    lines = (payload / manifest.SUMS).read_bytes().splitlines(keepends=True)
    (payload / manifest.SUMS).write_bytes(b"".join(x for x in lines if b"bin/program" not in x))
    assert audit_errors(payload) == [("file-changed", "bin/program")]
    (payload / manifest.SUMS).unlink()
    assert audit_errors(payload) == [("file-missing", manifest.SUMS)]
    with pytest.raises(StoreError):
        add_installed._check_unchanged(payload)


def test_copy_that_follows_links_is_unchanged(payload, tmp_path):
    shutil.copytree(payload, tmp_path / "copy")
    assert audit_errors(tmp_path / "copy") == []
