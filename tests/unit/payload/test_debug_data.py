"""Debug data of small real files, stored and found by build-id."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rezbuild.audit import audit
from rezbuild.build import toolchain
from rezbuild.elf import reader
from rezbuild.errors import AuditError, BuildError, RelocationError
from rezbuild.payload import debug_data, manifest, relocate
from rezbuild.payload.dependency import Dependency

NAMED = "int deep(int x) { return x * 2; }\n"


@pytest.fixture
def payload(compile_c, tmp_path) -> Path:
    folder = tmp_path / "payload"
    mapped = f"-ffile-prefix-map={tmp_path}=."
    compile_c.library(f"{folder}/lib/libone.so", "-g", mapped, "-Wl,--build-id", source=NAMED)
    compile_c.program(f"{folder}/bin/program", "-g", mapped, "-Wl,--build-id")
    return folder


def keep(payload: Path, store: Path, find_names=lambda _: ()) -> dict[str, str]:
    return debug_data.keep(payload, store, shutil.which("objcopy") or "", find_names)


def test_debug_data_is_found_by_build_id(payload, tmp_path):
    store = tmp_path / "cache/debug"
    ids = keep(payload, store)
    assert set(ids) == {"bin/program", "lib/libone.so"}
    relocate.strip(payload, "strip")
    found = debug_data.find(Dependency("thing", "1.0", payload), store)
    assert {found[ids[name]] for name in ids} == {
        store / debug_data.path_of(i) for i in ids.values()
    }
    assert {reader.build_id(path): path for path in found.values()} == found
    data = found[ids["lib/libone.so"]]
    said = subprocess.run(
        ["readelf", "--debug-dump=info", data], capture_output=True, text=True, check=True
    ).stdout
    assert "deep" in said
    assert str(tmp_path) not in said
    assert [path.name for path in data.parent.iterdir()] == [data.name]


def test_debug_files_are_not_stripped_or_audited_as_libraries(payload, tmp_path):
    store = tmp_path / "store"
    keep(payload, store)
    before = {path: path.read_bytes() for path in reader.walk(store)}
    relocate.strip(store, "strip")
    plan = relocate.plan(store, ())
    relocate.apply(plan, store, toolchain.patchelf())
    assert {path: path.read_bytes() for path in reader.walk(store)} == before
    assert not audit(store, own=True).findings


def test_build_folder_in_debug_data_is_an_error(payload, tmp_path):
    def find_names(data: bytes) -> list[str]:
        return ["/the/place"] if b"deep" in data else []

    with pytest.raises(AuditError, match=r"libone.so contains /the/place"):
        keep(payload, tmp_path / "store", find_names)


def test_file_without_a_build_id_is_an_error(compile_c, payload, tmp_path):
    compile_c.library(f"{payload}/lib/libtwo.so", "-Wl,--build-id=none")
    with pytest.raises(BuildError, match=r"libtwo.so has no build-id"):
        keep(payload, tmp_path / "store")


def test_missing_debug_data_is_an_error(compile_c, payload, tmp_path):
    store = tmp_path / "store"
    keep(payload, store)
    compile_c.library(f"{payload}/deps/low/1.0/lib/liblow.so", "-Wl,--build-id")
    thing = Dependency("thing", "1.0", payload)
    assert len(debug_data.find(thing, store)) == 2, "what is bundled is another package's"
    ids = [reader.build_id(path) or "" for path in reader.walk(payload / "lib")]
    (store / debug_data.path_of(ids[0])).unlink()
    with pytest.raises(BuildError, match=r"thing-1\.0 is not in the cache") as caught:
        debug_data.find(thing, store)
    assert "lib/libone.so" in str(caught.value)
    assert "rezbuild build thing-1.0 --force" in str(caught.value)


def test_missing_objcopy_is_an_error(payload, tmp_path):
    with pytest.raises(RelocationError, match="/no/objcopy cannot be started"):
        debug_data.keep(payload, tmp_path / "store", "/no/objcopy", lambda _: ())


def test_another_build_has_other_build_ids():
    plain = {"fingerprint": "abc"}
    one, two = ({**plain, "build_ids": {"bin/x": i}} for i in ("01", "02"))
    assert manifest.identity(plain) == "abc"
    assert len({manifest.identity(record) for record in (plain, one, two)}) == 3
    assert manifest.identity(one) == manifest.identity(dict(one))
