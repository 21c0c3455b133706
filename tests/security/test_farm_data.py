"""Data that a worker, a scheduler or a client of a farm may send."""

from __future__ import annotations

import importlib
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rezbuild.build import toolchain
from rezbuild.errors import MachineError, RezbuildError, from_report
from rezbuild.farm import job_runner, restricted_pickle
from rezbuild.farm.messages import Order, Result
from rezbuild.farm.remote_task import RemoteTask
from rezbuild.store import key as keys

GOOD = {"worker": "one", "place": "/p", "error": None, "entry": {}, "carried": False}
GOOD |= {"output": "", "logs": {}, "seconds": 1.0}
ODD: list[Any] = [None, 7, "x", [], {}, True, [1], {"a": 1}, 1e400]


def test_result_is_read(tmp_path):
    assert job_runner.read_result((json.dumps(GOOD), b"x"))[0].worker == "one"


def is_accepted(field: str, value: Any) -> bool:
    """Return whether a result with this field is accepted; then it must be usable."""
    try:
        found, _ = job_runner.read_result((json.dumps({**GOOD, field: value}),))
    except MachineError:
        return False
    assert isinstance(found.failure("/here"), (RezbuildError, type(None)))
    return True


@pytest.mark.parametrize("field", sorted(GOOD))
def test_result_of_another_type_is_an_error_of_its_worker(field):
    assert sum(is_accepted(field, value) for value in ODD) <= len(ODD) - 4


@pytest.mark.parametrize(
    "came",
    [(), (7,), (b"x",), ("[" * 100_000,), ("{}",), ("[]",), (json.dumps(GOOD), "no bytes"), 7],
)
def test_unexpected_result_is_an_error_of_its_worker(came):
    with pytest.raises(MachineError, match="an invalid result"):
        job_runner.read_result(came)


def test_unexpected_report_is_an_error():
    for value in ODD:
        for kind in ("StoreError", "SeveralFailedError", "RezbuildError", value):
            found = from_report({"type": kind, "message": value, "tried": value, "advice": value})
            assert isinstance(found, RezbuildError)
            assert str(found)


def test_unexpected_progress_is_shown_or_ignored(tmp_path):
    remote = RemoteTask("x", tmp_path / "log", tmp_path, lambda: None)
    for value in ODD:
        remote.on_event({"name": value, "place": value, "lines": value, "events": value})
        event = {"kind": value, "text": value, "step": value}
        remote.on_event({"name": value, "place": value, "events": [value, event]})
    assert remote.poll().status is None
    remote.wait()


_SCALARS = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(_SCALARS, lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_orders_and_results_are_read_or_refused(data):
    for kind in (Order, Result):
        for sent in (json.dumps(data), data):
            with pytest.raises(ValueError):
                kind.from_json(sent)


class Changed:
    """A pickle that changes an allowed class."""

    def __init__(self, name: tuple[str, str], state: Any) -> None:
        self.name, self.state = name, state

    def to_bytes(self) -> bytes:
        module, name = (bytes([len(text)]) + text.encode() for text in self.name)
        short = pickle.SHORT_BINUNICODE
        head = pickle.PROTO + b"\x04" + short + module + short + name + pickle.STACK_GLOBAL
        state = pickle.dumps(self.state, protocol=4)[2:-1]
        # The unpickler also reads a frame inside a pickle.
        return head + state + pickle.BUILD + pickle.STOP


@pytest.mark.parametrize("name", sorted(restricted_pickle._NAMES))
@pytest.mark.parametrize("state", [(None, {"evil": 1}), {"evil": 1}])
def test_pickle_changes_nothing_that_is_allowed(name, state):
    """A BUILD instruction sets attributes of a class for the whole process."""
    pytest.importorskip("distributed")
    target: Any = importlib.import_module(name[0])
    for part in name[1].split("."):
        target = getattr(target, part)
    with pytest.raises(pickle.UnpicklingError, match="would change"):
        restricted_pickle.loads(Changed(name, state).to_bytes())
    assert not hasattr(target, "evil")


def test_plain_data_is_still_read():
    data = {"a": [1, (2, b"x")], "b": bytearray(b"y")}
    assert restricted_pickle.loads(pickle.dumps(data, protocol=5)) == data


MINE = {
    "machine": "x86_64-linux-gnu",
    "glibc": "2.36",
    "environment": {"LDFLAGS": toolchain.LINK_FLAGS, "CFLAGS": " ".join(toolchain.PROTECTED)},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": "aarch64-linux-gnu"}, "its machine is aarch64"),
        ({"machine": 7}, "its machine is 7"),
        ({"glibc": "2.28"}, "its glibc is 2.28"),
        ({"glibc": None}, "its glibc is None"),
        ({"environment": {"LDFLAGS": "", "CFLAGS": ""}}, "its LDFLAGS are"),
        (
            {"environment": {**MINE["environment"], "CFLAGS": "-O3 -march=native"}},
            "CFLAGS have -O3",
        ),
        ({"environment": ["x"]}, "its LDFLAGS are None"),
    ],
)
def test_entry_of_another_host_kind_is_refused(change, said):
    assert list(keys.host_differences(MINE, "x86_64", "2.36")) == []
    assert said in "\n".join(keys.host_differences({**MINE, **change}, "x86_64", "2.36"))
