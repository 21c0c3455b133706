"""What an earlier build has left goes into a store only when it is known what it is."""

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


def test_nothing_is_known_of_what_was_there(note, root):
    note.begin(KEY, ready=True)
    assert not note.confirms(KEY, root)


def test_what_was_baked_now_and_before(note, root):
    note.begin(KEY, ready=False)
    assert note.confirms(KEY, root)
    note.begin(KEY, ready=True)
    assert note.confirms(KEY, root)
    note.begin(OTHER, ready=True)
    assert not note.confirms(OTHER, root)
    assert not note.confirms(KEY, root)


def test_what_has_changed_since(note, root):
    note.begin(KEY, ready=False)
    assert note.confirms(KEY, root)
    (root / "lib/library.so").chmod(0o755)
    assert not note.confirms(KEY, root)
    (root / "lib/library.so").chmod(0o555)
    assert not note.confirms(KEY, root)


def test_whoever_baked_it_was_killed(note, root):
    note.begin(KEY, ready=False)
    note.begin(KEY, ready=True)
    assert not note.confirms(KEY, root)


def test_another_build_came_between(note, root):
    note.begin(KEY, ready=False)
    note.begin(OTHER, ready=False)
    assert not note.confirms(KEY, root)
    assert not note.confirms(OTHER, root)
    note.begin(KEY, ready=False)
    note.drop()
    assert not note.confirms(KEY, root)


@pytest.mark.parametrize("text", ["", "{}", "3", "[]", "[1]", '["", ""]', "[[]]"])
def test_a_note_that_is_none(note, root, tmp_path, text):
    (tmp_path / NAME).write_text(text)
    note.begin(KEY, ready=True)
    assert not note.confirms(KEY, root)


def test_a_payload_without_a_sum(note, root):
    note.begin(KEY, ready=False)
    os.mkfifo(root / "pipe")
    # Whoever packs it refuses it.
    assert note.confirms(KEY, root)
    assert not note.confirms(KEY, root)
