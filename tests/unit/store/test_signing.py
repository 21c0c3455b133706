"""Signed entries of a store."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from host_tools import require_tool
from payloads import inputs, payload, put, tree
from store_keys import SigningMachine, private

from rezbuild.errors import MachineError, StoreError
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys
from rezbuild.util import extras


@pytest.fixture
def machines(tmp_path: Path) -> list[SigningMachine]:
    return [SigningMachine(tmp_path / name) for name in ("one", "two")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return payload(tmp_path / "payload")


def make_store(tmp_path: Path, said: list[str], **options: object) -> Store:
    return Store(str(tmp_path / "store"), say=said.append, **options)  # type: ignore[arg-type]


def find(store: Store) -> Entry | None:
    return store.find(keys.hash_inputs(inputs()), "thing", "1.0")


def test_entry_signed_by_a_trusted_key_is_used(tmp_path, root, machines):
    said: list[str] = []
    for machine in machines:
        entry = put(make_store(tmp_path, said, sign=machine.private), root)
        assert entry.signature
        store = make_store(tmp_path, said, trust=[machine.public for machine in machines])
        assert find(store) == entry
        store.restore(entry, tmp_path / f"taken-{machine.private.parent.name}")
        (tmp_path / "store" / entry.place).unlink()
    assert tree(tmp_path / "taken-one") == tree(root)
    # A store without trusted keys uses it too.
    put(make_store(tmp_path, said, sign=machines[0].private), root)
    assert find(make_store(tmp_path, said))
    assert said == []


def test_unsigned_or_untrusted_entry_is_refused(tmp_path, root, machines):
    one, two = machines
    said: list[str] = []
    put(make_store(tmp_path, said), root)
    trusting = make_store(tmp_path, said, trust=[one.public])
    assert find(trusting) is None
    assert list(trusting.entries("thing", "1.0")) == []
    assert said.pop().endswith("is refused: the entry has no signature")
    # The new build replaces the entry, with a signature.
    put(make_store(tmp_path, said, sign=two.private, trust=[two.public]), root)
    assert find(trusting) is None
    assert said.pop().endswith("is refused: no trusted key has signed the entry")
    put(make_store(tmp_path, said, sign=one.private, trust=[one.public]), root)
    assert find(trusting)
    assert said == []


def test_machine_with_a_key_signs_its_own_entry_again(tmp_path, root, machines):
    """The entry was stored before the machine had a key."""
    said: list[str] = []
    put(make_store(tmp_path, said), root)
    put(make_store(tmp_path, said, sign=machines[0].private), root)
    assert find(make_store(tmp_path, said, trust=[machines[0].public]))


@pytest.mark.parametrize(
    "change", ["payload", "blob", "size", "debug", "inputs", "name", "signature", "glibc"]
)
def test_signature_covers_the_whole_entry(tmp_path, root, machines, change):
    said: list[str] = []
    entry = put(make_store(tmp_path, said, sign=machines[0].private), root)
    made = {**inputs(), "more": 1}
    changed = {
        "payload": replace(entry, payload="0" * 64),
        "blob": replace(entry, blob="0" * 64),
        "size": replace(entry, size=entry.size + 1),
        "debug": replace(entry, debug=entry.packed),
        "inputs": replace(entry, inputs=made, key=keys.hash_inputs(made)),
        "name": replace(entry, name="other", inputs={}, key=keys.hash_inputs({})),
        "glibc": replace(entry, glibc="2.17"),
        "signature": replace(entry, signature=entry.signature[:-4] + "AAA="),
    }[change]
    place = tmp_path / "store" / changed.place
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(changed.to_json())
    trusting = make_store(tmp_path, said, trust=[machines[0].public])
    assert trusting.find(changed.key, changed.name, "1.0") is None
    assert "no trusted key" in said[0]


def test_copied_entry_is_signed_by_the_copying_machine(tmp_path, root, machines):
    one, two = machines
    said: list[str] = []
    entry = put(make_store(tmp_path, said, sign=one.private), root)
    blob = make_store(tmp_path, said).read_payload(entry)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(StoreError, match="no trusted key"):
        make_store(other, said, sign=two.private, trust=[two.public]).add(entry, blob)
    make_store(other, said, sign=two.private, trust=[one.public, two.public]).add(entry, blob)
    assert find(make_store(other, said, trust=[two.public]))
    assert said == []


def test_invalid_keys_are_named(tmp_path, machines):
    machine = machines[0]
    locked, rsa = tmp_path / "locked.key", tmp_path / "rsa.key"
    locked.write_bytes(private(ed25519.Ed25519PrivateKey.generate(), b"password"))
    rsa_key = rsa_keys.generate_private_key(65537, 2048)
    rsa.write_bytes(private(rsa_key))
    (tmp_path / "text").write_text("no key")
    for file in (locked, rsa, tmp_path / "text", machine.public, tmp_path / "nowhere"):
        with pytest.raises(MachineError, match="REZBUILD_STORE_SIGN: ") as caught:
            Store(str(tmp_path), sign=file)
        assert str(file) in caught.value.message
        assert caught.value.advice
    for file in (rsa, tmp_path / "text", machine.private, tmp_path / "nowhere"):
        with pytest.raises(MachineError, match="REZBUILD_STORE_TRUST: "):
            Store(str(tmp_path), trust=[machine.public, file])


def test_keys_of_openssl_are_read(tmp_path, root):
    """The commands are those of docs/how-to/store.md."""
    require_tool("openssl")
    text = (Path(__file__).parents[3] / "docs/how-to/store.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    openssl (.*)$", text, re.MULTILINE)
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    assert len(commands) == 2
    said: list[str] = []
    put(make_store(tmp_path, said, sign=tmp_path / "store.key"), root)
    assert find(make_store(tmp_path, said, trust=[tmp_path / "store.pub"]))


def test_settings_name_the_keys(tmp_path, machines):
    folder = tmp_path / "with a space"
    folder.mkdir()
    public = machines[0].public.rename(folder / "store.pub")
    settings = Settings.read(
        {
            "REZBUILD_STORE": str(tmp_path / "store"),
            "REZBUILD_STORE_SIGN": str(machines[0].private),
            "REZBUILD_STORE_TRUST": f"{machines[1].public} '{public}'",
        }
    )
    assert settings.store_trust == (machines[1].public, public)
    said: list[str] = []
    store = Store.of(settings, said.append)
    put(store, payload(tmp_path / "payload"))
    assert find(store).signature
    assert json.loads((tmp_path / "store" / find(store).place).read_text())["signature"]


def test_missing_library_is_reported(tmp_path, machines):
    """The library is an extra, needed only with keys."""
    code = (
        "import sys\n"
        "sys.modules['cryptography'] = None\n"
        "from rezbuild.errors import MachineError\n"
        "from rezbuild.store import Store\n"
        "from pathlib import Path\n"
        "Store(sys.argv[1])\n"
        "try: Store(sys.argv[1], trust=[Path(sys.argv[2])])\n"
        "except MachineError as error: print(error)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path), str(machines[0].public)]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert "require the library cryptography" in said
    assert extras.install_command("signatures") in said
