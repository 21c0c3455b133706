"""Only known and unchanged builds are uploaded to a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from payloads import payload

from rezbuild.store.build_note import NAME, BuildNote

KEY, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return payload(tmp_path / "staging")


@pytest.fixture
def note(tmp_path: Path) -> BuildNote:
    return BuildNote(tmp_path)


def test_unknown_build_folder_has_no_key(note, root):
    note.begin(KEY, ready=True)
    assert not note.confirms(KEY, root)


def test_note_identifies_this_and_earlier_builds(note, root):
    note.begin(KEY, ready=False)
    assert note.confirms(KEY, root)
    note.begin(KEY, ready=True)
    assert note.confirms(KEY, root)
    note.begin(OTHER, ready=True)
    assert not note.confirms(OTHER, root)
    assert not note.confirms(KEY, root)


def test_changed_payload_does_not_match_its_note(note, root):
    note.begin(KEY, ready=False)
    assert note.confirms(KEY, root)
    (root / "lib/library.so").chmod(0o755)
    assert not note.confirms(KEY, root)
    (root / "lib/library.so").chmod(0o555)
    assert not note.confirms(KEY, root)


def test_note_of_a_killed_build_is_invalid(note, root):
    note.begin(KEY, ready=False)
    note.begin(KEY, ready=True)
    assert not note.confirms(KEY, root)


def test_build_in_between_invalidates_the_note(note, root):
    note.begin(KEY, ready=False)
    note.begin(OTHER, ready=False)
    assert not note.confirms(KEY, root)
    assert not note.confirms(OTHER, root)
    note.begin(KEY, ready=False)
    note.drop()
    assert not note.confirms(KEY, root)


@pytest.mark.parametrize("text", ["", "{}", "3", "[]", "[1]", '["", ""]', "[[]]"])
def test_invalid_note_is_ignored(note, root, tmp_path, text):
    (tmp_path / NAME).write_text(text)
    note.begin(KEY, ready=True)
    assert not note.confirms(KEY, root)


def test_payload_without_a_checksum_has_no_key(note, root):
    note.begin(KEY, ready=False)
    os.mkfifo(root / "pipe")
    # pack() refuses it.
    assert note.confirms(KEY, root)
    assert not note.confirms(KEY, root)
