"""A reader of Dask's messages that runs no code: pickles make Python call any function they name.

Dask sends tasks and results as pickles (distributed/protocol/pickle.py). This reader looks up only
the names of a list. Any other name becomes a class that does nothing, so that the message can be
read
and refused.
"""

from __future__ import annotations

import io
import pickle
import struct
import types
from collections.abc import Iterable
from typing import Any, ClassVar

from rezbuild.util import words

# The parts of a job: plain data, one task, one function (see `rezbuild.farm.worker.build`).
_NAMES = {
    ("builtins", "bytearray"),
    ("builtins", "bytes"),
    ("builtins", "str"),
    ("builtins", "tuple"),
    ("dask._expr", "Expr._reconstruct"),
    ("dask._expr", "LLGExpr"),
    ("dask._task_spec", "Alias"),
    ("dask._task_spec", "Task"),
    ("dask._task_spec", "TaskRef"),
    ("rezbuild.farm.worker", "build"),
    # The scheduler's errors for a job whose workers have all died.
    ("distributed.scheduler", "KilledWorker"),
    ("distributed.scheduler", "NoValidWorkerError"),
    ("distributed.scheduler", "WorkerState"),
}


class RefusedError(Exception):
    """Replaces a class or function that a pickle may not name."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__(f"{type(self).__module__}.{type(self).__qualname__} is refused here")

    def __setstate__(self, _: object) -> None:
        """Ignore the state."""


# pickle's unpickler in Python. The public one, in C, cannot refuse an instruction.
_Base: Any = vars(pickle)["_Unpickler"]
_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class _Unpickler(_Base):  # type: ignore[misc]  # a class that mypy does not know
    """Looks up only the names of the list, and does not change the objects that they name.

    The instruction BUILD sets attributes. On a class or function of the list, it would change that
    class or function in the whole process.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_Base.dispatch)

    def _build(self) -> None:
        target = self.stack[-2]
        if isinstance(target, _NAMED):
            raise pickle.UnpicklingError(f"it would change {target!r}")
        super().load_build()

    dispatch[pickle.BUILD[0]] = _build

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMES:
            return super().find_class(module, name)
        return type(name, (RefusedError,), {"__module__": module})


def loads(data: Any, *, buffers: Iterable[Any] = (), **_: Any) -> Any:
    """Read a pickle, as ``pickle.loads`` does, with the names of the list only."""
    try:
        return _Unpickler(io.BytesIO(data), buffers=buffers).load()
    except struct.error as error:  # the pickle ends within a number
        raise pickle.UnpicklingError(words.reason(error)) from None


def restrict() -> None:
    """Make all of Dask in this process read pickles with `loads`."""
    # Dask has no setting for it any more. It gets its unpickler from these three modules.
    import distributed.client
    import distributed.protocol.pickle
    import distributed.scheduler

    ours = types.SimpleNamespace(**{**vars(pickle), "loads": loads})
    for module in (distributed.protocol.pickle, distributed.client, distributed.scheduler):
        vars(module)["pickle"] = ours
