"""What Dask's messages may hold: pickles make Python call what they name.

Dask sends tasks and results as pickles (distributed/protocol/pickle.py), and whoever reads one runs
what it says. Here only the names of a list are looked up; any other stands for a class that does
nothing, so that the message can be read and what it meant can be refused.
"""

from __future__ import annotations

import io
import pickle
import struct
import types
from collections.abc import Iterable
from typing import Any, ClassVar

# What a job is made of: plain data, one task, one function (see `rezbuild.farm.worker.build`).
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
    # What the scheduler says of a job whose workers have all died.
    ("distributed.scheduler", "KilledWorker"),
    ("distributed.scheduler", "NoValidWorkerError"),
    ("distributed.scheduler", "WorkerState"),
}


class RefusedError(Exception):
    """Stands for what a pickle names and may not have."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__(f"{type(self).__module__}.{type(self).__qualname__} is refused here")

    def __setstate__(self, _: object) -> None:
        """Takes nothing on."""


# pickle's unpickler in Python; the public one, in C, cannot refuse an instruction.
_Base: Any = vars(pickle)["_Unpickler"]
_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class _Unpickler(_Base):  # type: ignore[misc]  # known when it runs
    """Looks up the names of the list only, and changes none of the objects that they name.

    The one instruction that sets attributes is BUILD. On a class or function of the list it would
    change that for the whole process.
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
    """``pickle.loads``, for what is in the list."""
    try:
        return _Unpickler(io.BytesIO(data), buffers=buffers).load()
    except struct.error as error:  # it is cut off within a number
        raise pickle.UnpicklingError(str(error)) from None


def restrict() -> None:
    """Has all of Dask in this process read pickles in this way, for good."""
    # Dask has no setting for it (distributed.scheduler.pickle is gone). These three modules are
    # where it gets its unpickler from.
    import distributed.client
    import distributed.protocol.pickle
    import distributed.scheduler

    ours = types.SimpleNamespace(**{**vars(pickle), "loads": loads})
    for module in (distributed.protocol.pickle, distributed.client, distributed.scheduler):
        vars(module)["pickle"] = ours
