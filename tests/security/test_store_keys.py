"""Attacks on a store that others can write: forged entries, garbage signatures, replays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from payloads import inputs, payload, put
from store_keys import SigningMachine

from rezbuild.cli import main
from rezbuild.errors import MachineError, StoreError
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys

GARBAGE = "AAAA" * 22


@pytest.fixture
def machine(tmp_path: Path) -> SigningMachine:
    return SigningMachine(tmp_path / "box")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return payload(tmp_path / "payload")


def store(tmp_path: Path, **options: object) -> Store:
    return Store(str(tmp_path / "store"), say=lambda _: None, **options)  # type: ignore[arg-type]


def find(found: Store) -> Entry | None:
    return found.find(keys.hash_inputs(inputs()), "thing", "1.0")


def forge(tmp_path: Path, signature: str) -> Entry:
    """Store a payload of the attacker under the key of the real inputs."""
    evil = payload(tmp_path / "evil")
    (evil / "bin/program").write_text("#!/bin/sh\necho owned\n")
    entry = put(store(tmp_path), evil)
    file = tmp_path / "store" / entry.place
    file.write_text(replace(entry, signature=signature).to_json())
    return entry


@pytest.mark.parametrize("signature", ["", GARBAGE], ids=["unsigned", "garbage"])
def test_signing_machine_does_not_sign_a_forgery(tmp_path, root, machine, signature):
    """It does not set REZBUILD_STORE_TRUST; an older rezbuild trusted everything then."""
    forged = forge(tmp_path, signature)
    signing = store(tmp_path, sign=machine.private)
    assert find(signing) is None
    own = put(signing, root)
    assert own.payload != forged.payload
    taking = store(tmp_path, trust=[machine.public])
    taken = find(taking)
    assert taken is not None
    assert taken.payload == own.payload


@pytest.mark.parametrize("signature", ["", GARBAGE], ids=["unsigned", "garbage"])
def test_signing_machine_does_not_copy_a_forgery(tmp_path, machine, signature):
    forged = replace(forge(tmp_path, signature), signature=signature)
    blob = store(tmp_path).read_payload(forged)
    other = Store(str(tmp_path / "other"), sign=machine.private, say=lambda _: None)
    with pytest.raises(StoreError):
        other.add(forged, blob)
    assert not (tmp_path / "other" / forged.place).exists()


def test_list_does_not_call_a_garbage_signature_signed(tmp_path, capsys, monkeypatch):
    forge(tmp_path, GARBAGE)
    monkeypatch.setenv("REZBUILD_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("REZBUILD_STORE_TRUST", raising=False)
    monkeypatch.delenv("REZBUILD_STORE_SIGN", raising=False)
    assert main.main(["store", "list"]) == 0
    out = capsys.readouterr().out
    assert "not verified" in out
    assert "yes" not in out


@pytest.fixture
def revoked_payload(tmp_path, root, machine, monkeypatch, capsys) -> tuple[Entry, bytes]:
    """Revoke a signed payload, and return its packed bytes."""
    signing = store(tmp_path, sign=machine.private)
    entry = put(signing, root)
    blob = signing.read_payload(entry)
    monkeypatch.setenv("REZBUILD_STORE", str(tmp_path / "store"))
    assert main.main(["store", "revoke", entry.key[:12], "--because", "built on box7"]) == 0
    assert f"revoked/{entry.payload}: built on box7" in capsys.readouterr().out
    return entry, blob


def replay(tmp_path: Path, revoked_payload: tuple[Entry, bytes]) -> None:
    """Put the signed entry and its blob back, as a person with write access can."""
    entry, blob = revoked_payload
    (tmp_path / "store" / entry.place).write_text(entry.to_json())
    (tmp_path / f"store/payloads/{entry.blob}.tar.zst").write_bytes(blob)


def test_revoked_payload_is_removed_and_not_used(tmp_path, machine, revoked_payload):
    entry, _ = revoked_payload
    assert not (tmp_path / "store" / entry.place).exists()
    assert not list((tmp_path / "store/payloads").iterdir())
    replay(tmp_path, revoked_payload)
    assert find(store(tmp_path, trust=[machine.public])) is None
    assert find(store(tmp_path)) is None


def test_revoked_payload_is_not_uploaded_again(tmp_path, root, machine, revoked_payload):
    entry, blob = revoked_payload
    put(store(tmp_path, sign=machine.private), root)
    assert not (tmp_path / "store" / entry.place).exists()
    with pytest.raises(StoreError, match="was revoked"):
        store(tmp_path).add(entry, blob)


def test_revoked_payload_is_refused_by_a_local_list(tmp_path, machine, revoked_payload):
    """The store is an old copy without the revocation."""
    entry, _ = revoked_payload
    replay(tmp_path, revoked_payload)
    (tmp_path / "store/revoked" / entry.payload).unlink()
    own = tmp_path / "revoked.txt"
    own.write_text(f"# bad payloads\n{entry.payload} built on box7\n")
    settings = Settings(tmp_path / "cache", store_revoked=own)
    assert find(store(tmp_path, trust=[machine.public])) is not None
    assert find(store(tmp_path, trust=[machine.public], settings=settings)) is None
    own.write_text("5e1c\n")
    with pytest.raises(MachineError, match="without a checksum"):
        store(tmp_path, settings=settings)


def test_revoke_needs_one_matching_payload(tmp_path, root, monkeypatch, capsys):
    put(store(tmp_path), root)
    monkeypatch.setenv("REZBUILD_STORE", str(tmp_path / "store"))
    assert main.main(["store", "revoke", "0" * 12]) == 14
    assert "0 entries" in capsys.readouterr().err
    assert json.loads(next((tmp_path / "store/thing/1.0").iterdir()).read_text())
