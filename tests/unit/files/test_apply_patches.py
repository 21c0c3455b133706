"""Good and hostile patches."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rezbuild.errors import UnpackError
from rezbuild.files.apply_patches import apply_patches

THEN = 1_600_000_000
LINES = [f"line {number}\n" for number in range(1, 21)]
HUNK_AT_5 = """\
@@ -4,3 +4,3 @@
 line 4
-line 5
+LINE 5
 line 6
"""
HUNK_AT_15 = """\
@@ -14,4 +14,5 @@
 line 14
 line 15
+line 15 and a half
 line 16
 line 17
"""
NAMES = "--- a/file\n+++ b/file\n"


class Sources:
    """A source tree with one file of twenty lines, and patches beside it."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.root = tmp_path / "around" / "pkg-1.0"
        self.root.mkdir(parents=True)
        self.file = self.root / "file"
        self.write("".join(LINES))

    def write(self, text: str) -> None:
        self.file.write_bytes(text.encode())
        os.utime(self.file, (THEN, THEN))

    def text(self) -> str:
        return self.file.read_bytes().decode()

    def patch(self, text: str, name: str = "some.patch") -> Path:
        path = self.tmp_path / name
        path.write_bytes(text.encode())
        return path

    def apply(self, *texts: str) -> None:
        apply_patches(self.root, [self.patch(t, f"{n}.patch") for n, t in enumerate(texts)])
        assert os.listdir(self.root.parent) == ["pkg-1.0"]

    def outside(self) -> dict[str, tuple[int, int, bytes]]:
        """Return mode, time and content of all files outside the root."""
        found = {}
        for path in sorted(set(self.tmp_path.rglob("*")) - set(self.root.rglob("*"))):
            status = path.lstat()
            data = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (status.st_mode, status.st_mtime_ns if data else 0, data)
        return found

    def patch_error(self, *texts: str) -> str:
        """Return the error's text; no file outside of the root may change."""
        patches = [self.patch(text, f"{number}.patch") for number, text in enumerate(texts)]
        before = self.outside()
        with pytest.raises(UnpackError) as caught:
            apply_patches(self.root, patches)
        assert self.outside() == before
        assert f"{len(texts) - 1}.patch" in caught.value.message
        return str(caught.value)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def change_lines(**lines: str) -> str:
    """Return the file's text with some lines replaced, e.g. `l5="LINE 5"`."""
    new = {int(key[1:]) - 1: value + "\n" for key, value in lines.items()}
    return "".join(new.get(number, line) for number, line in enumerate(LINES))


def test_patch_applies(sources: Sources) -> None:
    sources.apply(NAMES + HUNK_AT_5 + HUNK_AT_15)
    assert sources.text() == change_lines(l5="LINE 5", l15="line 15\nline 15 and a half")


def test_no_patches_change_nothing(sources: Sources) -> None:
    apply_patches(sources.root, [])
    assert sources.text() == change_lines()


def test_relative_root_works(sources: Sources) -> None:
    patch = sources.patch(NAMES + HUNK_AT_5)
    root = Path(os.path.relpath(sources.root))
    apply_patches(root, [Path(os.path.relpath(patch))])
    assert sources.text() == change_lines(l5="LINE 5")


def test_header_text_is_tolerated(sources: Sources) -> None:
    why = "Why: it is broken.\n\n - one\n + two\n---\n file | 2 +-\n\n"
    git = "diff --git a/file b/file\nindex 123..456 100644\n"
    sources.apply(why + git + NAMES + HUNK_AT_5 + "-- \n2.39.2\n\n")
    assert sources.text() == change_lines(l5="LINE 5")


def test_names_with_dates_are_read(sources: Sources) -> None:
    date = "\t2024-01-02 03:04:05.000000000 +0100\n"
    sources.apply(f"--- pkg.orig/file{date}+++ pkg/file{date}{HUNK_AT_5}")
    assert sources.text() == change_lines(l5="LINE 5")


