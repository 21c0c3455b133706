"""Items of an iterator that nobody has to wait for without an end.

A socket's timeout begins anew with each byte: a server that sends one now and then, in the body, in
the headers or in the handshake, holds its reader for hours. So a thread reads, and whoever wants
the items waits as long as he likes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import Generic, TypeVar, Union

T = TypeVar("T")
_AHEAD = 8  # items that are made before they are wanted


class TimedIterator(Generic[T]):
    """A generator that runs in a thread of its own, to be used in a ``with`` statement.

    Args:
        items: Nobody else may touch it.
    """

    def __init__(self, items: Generator[T]) -> None:
        self._items = items
        self._ready: queue.Queue[Union[tuple[T], BaseException, None]] = queue.Queue(_AHEAD)
        self._over = threading.Event()

    def __enter__(self) -> TimedIterator[T]:
        # Where it is stuck it stays behind, and must not keep the process from ending.
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # It may be waiting for a free place, and looks up then.
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()

    def next(self, seconds: float | None) -> T | None:
        """The next item; None at the end.

        Args:
            seconds: How long to wait for it; None: for ever.

        Raises:
            TimeoutError: It did not come.
            BaseException: What the generator raised.
        """
        try:
            found = self._ready.get(timeout=None if seconds is None else max(seconds, 0))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, BaseException):
            raise found
        return None if found is None else found[0]

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            with contextlib.closing(self._items):
                for item in self._items:
                    self._ready.put((item,))
                    if self._over.is_set():
                        return
        except BaseException as error:  # noqa: BLE001 (it belongs to whoever waits)
            last = error
        self._ready.put(last)
