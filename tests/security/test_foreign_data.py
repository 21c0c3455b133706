"""Foreign data of any kind causes no defect in any reader.

A reader may raise an error of rezbuild or skip the data; any other exception fails the test.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pickle
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fuzz import DEEP, VALUES, fuzzed, vary
from hypothesis import given
from hypothesis import strategies as st
from payloads import inputs, payload, put

from rezbuild import audit
from rezbuild.audit import glibc, show
from rezbuild.catalogue.model import Signed
from rezbuild.elf import reader, sections
from rezbuild.errors import RezbuildError, from_report
from rezbuild.farm import restricted_pickle
from rezbuild.farm.messages import Order, Result
from rezbuild.farm.worker_facts import Facts
from rezbuild.files import pack, safe_files, unpack
from rezbuild.payload import debug_data, manifest, sbom
from rezbuild.plan import durations
from rezbuild.repository import installed, staging
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys
from rezbuild.store.build_note import BuildNote
from rezbuild.versions import signatures

pytestmark = pytest.mark.fuzz
OURS = contextlib.suppress(RezbuildError)
RECORD = {
    "name": "thing",
    "version": "1.0",
    "profile": "fast",
    "recipe": "0123",
    "fingerprint": "4567",
    "compiler": "gcc 12",
    "glibc": "2.36",
    "glibc_because": {"bin/x": ["puts"]},
    "build_ids": {"bin/x": "ab" * 20},
    "built_against": {"zlib": "1.3.1"},
    "source": {"file": "x", "sha256": "y"},
    "elf": [],
    "bundled": {},
    "hardening": {},
    "options": [],
}


def text(data: Any) -> bytes:
    return json.dumps(data).encode()


# Random JSON values, and random bytes.
DATA = st.one_of((VALUES | DEEP).map(text), st.binary(max_size=200), st.just(b"[" * 100_000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "payload"
    made.mkdir()
    return made


@fuzzed
@given(vary(RECORD).map(text) | DATA)
def test_any_record_of_a_payload_is_read_or_refused(folder, data):
    (folder / manifest.MANIFEST).write_bytes(data)
    record = manifest.read(folder)
    if record is not None:
        manifest.identity(record)
        installed.Installed(folder, folder, record)
        with OURS:
            glibc.check_record("thing", record, "2.28")
        for build_id in (record.get("build_ids") or {}).values():
            debug_data.path_of(build_id)
        json.dumps(record)
    report = audit.audit(folder)
    assert report.own
    json.dumps(show.as_data(folder, report))


@fuzzed
@given(DATA, DATA)
def test_any_lists_of_a_payload_are_read_or_refused(folder, contents, sums):
    (folder / manifest.MANIFEST).write_bytes(text(RECORD))
    (folder / manifest.CONTENTS).write_bytes(contents)
    (folder / manifest.SUMS).write_bytes(sums)
    json.dumps(show.as_data(folder, audit.audit(folder)))


@fuzzed
@given(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9)).map(text) | DATA)
def test_any_bill_of_materials_is_read_or_refused(folder, data):
    (folder / sbom.FILE).write_bytes(data)
    found = sbom.read(folder)
    if found is not None:
        sbom.components(found)


ENTRY = {
    "key": keys.hash_inputs(inputs()),
    "name": "thing",
    "version": "1.0",
    "profile": None,
    "payload": "a" * 64,
    "size": 1,
    "blob": "b" * 64,
    "inputs": inputs(),
    "debug": None,
    "signature": "",
}


def _add_key(data: dict[str, Any]) -> bytes:
    """Add the key that belongs to the inputs, since the reader checks it first."""
    with contextlib.suppress(Exception):
        data = {**data, "key": keys.hash_inputs(data["inputs"])}
    return text(data)


@fuzzed
@given(vary(ENTRY).map(_add_key) | DATA)
def test_any_entry_of_a_store_is_read_or_refused(data):
    with OURS:
        found = Entry.from_json(data)
        found.signed()
        assert Entry.from_json(found.to_json()) == found
        list(keys.host_differences(found.inputs, "x86_64", "2.36"))
        keys.differences(found.inputs, inputs())
        keys.matches(found.inputs, inputs())


@pytest.fixture
def store(tmp_path: Path) -> tuple[Store, Entry, Path]:
    found = Store(str(tmp_path / "store"), say=lambda _: None)
    entry = put(found, payload(tmp_path / "stored"))
    return found, entry, tmp_path / "store"


@fuzzed
@given(st.data())
def test_any_packed_payload_is_unpacked_or_refused(store, tmp_path_factory, data):
    found, entry, folder = store
    blob = folder / f"payloads/{entry.blob}.tar.zst"
    good = blob.read_bytes()
    try:
        blob.write_bytes(data.draw(mutations(good)))
        with OURS, blob.open("rb") as stream:
            pack.unpack(stream, tmp_path_factory.mktemp("x") / "tree", entry.payload)
        with OURS:
            list(found.find_faults(entry))
    finally:
        blob.write_bytes(good)


def mutations(good: bytes) -> st.SearchStrategy[bytes]:
    """Return bytes with some changes or a missing end."""
    change = st.tuples(st.integers(0, max(0, len(good) - 1)), st.integers(0, 255))

    def apply(changes: list[tuple[int, int]], end: int) -> bytes:
        data = bytearray(good)
        for place, value in changes:
            data[place] = value
        return bytes(data[: len(good) - end])

    sizes = st.integers(0, 3) | st.integers(0, len(good))
    return st.builds(apply, st.lists(change, max_size=6), sizes)


NUMBERS = st.one_of(
    st.integers(0, 0o7777), st.integers(-(2**55), 2**55 - 1), st.sampled_from([2**31, 2**32, -1])
)
KINDS = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, b"3", b"x"]
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "a/b", "../x", "/x", "a" * 300, "a\0b", "\udce4", "a/" * 200]),
        st.sampled_from(KINDS),
        NUMBERS,
        NUMBERS,
        st.sampled_from(["", "a", "../../x", "/etc/passwd"]),
    ),
    max_size=4,
)


def tar(members: list[tuple[str, bytes, int, int, str]]) -> bytes:
    made = b""
    number: Any = vars(tarfile)["itn"]
    for name, kind, mode, mtime, target in members:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        header = bytearray(member.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
        # tarfile refuses to write such numbers, so this uses GNU's base-256 encoding.
        last = len(header) - 512
        header[last + 100 : last + 108] = number(mode, 8, tarfile.GNU_FORMAT)
        header[last + 136 : last + 148] = number(mtime, 12, tarfile.GNU_FORMAT)
        header[last + 148 : last + 156] = b" " * 8
        header[last + 148 : last + 156] = b"%06o\0 " % sum(header[last:])
        made += bytes(header)
    return made + bytes(1024)


@fuzzed
@given(MEMBERS.map(tar).flatmap(lambda good: st.just(good) | mutations(good)), st.booleans())
def test_any_source_archive_is_unpacked_or_refused(tmp_path_factory, data, packed):
    folder = tmp_path_factory.mktemp("unpacked")
    archive = folder / "archive.tar"
    archive.write_bytes(gzip.compress(data, 1) if packed else data)
    with OURS:
        unpack.unpack(archive, folder / "tree", max_bytes=1 << 20, max_members=1000)
    assert {path.name for path in folder.iterdir()} <= {"archive.tar", "tree"}


def test_payload_with_a_mode_of_more_than_31_bits_is_refused(tmp_path):
    for mode in (1 << 31, 1 << 40, -1):
        archive = tmp_path / f"{mode}.tar"
        archive.write_bytes(tar([("a", tarfile.REGTYPE, mode, 0, "")]))
        with pytest.raises(RezbuildError, match="its mode is"):
            unpack.unpack(archive, tmp_path / f"tree{mode}")


BUILD = {"name": "x", "version": "1", "profile": "", "host": "", "seconds": 1.0, "jobs": 1}
BUILD |= {"size": 1, "at": 1.0}


@fuzzed
@given(vary(BUILD).map(lambda entry: text({"builds": [entry]})) | DATA)
def test_any_durations_are_read_or_ignored(folder, data):
    (folder / "durations.json").write_bytes(data)
    for record in durations._read(folder / "durations.json").values():
        assert record.key


@fuzzed
@given(DATA)
def test_any_build_note_is_read_or_ignored(folder, data):
    (folder / "rezbuild.key").write_bytes(data)
    BuildNote(folder).begin("key", ready=True)
    BuildNote(folder).confirms("key", folder)


FACTS = {"name": "x", "rezbuild": "1", "recipes": {"a": {"1": "r"}}, "platform": "linux"}
FACTS |= {"arch": "x86_64", "glibc": "2.36", "label": "", "cores": 2, "compiler": "gcc"}
FACTS |= {"machine": "x86_64-linux-gnu", "assembler": "as", "linker": "ld", "store": False}


@fuzzed
@given(vary(FACTS) | VALUES)
def test_any_facts_of_a_worker_are_read_or_ignored(data):
    found = Facts.read(data)
    if found is not None:
        assert found.host
        assert found.resources()
        assert isinstance(found.differences("1", {"a": {"1": "r"}}, ["a"]), list)


ORDER = {"id": "a", "name": "b", "version": "1", "profile": "fast", "revision": "r"}
ORDER |= {"dependencies": [], "attached": [], "cores": 1, "carry": False, "force": False}
RESULT = {"worker": "w", "place": "/p", "error": None, "entry": {}, "carried": False}
RESULT |= {"output": "", "logs": {}, "seconds": 1.0}


@fuzzed
@given(vary(ORDER).map(json.dumps) | VALUES | DATA)
def test_any_order_of_a_client_is_read_or_refused(data):
    with contextlib.suppress(ValueError):
        found = Order.from_json(data)
        assert Order.from_json(found.to_json()) == found
        assert str(found)


@fuzzed
@given(vary(RESULT).map(json.dumps) | VALUES | DATA)
def test_any_result_of_a_worker_is_read_or_refused(data):
    with contextlib.suppress(ValueError):
        found = Result.from_json(data)
        assert str(found.failure("/here"))


@fuzzed
@given(vary({"type": "StoreError", "message": "m", "tried": [], "advice": []}))
def test_any_report_of_an_error_is_read_or_ignored(data):
    assert isinstance(str(from_report(data)), str)


# Pickle instructions that build, look up, call and change, between random bytes.
_NAMES = [b"cdask._task_spec\nTask\n", b"cos\nsystem\n", b"X\x01\0\0\0a", b"K\x01"]
_PARTS = st.sampled_from([*_NAMES, *(bytes([byte]) for byte in b"()tRb}]02\x81\x85\x93Nasu.")])


@fuzzed
@given(st.lists(_PARTS | st.binary(max_size=3), max_size=20).map(b"".join))
def test_any_pickle_of_a_farm_is_read_or_refused(data):
    """It may fail with any unpickling error, which Dask treats as a broken message."""
    pytest.importorskip("distributed")
    known = (
        pickle.UnpicklingError,
        restricted_pickle.RefusedError,
        EOFError,
        ValueError,
        TypeError,
    )
    known += (IndexError, KeyError, AttributeError, UnicodeError, OverflowError, AssertionError)
    known += (NotImplementedError, ImportError, MemoryError, NameError, LookupError)
    with contextlib.suppress(*known):
        restricted_pickle.loads(data)


@fuzzed
@given(st.data())
def test_any_elf_file_is_read_or_refused(tmp_path_factory, small, data):
    path = tmp_path_factory.getbasetemp() / "mutated.so"
    path.write_bytes(data.draw(mutations(small)))
    lists = (sections.compressed_sections, sections.constants)
    for read in (reader.read, reader.build_id, *(lambda p, r=r: [*r(p)] for r in lists)):
        with OURS:
            read(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "libsmall.so"
    argv = ["cc", "-g", "-gz=zlib", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-", "-o", path]
    subprocess.run(argv, input=b"int answer(void) { return 42; }" + b"int x;" * 500, check=True)
    return path.read_bytes()


@fuzzed
@given(st.text(max_size=40) | st.binary(max_size=40).map(os.fsdecode))
def test_any_name_of_a_swapped_variant_is_handled(name):
    place = staging._place(name.replace("/", ""), "thing-1.0")
    if place is not None:
        assert place.parts[:2] == ("thing", "1.0")
        assert not place.is_absolute()
        assert ".." not in place.parts


@fuzzed
@given(st.binary(max_size=300))
def test_any_file_of_revoked_payloads_is_read_or_refused(folder, data):
    (folder / "revoked").write_bytes(data)
    with OURS:
        Store(str(folder), settings=Settings(folder, store_revoked=folder / "revoked"))


@fuzzed
@given(st.binary(max_size=300) | vary({"mediaType": "x", "verificationMaterial": {}}).map(text))
def test_any_sigstore_signature_is_verified_or_refused(folder, data):
    (folder / "x.tar").write_bytes(b"x")
    (folder / "x.tar.sigstore").write_bytes(data)
    with pytest.raises(RezbuildError):
        signatures.check(
            folder / "x.tar",
            folder / "x.tar.sigstore",
            Signed(".sigstore", (), "a@example.invalid", "https://example.invalid"),
        )


@fuzzed
@given(st.binary(max_size=300))
def test_any_openpgp_signature_is_verified_or_refused(folder, data):
    (folder / "x.tar").write_bytes(b"x")
    (folder / "x.tar.asc").write_bytes(data)
    key = next((Path(__file__).parents[2] / "packages/openssl/keys").glob("*.asc"))
    with pytest.raises(RezbuildError):
        signatures.check(folder / "x.tar", folder / "x.tar.asc", Signed(".asc", (key,)))


@fuzzed
@given(DATA)
def test_any_json_is_read_or_refused(data):
    with contextlib.suppress(ValueError):
        json.dumps(safe_files.parse_json(data))