def test_patch_of_diff_applies(sources: Sources) -> None:
    old, new = sources.tmp_path / "old", sources.tmp_path / "new"
    for path, text in (
        (old, change_lines()),
        (new, change_lines(l1="one", l12="twelve", l20="end")),
    ):
        path.mkdir()
        (path / "file").write_text(text)
    (old / "gone").write_text("gone\n")
    (sources.root / "gone").write_text("gone\n")
    (new / "sub").mkdir()
    (new / "sub" / "new").write_text("no newline at the end")
    result = subprocess.run(
        ["diff", "-ruN", "old", "new"], cwd=sources.tmp_path, capture_output=True, check=False
    )
    sources.apply(result.stdout.decode())
    assert sources.text() == (new / "file").read_text()
    assert sorted(os.listdir(sources.root)) == ["file", "sub"]
    assert (sources.root / "sub" / "new").read_text() == "no newline at the end"


def test_patched_file_keeps_its_mode_and_gets_one_time(sources: Sources) -> None:
    sources.file.chmod(0o755)
    other = NAMES.replace("file", "other")
    (sources.root / "other").write_text(change_lines())
    sources.apply(NAMES + HUNK_AT_5 + other + HUNK_AT_5, NAMES + HUNK_AT_15)
    assert mode_of(sources.file) == 0o755
    assert sources.file.stat().st_mtime > THEN
    assert sources.file.stat().st_mtime_ns == (sources.root / "other").stat().st_mtime_ns


def test_later_patch_sees_earlier_changes(sources: Sources) -> None:
    second = NAMES + HUNK_AT_5.replace("-line 5", "-LINE 5").replace("+LINE 5", "+Line 5")
    sources.apply(NAMES + HUNK_AT_5, second)
    assert sources.text() == change_lines(l5="Line 5")


def test_patch_may_name_a_file_twice(sources: Sources) -> None:
    sources.apply(NAMES + HUNK_AT_5 + NAMES + HUNK_AT_15)
    assert sources.text() == change_lines(l5="LINE 5", l15="line 15\nline 15 and a half")


def test_removed_lines_that_look_like_names_are_lines(sources: Sources) -> None:
    sources.write("-- old\n++ old\n")
    sources.apply(NAMES + "@@ -1,2 +1,2 @@\n--- old\n-++ old\n+-- new\n+++ new\n")
    assert sources.text() == "-- new\n++ new\n"


def test_line_ends_are_kept(sources: Sources) -> None:
    sources.write("a\r\nb\r\nc\r\n")
    sources.apply(NAMES + "@@ -1,3 +1,3 @@\n a\r\n-b\r\n+B\r\n c\r\n")
    assert sources.text() == "a\r\nB\r\nc\r\n"


def test_line_ends_must_match(sources: Sources) -> None:
    sources.write("a\r\nb\r\nc\r\n")
    sources.patch_error(NAMES + "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n")


def test_newline_at_the_end_must_match(sources: Sources) -> None:
    sources.write("a\nb\nc")
    sources.patch_error(NAMES + "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n")
    sources.apply(NAMES + "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n\\ No newline at end of file\n")
    assert sources.text() == "a\nB\nc"


def test_offset_is_allowed_if_all_context_matches(sources: Sources) -> None:
    sources.write("new\n" * 3 + change_lines())
    sources.apply(NAMES + HUNK_AT_5)
    assert sources.text() == "new\n" * 3 + change_lines(l5="LINE 5")


@pytest.mark.parametrize("line", [4, 5, 6])
def test_fuzz_is_refused(sources: Sources, line: int) -> None:
    sources.write(change_lines(**{f"l{line}": "other"}))
    message = sources.patch_error(NAMES + HUNK_AT_5)
    assert "patching file file" in message
    assert "Hunk #1 FAILED at 4" in message


def test_white_space_must_match(sources: Sources) -> None:
    sources.write(change_lines(l4="line  4"))
    sources.patch_error(NAMES + HUNK_AT_5)


def test_second_hunk_that_fails_is_named(sources: Sources) -> None:
    sources.write(change_lines(l15="other"))
    assert "Hunk #2 FAILED" in sources.patch_error(NAMES + HUNK_AT_5 + HUNK_AT_15)


