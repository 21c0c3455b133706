"""Lists, verification and removal of a store's entries."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import json_page
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from payloads import payload, put, tree

from rezbuild.cli import main
from rezbuild.errors import StoreError
from rezbuild.store import Entry, Store, maintain

DAY = 24 * 3600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def entries(tmp_path: Path, folder: Path) -> list[Entry]:
    """Store two versions of one package, and another package with the payload of the first."""
    store = Store(str(folder))
    roots = [payload(tmp_path / version, version=version) for version in ("1.0", "2.0")]
    return [*(put(store, root) for root in roots), put(store, roots[0], compiler="another")]


def make_older(folder: Path, place: str, days: float) -> None:
    path = folder / place
    then = path.stat().st_mtime - days * DAY
    os.utime(path, (then, then))


def blob(entry: Entry) -> str:
    return f"payloads/{entry.blob}.tar.zst"


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main.main(["store", *argv])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def store_setting(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("REZBUILD_STORE", str(folder))


def test_list_of_an_unknown_package_fails(entries, folder, store_setting, capsys):
    code, out, err = run(capsys, "list", "nope")
    assert (code, out) == (14, "")
    assert "has no package nope" in err


@pytest.mark.parametrize("glibc", ["2.17", "2.2.5"])
def test_list_shows_the_glibc_that_a_payload_needs(tmp_path, folder, store_setting, capsys, glibc):
    """The builder has a newer glibc. Older entries do not know, and have no such field."""
    store = Store(str(folder))
    put(store, payload(tmp_path / "new", version="1.0", glibc=glibc), glibc="2.36")
    old = put(store, payload(tmp_path / "old", version="2.0"), glibc="2.36")
    out = run(capsys, "list")[1]
    assert glibc in out
    assert "2.36" not in out
    assert "glibc" not in json.loads((folder / old.place).read_text())


def test_list_prints_entries(entries, folder, store_setting, capsys):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["thing", "1.0"],
        ["thing", "1.0"],
        ["thing", "2.0"],
    ]
    assert "another" in out
    (folder / "readme.txt").write_text("of the studio's own")
    (folder / entries[0].place).write_text("damaged")
    code, out, err = run(capsys, "list", "thing", "--json")
    assert code == 0
    found = [Entry.from_json(json.dumps(one)) for one in json_page.read(out)["entries"]]
    assert sorted(found, key=lambda e: e.key) == sorted(entries[1:], key=lambda e: e.key)
    assert err == f"notice: {entries[0].place}: the entry is invalid\n"


def test_verify_accepts_valid_entries(entries, folder, store_setting, capsys):
    code, out, err = run(capsys, "verify")
    assert (code, err) == (0, "")
    assert out == "".join(sorted(f"{entry.place}: ok\n" for entry in entries))


def test_verify_finds_and_removes_damaged_entries(entries, folder, store_setting, capsys):
    one, two, three = entries
    os.truncate(folder / blob(two), 50)
    shutil.copy(folder / one.place, (folder / one.place).with_name(f"{'0' * 64}.json"))
    before = tree(folder)
    code, out, err = run(capsys, "verify")
    assert code == 12
    assert f"{blob(two)}: it has 50 bytes, not {two.size}\n" in out
    assert f"{two.place}: it names a damaged file\n" in out
    assert f"thing/1.0/{'0' * 64}.json: the entry belongs to another package or key\n" in out
    assert f"{one.place}: ok\n" in out
    assert "3 damaged files" in err
    assert tree(folder) == before
    code, out, _ = run(capsys, "verify", "--remove")
    assert code == 12
    assert out.count("; removed\n") == 3
    assert run(capsys, "verify")[0] == 0
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {one.place, three.place, blob(one)}


def test_prune_removes_old_entries(entries, folder, store_setting, capsys):
    one, two, three = entries
    for place in (one.place, two.place, blob(one), blob(two)):
        make_older(folder, place, 40)
    before = tree(folder)
    code, out, _ = run(capsys, "prune", "--keep-days", "30", "--dry-run")
    assert code == 0
    said = [
        f"{one.place}: 40 days old",
        f"{two.place}: 40 days old",
        f"{blob(two)}: no entry names it",
    ]
    assert out.splitlines() == [*said, "3 files would be removed"]
    assert tree(folder) == before
    _, out, _ = run(capsys, "prune", "--keep-days", "30")
    assert out.splitlines() == [*(f"{line}; removed" for line in said), "3 files removed"]
    # The payload of the remaining entry still exists.
    assert run(capsys, "verify")[:2] == (0, f"{three.place}: ok\n")


def test_prune_removes_unreferenced_payloads_after_a_day(entries, folder, store_setting, capsys):
    one, two, _ = entries
    (folder / two.place).unlink()
    (folder / "payloads/.part-killed").touch()
    (folder / "thing/1.0/.part-killed").touch()
    (folder / "payloads/of-the-studios-own").touch()
    # Its writer may be about to write the entry.
    assert run(capsys, "prune", "--unused")[1] == "0 files removed\n"
    for path in folder.rglob("*"):
        make_older(folder, path.relative_to(folder).as_posix(), 1.1)
    _, out, _ = run(capsys, "prune", "--unused")
    gone = (blob(two), "payloads/.part-killed", "thing/1.0/.part-killed")
    said = [f"{place}: no entry names it; removed" for place in gone]
    assert sorted(out.splitlines()) == sorted([*said, "3 files removed"])
    assert (folder / blob(one)).exists()
    assert (folder / "payloads/of-the-studios-own").exists()
    assert run(capsys, "verify")[0] == 0


def test_prune_keeps_entries_with_other_signatures(
    entries, folder, store_setting, tmp_path, monkeypatch, capsys
):
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "key").write_bytes(key.public_bytes(pem, form))
    for path in folder.glob("payloads/*"):
        make_older(folder, path.relative_to(folder).as_posix(), 40)
    monkeypatch.setenv("REZBUILD_STORE_TRUST", str(tmp_path / "key"))
    assert run(capsys, "prune", "--unused")[1] == "0 files removed\n"
    code, out, _ = run(capsys, "verify")
    assert (code, out.count(": the entry has no signature\n")) == (12, 3)


def test_rewritten_blob_is_kept(entries, folder, tmp_path):
    """An upload has found the blob and has not written its entry yet."""
    two = entries[1]
    (folder / two.place).unlink()
    make_older(folder, blob(two), 40)
    put(Store(str(folder)), tmp_path / "2.0")
    (folder / two.place).unlink()
    assert list(maintain.prune(Store(str(folder)), days=None, unused=True)) == []


def test_blob_rewritten_during_prune_is_kept(entries, folder, tmp_path):
    two, store = entries[1], Store(str(folder))
    another = put(store, tmp_path / "2.0", compiler="another")
    (folder / two.place).unlink()
    for place in (another.place, blob(two)):
        make_older(folder, place, 40)
    going = maintain.prune(store, days=30, unused=True)
    # All entries have been listed at this moment.
    assert next(going).place == another.place
    put(store, tmp_path / "2.0")
    assert list(going) == []
    store.restore(two, tmp_path / "taken")


def test_unreadable_store_is_not_pruned(entries, folder, tmp_path):
    store = Store(str(folder))
    (folder / entries[0].place).unlink()
    (folder / entries[0].place).mkdir()
    with pytest.raises(StoreError, match="cannot be read: Is a directory"):
        list(maintain.prune(store, days=None, unused=True, young=-1))
    assert (folder / blob(entries[0])).exists()


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["prune"], 2, "prune requires --keep-days or --unused"),
        (["add", "thing"], 14, "no version of thing in 'thing' is installed"),
        (["add", "~zlib"], 2, "excludes a package"),
    ],
)
def test_invalid_arguments_are_refused(folder, store_setting, capsys, argv, code, said):
    found, _, err = run(capsys, *argv)
    assert found == code
    assert said in err
    assert "\n  next:  " in err


def test_missing_store_setting_is_reported(monkeypatch, capsys):
    monkeypatch.delenv("REZBUILD_STORE", raising=False)
    for command in (["list"], ["verify"], ["prune", "--unused"], ["add", "zlib"]):
        code, _, err = run(capsys, *command)
        assert code == 2
        assert "set REZBUILD_STORE" in err
