from __future__ import annotations

import json
import runpy

import pytest

from rezbuild.errors import RezbuildError, UsageError
from rezbuild.payload import manifest
from rezbuild.run import export_uv


@pytest.mark.parametrize(
    ("name", "version", "key"),
    [
        ("python", "3.11.2", "cpython-3.11.2-linux-x86_64-gnu"),
        ("python", "3.15.0rc1", "cpython-3.15.0rc1-linux-x86_64-gnu"),
        ("python_freethreading", "3.13.5", "cpython-3.13.5+freethreaded-linux-x86_64-gnu"),
    ],
)
def test_key_is_the_name_that_uv_gives(name, version, key):
    record = {"name": name, "version": version, "machine": "x86_64-linux-gnu"}
    assert export_uv.key_of(export_uv.entry_of(record, "0" * 64)) == key


def test_paths_below_the_prefix_become_paths_that_uv_replaces():
    text = export_uv.literal({"LIBDIR": "/a b/lib", "QUOTED": "'x' \\", "SIZE": 8}, "/a b")
    assert text.startswith("# system configuration generated and used by the sysconfig module\n")
    values, _, _ = text.partition("}\n")
    found: dict[str, object] = {}
    exec(values + "}", found)
    assert found["build_time_vars"] == {"LIBDIR": "/install/lib", "QUOTED": "'x' \\", "SIZE": 8}


def test_values_name_the_folder_if_a_tool_only_unpacks_the_archive(tmp_path):
    values = {"INSTALL": "/usr/bin/install -c", "LIBDIR": "/p/lib", "SIZE": 8}
    module = tmp_path / "lib/python3.11/_sysconfigdata.py"
    module.parent.mkdir(parents=True)
    module.write_text(export_uv.literal(values, "/p"))
    found = runpy.run_path(str(module))["build_time_vars"]
    assert found == {**values, "LIBDIR": f"{tmp_path}/lib"}


@pytest.mark.parametrize("value", ["a\tb", "a\nb", 1.5, None])
def test_variable_that_uv_cannot_read_is_refused(value):
    with pytest.raises(RezbuildError, match="the variable CC of sysconfig has a form that uv does"):
        export_uv.literal({"CC": value}, "/p")


@pytest.mark.parametrize("changed", [{"version": "3"}, {"machine": "x86_64"}, {"machine": None}])
def test_damaged_record_is_refused(changed, tmp_path):
    record = {"name": "python", "version": "3.11.2", "machine": "x86_64-linux-gnu"}
    text = json.dumps({**record, "fingerprint": "0" * 64, **changed})
    (tmp_path / manifest.MANIFEST).write_text(text)
    with pytest.raises(UsageError, match=r"the record of .* is damaged"):
        export_uv.check(tmp_path)


def test_folder_without_a_record_is_no_payload(tmp_path):
    with pytest.raises(UsageError, match="is not a payload of rezbuild"):
        export_uv.check(tmp_path)
