"""Payloads that travel from a worker to the client."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from farm_facts import FACTS
from payloads import FINGERPRINT, inputs, payload, put, tree, with_debug

import rezbuild
from rezbuild.catalogue import sources_toml
from rezbuild.errors import StoreError
from rezbuild.farm import driver, job_process
from rezbuild.farm.messages import Result
from rezbuild.farm.payload_transport import PayloadTransport
from rezbuild.files.pack import digest
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return payload(tmp_path / "payload")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def own_store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "own"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


def test_payload_in_the_shared_store_is_used(root, store, own_store, tmp_path):
    entry = put(store, root)
    assert job_process.find_or_store(inputs(), root, store, own_store) == (entry, store)
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("damage", ["none", "truncated", "another"])
def test_damaged_store_entry_makes_the_payload_travel(root, store, own_store, tmp_path, damage):
    """The store is not writable."""
    entry = put(store, root)
    blob = tmp_path / f"store/payloads/{entry.blob}.tar.zst"
    if damage == "none":
        blob.unlink()
    elif damage == "truncated":
        os.truncate(blob, 100)
    else:
        (root / "lib/more").touch()
    made, holder = job_process.find_or_store(inputs(), root, store, own_store)
    assert holder is own_store
    assert made.payload == digest(root)
    own_store.restore(made, tmp_path / "taken")
    assert tree(tmp_path / "taken") == tree(root)


def result(entry: Entry, *, carried: bool) -> Result:
    return Result("one", "/w/job", entry=json.loads(entry.to_json()), carried=carried)


def test_entry_of_the_shared_store_is_checked(root, store, settings, tmp_path):
    entry = put(store, root)
    transport = PayloadTransport(tmp_path, str(tmp_path / "store"), settings)
    kept = transport.receive("thing", "1.0", result(entry, carried=False), ())
    assert kept == (entry, str(tmp_path / "store"))


def test_different_store_of_a_worker_is_an_error(root, store, settings, tmp_path):
    entry = put(store, root)
    transport = PayloadTransport(tmp_path, str(tmp_path / "here"), settings)
    with pytest.raises(StoreError) as caught:
        transport.receive("thing", "1.0", result(entry, carried=False), ())
    assert (
        f"it is not in {tmp_path / 'here'}: the worker's REZBUILD_STORE may be another store"
        in caught.value.message
    )
    assert "REZBUILD_STORE" in caught.value.advice[0]


def test_debug_data_travels_with_its_payload(root, settings, tmp_path):
    """With a result, and with the jobs that are built against it."""
    worker = Store(str(tmp_path / "worker"), settings=settings)
    entry = replace(put(worker, with_debug(root, settings)), signature="")
    assert entry.debug
    here = Settings(cache=tmp_path / "cache here")
    transport = PayloadTransport(tmp_path, "", here)
    blobs = (worker.read_payload(entry), worker.read_debug(entry))
    made, url = transport.receive("thing", "1.0", result(entry, carried=True), blobs)
    assert made == entry
    Store(url, settings=here).restore(made, tmp_path / "taken")
    assert tree(here.cache / "debug") == tree(settings.cache / "debug")
    (read,) = transport.readers([transport.entry(Dependency("thing", "1.0", root))]).values()
    assert tuple(read()) == blobs


SOURCES = f"""\
default = "1.0"
license = "MIT"
file = "thing-{{version}}.tar.gz"
urls = ["https://upstream.invalid/{{file}}"]
profiled = true
[versions."1.0"]
sha256 = "{"0" * 64}"
"""


def test_payloads_in_the_store_do_not_travel(root, tmp_path):
    """All known inputs must match, so that the plan is correct."""
    folder = tmp_path / "thing"
    folder.mkdir()
    for name in ("package.py", "recipe.py"):
        (folder / name).touch()
    (folder / "sources.toml").write_text(SOURCES)
    recipe = sources_toml.load(folder)
    release = recipe.release("1.0")
    fits = {
        "name": "thing",
        "version": "1.0",
        "profile": "fast",
        "recipe": manifest.recipe_revision(recipe, release),
        "rezbuild": rezbuild.__version__,
        "compiler": FACTS.compiler,
        "assembler": FACTS.assembler,
        "linker": FACTS.linker,
        "machine": FACTS.machine,
        "glibc": FACTS.glibc,
        "fingerprint": FINGERPRINT,
    }

    def is_stored(profile: str = "fast", **more: str) -> bool:
        made, store = {**fits, **more}, Store(str(tmp_path / f"store {profile} {more}"))
        store.put("thing", "1.0", made["profile"], keys.hash_inputs(made), made, root)
        return driver.has_payload(store, recipe, release, profile, FACTS)

    assert is_stored()
    assert not is_stored("optimized")
    inputs = ("recipe", "rezbuild", "compiler", "assembler", "linker", "machine", "glibc")
    for what in (*inputs, "glibc_floor"):
        assert not is_stored(**{what: "another"}), what
    assert not driver.has_payload(None, recipe, release, "fast", FACTS)