def test_second_file_that_fails_is_named(sources: Sources) -> None:
    (sources.root / "other").write_text("text\n")
    message = sources.patch_error(NAMES + HUNK_AT_5 + NAMES.replace("file", "other") + HUNK_AT_15)
    assert "patching file other" in message


def test_second_patch_that_fails_is_named(sources: Sources) -> None:
    sources.patch_error(NAMES + HUNK_AT_5, NAMES + HUNK_AT_15.replace("line 14", "other"))


def test_applied_patch_is_refused(sources: Sources) -> None:
    sources.apply(NAMES + HUNK_AT_5)
    assert "previously applied" in sources.patch_error(NAMES + HUNK_AT_5)


NEW = "--- /dev/null\n+++ b/sub/new\n@@ -0,0 +1,2 @@\n+one\n+two\n"


def test_patch_creates_a_file(sources: Sources) -> None:
    sources.apply(NEW)
    path = sources.root / "sub" / "new"
    assert (path.read_text(), mode_of(path)) == ("one\ntwo\n", 0o644)


def test_patch_creates_a_program(sources: Sources) -> None:
    git = "diff --git a/sub/new b/sub/new\nnew file mode 100755\nindex 000..123\n"
    sources.apply(git + NEW + NEW.replace("sub/new", "sub/plain"))
    modes = [mode_of(sources.root / "sub" / name) for name in ("new", "plain")]
    assert modes == [0o755, 0o644]


def test_new_file_replaces_no_file(sources: Sources) -> None:
    assert "already exists" in sources.patch_error(NEW.replace("sub/new", "file"))


def test_hunk_without_context_is_for_new_files_only(sources: Sources) -> None:
    sources.patch_error(NAMES + "@@ -0,0 +1 @@\n+one\n")
    assert sources.text() == change_lines()


def delete(lines: list[str]) -> str:
    body = "".join("-" + line for line in lines)
    return f"--- a/file\n+++ /dev/null\n@@ -1,{len(lines)} +0,0 @@\n{body}"


def test_patch_deletes_a_file(sources: Sources) -> None:
    sources.apply(delete(LINES))
    assert not sources.file.exists()


def test_deletion_of_another_content_is_refused(sources: Sources) -> None:
    sources.patch_error(delete([*LINES[:10], "other\n", *LINES[11:]]))


def test_deletion_of_a_part_is_refused(sources: Sources) -> None:
    sources.patch_error(delete(LINES[:10]))


def test_file_is_deleted_and_created_again(sources: Sources) -> None:
    sources.apply(delete(LINES) + NEW.replace("sub/new", "file"))
    assert sources.text() == "one\ntwo\n"


def test_missing_file_is_refused(sources: Sources) -> None:
    assert "can't find file to patch" in sources.patch_error(
        NAMES.replace("file", "missing") + HUNK_AT_5
    )


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "a/../../out",
        "../out",
        "a/sub/../../out",
        "a//etc/passwd",
        "..",
        "a/..",
        "out",
    ],
)
def test_names_outside_are_refused(sources: Sources, name: str) -> None:
    (sources.root.parent / "out").write_text(change_lines())
    before = sources.outside()
    for patch in (
        f"--- {name}\n+++ {name}\n{HUNK_AT_5}",
        f"--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+one\n",
        f"--- {name}\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n",
    ):
        # The first folder is stripped, even if it is "..": the rest may be a name below the root.
        with contextlib.suppress(UnpackError):
            apply_patches(sources.root, [sources.patch(patch, "0.patch")])
        (sources.tmp_path / "0.patch").unlink()
        assert sources.outside() == before


def test_names_behind_symlinks_are_refused(sources: Sources) -> None:
    outside = sources.root.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text(change_lines())
    (sources.root / "folder").symlink_to("../outside")
    (sources.root / "link").symlink_to("../outside/file")
    sources.patch_error(NAMES.replace("file", "folder/file") + HUNK_AT_5)
    sources.patch_error(NAMES.replace("file", "link") + HUNK_AT_5)
    sources.patch_error(NEW.replace("sub/new", "folder/new"))


