"""A store in a folder: an entry is restored unchanged, or not used."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from payloads import inputs, payload, put, tree, with_debug

from rezbuild.errors import MachineError, StoreError, UsageError
from rezbuild.files.pack import digest
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store, maintain
from rezbuild.store import key as keys

SUPPORT = Path(__file__).parents[2] / "support"


class FolderStore:
    """A store in a folder, and its messages."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.store = Store(str(folder), say=self.said.append, **options)  # type: ignore[arg-type]

    def find(self, **more: object) -> Entry | None:
        return self.store.find(keys.hash_inputs(inputs(**more)), "thing", "1.0")

    def blobs(self) -> list[Path]:
        return sorted(self.folder.glob("payloads/*"))

    def entries(self) -> list[Path]:
        return sorted(self.folder.glob("*/*/*.json"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return payload(tmp_path / "payload")


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "a store")


def test_stored_payload_is_found_and_restored(folder_store, root, tmp_path):
    assert folder_store.find() is None
    entry = put(folder_store.store, root, compiler="gcc")
    found = folder_store.find(compiler="gcc")
    assert found == entry
    assert found.payload == digest(root)
    assert found.inputs["compiler"] == "gcc"
    folder_store.store.restore(found, tmp_path / "taken")
    assert tree(tmp_path / "taken") == tree(root)
    # Other inputs find nothing.
    assert folder_store.find(compiler="clang") is None
    assert folder_store.find() is None
    assert [found] == list(folder_store.store.entries("thing", "1.0"))
    assert folder_store.said == []


def test_store_layout_is_stable(folder_store, root):
    entry = put(folder_store.store, root)
    assert folder_store.entries() == [folder_store.folder / f"thing/1.0/{entry.key}.json"]
    assert folder_store.blobs() == [folder_store.folder / f"payloads/{entry.blob}.tar.zst"]
    assert Entry.from_json(folder_store.entries()[0].read_bytes()) == entry
    assert folder_store.blobs()[0].stat().st_size == entry.size
    # The mode allows all builders.
    assert {
        path.stat().st_mode & 0o777 for path in (*folder_store.blobs(), *folder_store.entries())
    } == {0o644}


def test_group_folder_keeps_its_mode(tmp_path, root):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    put(FolderStore(tmp_path / "shared").store, root)
    for folder in ("payloads", "thing", "thing/1.0"):
        assert (tmp_path / "shared" / folder).stat().st_mode & 0o7777 == 0o2775


def test_existing_entry_is_kept(folder_store, root):
    put(folder_store.store, root)
    before = [
        (path, path.stat().st_mtime_ns) for path in (*folder_store.blobs(), *folder_store.entries())
    ]
    put(folder_store.store, root)
    assert [
        (p, p.stat().st_mtime_ns) for p in (*folder_store.blobs(), *folder_store.entries())
    ] == before
    # The first payload from the same inputs stays, because others may be built against it.
    first = folder_store.find()
    (root / "lib/more").touch()
    assert put(folder_store.store, root) == first
    # Unless it is replaced on request.
    fresh = folder_store.store.put("thing", "1.0", None, first.key, inputs(), root, fresh=True)
    assert fresh.payload == digest(root)
    assert folder_store.find() == fresh


def test_payload_with_another_fingerprint_is_not_stored(folder_store, root):
    wrong = inputs(fingerprint="f" * 16)
    with pytest.raises(StoreError, match=r"its rezbuild.json says fingerprint '0123456789abcdef'"):
        folder_store.store.put("thing", "1.0", None, keys.hash_inputs(wrong), wrong, root)
    wrong = inputs("other")
    with pytest.raises(StoreError, match="says name 'thing', not 'other'"):
        folder_store.store.put("other", "1.0", None, keys.hash_inputs(wrong), wrong, root)
    assert not folder_store.folder.exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def other_key(path: Path) -> None:
    """Change the inputs of an entry to those of another compiler."""
    said = json.loads(path.read_text())
    edit(path, inputs={**said["inputs"], "compiler": "another"})


def another_package(path: Path) -> None:
    """Store a valid entry of another package under this package's name."""
    folder_store = FolderStore(path.parents[2])
    entry = put(folder_store.store, payload(path.parents[3] / "other", "other"))
    shutil.copy(path.parents[2] / entry.place, path)


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a truncated blob": ("blob", lambda p: os.truncate(p, 100), "it has 100 bytes, not"),
    "a longer blob": ("blob", lambda p: p.write_bytes(p.read_bytes() * 2), "it has more bytes"),
    "a flipped bit": ("blob", flip, "its sha256 is"),
    "no blob": ("blob", Path.unlink, "it is not there"),
    "an empty entry": ("entry", lambda p: os.truncate(p, 0), "the entry is invalid"),
    "half an entry": ("entry", lambda p: os.truncate(p, 200), "the entry is invalid"),
    "an endless entry": ("entry", lambda p: os.truncate(p, 2 << 20), "more than 1048576 bytes"),
    "no JSON": ("entry", lambda p: p.write_text("<html>"), "the entry is invalid"),
    "a list": ("entry", lambda p: p.write_text("[1]"), "the entry is invalid"),
    "deep JSON": ("entry", lambda p: p.write_text("[" * 10**5), "the entry is invalid"),
    "a field more": ("entry", lambda p: edit(p, more=1), "the entry is invalid"),
    "a negative size": ("entry", lambda p: edit(p, size=-1), "the entry is invalid"),
    "a size beyond all": ("entry", lambda p: edit(p, size=1 << 40), "the entry is invalid"),
    "a sum that leads out": ("entry", lambda p: edit(p, blob="../../x"), "the entry is invalid"),
    "inputs that lie": ("entry", other_key, "its inputs do not hash to its key"),
    "another version": ("entry", lambda p: edit(p, version="2.0"), "are those of another package"),
    "another package": ("entry", another_package, "the entry belongs to another package"),
    "another payload": ("entry", lambda p: edit(p, payload="0" * 64), "not " + "0" * 64),
    "another blob": ("entry", lambda p: edit(p, blob="0" * 64), "it is not there"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entry_is_refused_and_repaired(folder_store, root, tmp_path, damage):
    put(folder_store.store, root)
    kind, spoil, reason = DAMAGES[damage]
    (place,) = folder_store.blobs() if kind == "blob" else folder_store.entries()
    spoil(place)
    found = folder_store.find()
    if found is None:
        (said,) = folder_store.said
    else:
        with pytest.raises(StoreError) as caught:
            folder_store.store.restore(found, tmp_path / "taken")
        said = caught.value.message
        assert not (tmp_path / "taken").exists()
        assert list(tmp_path.glob(".*")) == []
    assert (
        f"thing/1.0/{keys.hash_inputs(inputs())}.json of the store {folder_store.folder} is refused"
        in said
    )
    assert reason in said
    put(folder_store.store, root)
    folder_store.store.restore(folder_store.find(), tmp_path / "taken")
    assert tree(tmp_path / "taken") == tree(root)


def test_payload_of_another_package_is_refused(folder_store, root, tmp_path):
    """Its checksums are valid: a person has put it there."""
    forged = put(
        folder_store.store, payload(tmp_path / "forged", fingerprint="f" * 16), fingerprint="f" * 16
    )
    good = put(folder_store.store, root)
    folder_store.folder.joinpath(good.place).write_text(
        replace(good, payload=forged.payload, blob=forged.blob, size=forged.size).to_json()
    )
    with pytest.raises(StoreError, match="says fingerprint 'ffffffffffffffff'"):
        folder_store.store.restore(folder_store.find(), tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = (
    "key",
    "name",
    "version",
    "profile",
    "payload",
    "size",
    "blob",
    "inputs",
    "debug",
    "glibc",
)


@settings(
    max_examples=100, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.sampled_from((*FIELDS, "signature", "more")), JSON)
def test_any_value_in_any_field_is_handled(field: str, value: object) -> None:
    good = Entry(
        keys.hash_inputs(inputs()), "thing", "1.0", None, "0" * 64, 1, "1" * 64, inputs(), None, ""
    )
    data = {**json.loads(good.to_json()), field: value}
    with contextlib.suppress(StoreError):
        found = Entry.from_json(json.dumps(data))
        assert (found.key, found.place) == (good.key, good.place)
        assert Entry.from_json(found.to_json()) == found


# Whether the store is usable


def test_unwritable_store_gives_a_notice(tmp_path, root):
    (tmp_path / "file").touch()
    folder_store = FolderStore(tmp_path / "file/store")
    assert folder_store.find() is None
    entry = put(folder_store.store, root)
    assert entry.payload == digest(root)
    (said,) = folder_store.said
    assert said.startswith(f"thing 1.0: notice: not put into the store {folder_store.folder}: ")


def test_invalid_addresses_are_refused():
    with pytest.raises(UsageError, match=r"REZBUILD_STORE=foo://host/x cannot be used") as caught:
        Store("foo://me:geheim@host/x?token=geheim")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_missing_library_of_an_address_is_named(scheme, library):
    with contextlib.suppress(ImportError):
        __import__(library)
        pytest.skip(f"{library} is installed")
    with pytest.raises(MachineError) as caught:
        Store(f"{scheme}://bucket/store")
    assert f"pip install {library}" in str(caught.value)


def test_fsspec_addresses_work(root, tmp_path):
    """Real objects in memory: no folders to make, no files to rename."""
    said: list[str] = []
    store = Store("memory://bucket/store", say=said.append)
    assert maintain.list_packages(store) == []
    entry = put(store, root)
    assert store.find(entry.key, "thing", "1.0") == entry
    assert (maintain.list_packages(store), maintain.list_versions(store, "thing")) == (
        ["thing"],
        ["1.0"],
    )
    store.restore(entry, tmp_path / "taken")
    assert tree(tmp_path / "taken") == tree(root)
    store.files.remove(f"payloads/{entry.blob}.tar.zst")
    with pytest.raises(StoreError, match="it is not there"):
        store.restore(entry, tmp_path / "again")
    put(store, root)
    store.restore(entry, tmp_path / "again")
    assert said == []


def test_offline_store_is_a_folder_only(tmp_path):
    said: list[str] = []
    offline = Settings(cache=tmp_path, offline=True, store="https://me:geheim@host/store?t=geheim")
    assert Store.of(offline, said.append) is None
    assert said == ["notice: the store https://host/store is not asked: REZBUILD_OFFLINE is set"]
    for store in (str(tmp_path / "store"), f"file://{tmp_path}/store"):
        assert (
            Store.of(replace(offline, store=store), said.append).display_url == f"{tmp_path}/store"
        )
    assert Store.of(replace(offline, store=None), said.append) is None


# Parallel and killed writers


def writer(store: Path, root: Path, *more: str) -> list[str]:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from payloads import put\n"
        "from rezbuild.store import Store\n"
        "print('ready', flush=True)\n"
        "for _ in range(int(sys.argv[4])): put(Store(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    return [sys.executable, "-c", code, str(SUPPORT), str(store), str(root), *more]


def test_parallel_writers_leave_one_complete_payload(folder_store, tmp_path):
    """The inputs are equal and the payloads differ, as after a new training."""
    roots = [payload(tmp_path / name, number=name) for name in ("one", "two")]
    sums = {digest(root): root for root in roots}
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(writer(folder_store.folder, root, "20")))
            for root in roots
        ]
        number = 0
        while any(process.poll() is None for process in running):
            found = folder_store.find()
            if found:
                number += 1
                taken = tmp_path / f"taken{number}"
                folder_store.store.restore(found, taken)
                assert tree(taken) == tree(sums[found.payload])
    assert [process.returncode for process in running] == [0, 0]
    assert number
    assert folder_store.said == []


def test_killed_writer_leaves_a_complete_or_no_entry(folder_store, tmp_path):
    root = payload(tmp_path / "payload")
    (root / "large").write_bytes(os.urandom(8 << 20))
    landed = 0
    for moment in (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2):
        shutil.rmtree(folder_store.folder, ignore_errors=True)
        with subprocess.Popen(
            writer(folder_store.folder, root, "1"), stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moment)
            landed += process.poll() is None
            process.send_signal(signal.SIGKILL)
        found = folder_store.find()
        if found:
            folder_store.store.restore(found, tmp_path / f"taken{moment}")
            assert digest(tmp_path / f"taken{moment}") == digest(root)
        put(folder_store.store, root)
        assert folder_store.find().payload == digest(root)
    assert landed >= 4
    assert folder_store.said == []


# Debug data.


@pytest.fixture
def machines(tmp_path: Path) -> list[Settings]:
    return [Settings(cache=tmp_path / name) for name in ("one", "two")]


def test_debug_data_is_stored_with_the_payload(tmp_path, root, machines):
    one, two = machines
    shelves = [FolderStore(tmp_path / "store", settings=settings) for settings in machines]
    with_debug(root, one)
    entry = put(shelves[0].store, root)
    assert len(shelves[0].blobs()) == 2
    assert entry.debug
    shelves[1].store.restore(shelves[1].find(), tmp_path / "taken")
    assert tree(two.cache / "debug") == tree(one.cache / "debug")
    # A later machine with debug data adds it.
    shelves[0].entries()[0].unlink()
    bare = put(FolderStore(tmp_path / "store").store, root)
    assert bare.debug is None
    assert put(shelves[0].store, root) == entry
    assert put(FolderStore(tmp_path / "store").store, root) == entry


def test_debug_data_of_an_installed_payload_is_restored(tmp_path, root, machines):
    one, two = machines
    shelves = [FolderStore(tmp_path / "store", settings=settings) for settings in machines]
    put(shelves[0].store, with_debug(root, one))
    recall = shelves[1].store.restore_debug
    recall("thing", "1.0", "0" * 64, root)
    assert not (two.cache / "debug").exists()
    recall("thing", "1.0", digest(root), root)
    assert tree(two.cache / "debug") == tree(one.cache / "debug")
    # Existing data causes no request.
    shutil.rmtree(tmp_path / "store")
    recall("thing", "1.0", digest(root), root)
    assert shelves[1].said == []


def test_damaged_debug_data_gives_a_notice(tmp_path, root, machines):
    one, two = machines
    shelves = [FolderStore(tmp_path / "store", settings=settings) for settings in machines]
    entry = put(shelves[0].store, with_debug(root, one))
    blob = tmp_path / f"store/payloads/{entry.debug.blob}.tar.zst"
    flip(blob)
    # The payload is usable without debug data.
    shelves[1].store.restore(shelves[1].find(), tmp_path / "taken")
    assert tree(tmp_path / "taken") == tree(root)
    assert not (two.cache / "debug").exists()
    (said,) = shelves[1].said
    assert said.startswith("thing 1.0: notice: its debug data cannot be read from the store ")
    # A machine with the data repairs the entry.
    assert put(shelves[0].store, root) == entry
    shelves[1].store.restore(shelves[1].find(), tmp_path / "again")
    assert tree(two.cache / "debug") == tree(one.cache / "debug")


def test_debug_data_of_another_payload_is_refused(tmp_path, root, machines):
    one, two = machines
    shelves = [FolderStore(tmp_path / "store", settings=settings) for settings in machines]
    entry = put(shelves[0].store, with_debug(root, one))
    # These files are no debug data, and must not get into the cache.
    forged = replace(entry, debug=entry.packed)
    (tmp_path / "store" / entry.place).write_text(forged.to_json())
    shelves[1].store.restore(shelves[1].find(), tmp_path / "taken")
    (said,) = shelves[1].said
    assert said.endswith("the debug data belongs to another payload")
    assert not (two.cache / "debug").exists()


# From one store to another.


def test_entry_is_copied_to_another_store(folder_store, root, tmp_path, machines):
    source = FolderStore(tmp_path / "source", settings=machines[0])
    entry = put(source.store, with_debug(root, machines[0]))
    data = source.store.read_payload(entry), source.store.read_debug(entry)
    folder_store.store.add(entry, *data)
    assert folder_store.find() == entry
    folder_store.store.restore(entry, tmp_path / "taken")
    assert tree(tmp_path / "taken") == tree(root)
    # Without debug data, the entry differs.
    bare = FolderStore(tmp_path / "bare")
    bare.store.add(entry, data[0])
    assert bare.find() == replace(entry, debug=None)
    with pytest.raises(StoreError, match="its sha256 is"):
        FolderStore(tmp_path / "wrong").store.add(entry, data[0][:-1] + b"?", data[1])
    assert not (tmp_path / "wrong").exists()
