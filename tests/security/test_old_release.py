"""A mirror that serves an old release and its true signature under a new name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from upstream import archive, signer, upstream

from rezbuild.catalogue import sources_toml
from rezbuild.errors import ChecksumError, SignatureError
from rezbuild.payload import self_test
from rezbuild.plan import resolve

__all__ = ["signer", "upstream"]
PACKAGES = Path(__file__).parents[2] / "packages"


def test_archive_of_another_version_is_refused_by_its_checksum(upstream):
    old = archive("thing")
    upstream.serve("1.2.1", old, signed=old)
    upstream.add("1.2.1")
    shutil.rmtree(upstream.cache)
    upstream.serve("1.2.2", old, signed=old)
    said = upstream.error_of_add(ChecksumError, "1.2.2")
    assert "it has the sha256 of thing 1.2.1" in said


@pytest.mark.parametrize(
    "top", ["thing-1.2.0", "thing1.2.0", "thing-R_1_2_0", "thing-1.2", "thing-1.2.1a", "x-11.2.1"]
)
def test_archive_of_another_version_is_refused_by_its_top_folder(upstream, top):
    """Another archive of the old release, which upstream has also signed."""
    old = archive(top)
    upstream.serve("1.2.1", old, signed=old)
    assert f"its top folder is '{top}'" in upstream.error_of_add(ChecksumError, "1.2.1")


@pytest.mark.parametrize("top", ["thing-1.2.1", "thing1.2.1", "thing-R_1_2_1", "lib32-thing-1.2.1"])
def test_archive_of_the_version_is_accepted(upstream, top):
    new = archive(top)
    upstream.serve("1.2.1", new, signed=new)
    assert upstream.add("1.2.1")
    assert not [line for line in upstream.lines if "has no version" in line]


@pytest.mark.parametrize(("inside", "good"), [("1.2.0", False), ("1.2.1", True), ("11.2.1", False)])
def test_version_in_a_file_of_the_source_is_compared(upstream, inside, good):
    """For archives whose top folder has no version, like SQLite's."""
    upstream.write(
        f'signed = {{ suffix = ".asc", by = ["{upstream.key}"] }}\n'
        'version_in = { file = "thing.h", text = \'"{version}"\' }\n'
    )
    new = archive("thing", {"thing.h": f'#define VERSION "{inside}"\n'})
    upstream.serve("1.2.1", new, signed=new)
    if good:
        assert upstream.add("1.2.1")
    else:
        said = upstream.error_of_add(ChecksumError, "1.2.1")
        assert "its thing.h does not hold '\"1.2.1\"'" in said


def test_signature_older_than_the_predecessor_is_refused(upstream):
    first, second = archive("thing", {"a": "first"}), archive("thing", {"a": "second"})
    upstream.serve("1.2.1", first, signed=first, at="20240501T000000")
    upstream.add("1.2.1")
    assert sources_toml.load(upstream.folder).release("1.2.1").signed_on == "2024-05-01"
    shutil.rmtree(upstream.cache)
    upstream.serve("1.2.2", second, signed=second, at="20240430T000000")
    said = upstream.error_of_add(SignatureError, "1.2.2")
    assert "was signed on 2024-04-30, before 1.2.1, which was signed on 2024-05-01" in said
    assert "--older-signature" in said
    assert upstream.add("1.2.2", older_signature=True)


def test_older_signature_of_another_series_is_accepted(upstream):
    first, second = archive("thing", {"a": "first"}), archive("thing", {"a": "second"})
    upstream.serve("1.2.1", first, signed=first, at="20240501T000000")
    upstream.add("1.2.1")
    upstream.serve("2.0.1", second, signed=second, at="20230101T000000")
    assert upstream.add("2.0.1")


@pytest.mark.parametrize(("says", "status"), [("1.0.9", 0), ("1.0.8", 1), ("11.0.9", 1)])
def test_payload_test_fails_if_the_program_has_another_version(tmp_path, says, status):
    """bzip2 1.0.8 is installed as 1.0.9."""
    payload = tmp_path / "payload"
    (payload / "bin").mkdir(parents=True)
    code = (
        "#include <stdio.h>\n#include <string.h>\n"
        "int main(int n, char **words) {\n"
        "    int c;\n"
        f'    if (n > 1 && !strcmp(words[1], "--version")) return !puts("bzip2 {says}, today");\n'
        "    while ((c = getchar()) != EOF) putchar(c);\n"
        "    return 0;\n}\n"
    )
    program = payload / "bin/bzip2"
    argv = ["cc", "-x", "c", "-", "-o", program]
    subprocess.run(argv, input=code, text=True, check=True)
    self_test.write(payload, PACKAGES / "bzip2", "1.0.9")
    argv = ["sh", payload / self_test.FOLDER / self_test.RUN]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    wanted = "bzip2 has version 1.0.9" if status == 0 else "bzip2 has not version 1.0.9"
    assert wanted in done.stdout


# Packages without sources, or from the sources of another package, which has the test.
_WITHOUT = {"python_debug", "python_freethreading", "python_tests", "vfxplatform"}


@pytest.mark.parametrize("name", sorted({*resolve.recipes(PACKAGES)} - _WITHOUT))
def test_each_payload_test_compares_the_version(name):
    assert "\ncompare_version " in (PACKAGES / name / "host/test.sh").read_text(), (
        f"packages/{name}/host/test.sh: add a line such as: "
        'compare_version bzip2 "$("$root/bin/bzip2" --version)"'
    )