def test_file_instead_of_a_folder_is_refused(sources: Sources) -> None:
    assert "Invalid file name file/new" in sources.patch_error(NEW.replace("sub/new", "file/new"))
    assert "Invalid file name sub/new/er" in sources.patch_error(
        NEW + NEW.replace("sub/new", "sub/new/er")
    )


def test_folder_instead_of_a_file_is_refused(sources: Sources) -> None:
    (sources.root / "sub").mkdir()
    assert "sub is not a regular file" in sources.patch_error(
        NAMES.replace("file", "sub") + HUNK_AT_5
    )


BAD = {
    "empty": "",
    "header only": "Why: nobody knows.\n",
    "no hunks": NAMES,
    "no names": HUNK_AT_5,
    "no name": "--- /dev/null\n+++ /dev/null\n" + HUNK_AT_5,
    "cut off": NAMES + HUNK_AT_5[:-8],
    "cut off in the second hunk": NAMES + HUNK_AT_5 + HUNK_AT_15[:40],
    "longer than it says": NAMES + HUNK_AT_5 + " line 7\n",
    "shorter than it says": NAMES + HUNK_AT_5.replace("-4,3 +4,3", "-4,4 +4,4"),
    "other numbers than it says": NAMES + HUNK_AT_5.replace("+4,3", "+4,2"),
    "damaged first line": NAMES + HUNK_AT_5.replace("-4,3", "-4.3"),
    "damaged second hunk": NAMES + HUNK_AT_5 + HUNK_AT_15.replace("-14,4", "-x,4"),
    "foreign line": NAMES + HUNK_AT_5.replace("+LINE", "*LINE"),
    "no context": NAMES + "@@ -5,0 +6 @@\n+line 5.5\n",
    "no context later": NAMES + HUNK_AT_5 + "@@ -0,0 +6 @@\n+line 5.5\n",
    "context diff": "*** a/file\n--- b/file\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n",
    "ed script": "--- a/file\n+++ b/file\n5d\n",
    "rename": "diff --git a/file b/x\nrename from file\nrename to x\n" + NAMES + HUNK_AT_5,
    "mode": "diff --git a/file b/file\nold mode 100644\nnew mode 100755\n" + NAMES + HUNK_AT_5,
    "symlink": "diff --git a/sub/new b/sub/new\nnew file mode 120000\n" + NEW,
    "binary": NAMES + HUNK_AT_5 + "Binary files a/x and b/x differ\n",
    "git binary": "diff --git a/x b/x\nGIT binary patch\nliteral 1\n" + NAMES + HUNK_AT_5,
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_patches_are_refused(sources: Sources, case: str) -> None:
    sources.patch_error(BAD[case])


def test_missing_patch_is_refused(sources: Sources) -> None:
    with pytest.raises(UnpackError, match=r"missing\.patch.*cannot be read"):
        apply_patches(sources.root, [sources.tmp_path / "missing.patch"])


def test_missing_gnu_patch_is_reported(sources: Sources) -> None:
    """A new process has the system's programs in another folder."""
    tools = sources.tmp_path / "tools"
    tools.mkdir()
    code = (
        "import pathlib, sys\n"
        "from rezbuild.build import toolchain\n"
        "from rezbuild.errors import MachineError\n"
        "from rezbuild.files.apply_patches import apply_patches\n"
        "toolchain.SYSTEM_PATH = sys.argv[3]\n"
        "try: apply_patches(*[pathlib.Path(sys.argv[1]), [pathlib.Path(sys.argv[2])]])\n"
        "except MachineError as error: print(error)\n"
    )
    patch = sources.patch(NAMES + HUNK_AT_5)
    command = [sys.executable, "-c", code, sources.root, patch, tools]

    def output() -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert "is missing" in output()
    other = tools / "patch"
    other.write_text("#!/bin/sh\necho patch 2.0-12u11\n")
    other.chmod(0o755)
    assert "not GNU patch" in output()
    assert sources.text() == change_lines()
