"""Payloads that a worker keeps between jobs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from payloads import payload, put, tree, with_debug
from polling import wait_until

from rezbuild.errors import StoreError
from rezbuild.farm import payload_cache
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store

DAY = 24 * 3600


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return payload(tmp_path / "payload")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture
def store(tmp_path: Path, settings: Settings) -> Store:
    return Store(str(tmp_path / "store"), settings=settings)


@pytest.fixture
def entry(root: Path, store: Store) -> Entry:
    return put(store, root)


def test_cached_payload_is_reused(entry, store, settings, root, tmp_path):
    place = payload_cache.get_payload(entry, settings.cache, store)
    inode = place.stat().st_ino
    (tmp_path / f"store/payloads/{entry.blob}.tar.zst").unlink()
    assert payload_cache.get_payload(entry, settings.cache, store) == place
    assert place.stat().st_ino == inode
    assert tree(place) == tree(root)


@pytest.mark.parametrize("change", ["content", "more", "less", "mode", "pipe"])
def test_changed_payload_is_fetched_again(entry, store, settings, root, change):
    place = payload_cache.get_payload(entry, settings.cache, store)
    if change == "content":
        (place / "bin/program").write_text("#!/bin/sh\necho 43\n")
    elif change == "more":
        (place / "lib/more").touch()
    elif change == "less":
        (place / "lib/nothing").unlink()
    elif change == "mode":
        (place / "bin/program").chmod(0o777)
    else:
        os.mkfifo(place / "pipe")
    assert payload_cache.get_payload(entry, settings.cache, store) == place
    assert tree(place) == tree(root)


def test_changed_and_unavailable_payload_is_not_used(entry, store, settings, tmp_path):
    place = payload_cache.get_payload(entry, settings.cache, store)
    (place / "lib/more").touch()
    (tmp_path / f"store/payloads/{entry.blob}.tar.zst").unlink()
    with pytest.raises(StoreError):
        payload_cache.get_payload(entry, settings.cache, store)


def test_debug_data_comes_with_a_cached_payload(store, settings, root, tmp_path):
    entry = put(store, with_debug(root, settings))
    other = Settings(cache=tmp_path / "other")
    bare = Store(str(tmp_path / "store"))
    payload_cache.get_payload(entry, other.cache, bare)
    assert not (other.cache / "debug").exists()
    payload_cache.get_payload(entry, other.cache, Store(str(tmp_path / "store"), settings=other))
    assert tree(other.cache / "debug") == tree(settings.cache / "debug")


def make_older(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_unused_payloads_are_removed_after_a_week(entry, store, settings, tmp_path):
    said: list[str] = []
    place = payload_cache.get_payload(entry, settings.cache, store)
    own = Store(str(payload_cache.private_store(settings.cache)))
    built = payload_cache.private_store(settings.cache) / put(own, tmp_path / "payload").place
    ended = payload_cache.start_daily_cleanup(settings, said.append, 0.05)
    try:
        time.sleep(0.3)
        assert place.exists()
        assert built.exists()
        make_older(built, 8)
        wait_until(lambda: not built.exists())
        make_older(place, 8)
        wait_until(lambda: not place.exists())
    finally:
        ended.set()
    assert said == []


def test_failed_removal_ends_no_worker(entry, store, settings):
    place = payload_cache.get_payload(entry, settings.cache, store)
    make_older(place, 8)
    place.with_name(f"{place.name}.lock").unlink(missing_ok=True)
    place.with_name(f"{place.name}.lock").mkdir()
    said: list[str] = []
    payload_cache.start_daily_cleanup(settings, said.append).set()
    (one,) = said
    assert one.startswith(f"notice: {settings.cache / 'farm'} cannot be cleared: ")
