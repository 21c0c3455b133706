"""An iterator with a timeout for each item.

The timeout of a socket starts again with each byte, so a server that sends single bytes can delay
its reader for hours. Here a thread reads, and the consumer waits with its own timeout.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import Generic, TypeVar, Union

T = TypeVar("T")
_AHEAD = 8  # items that are produced in advance


class TimedIterator(Generic[T]):
    """A generator that runs in a thread; use it in a ``with`` statement.

    Args:
        items: The generator; nothing else may use it.
    """

    def __init__(self, items: Generator[T]) -> None:
        self._items = items
        self._ready: queue.Queue[Union[tuple[T], BaseException, None]] = queue.Queue(_AHEAD)
        self._over = threading.Event()

    def __enter__(self) -> TimedIterator[T]:
        # A daemon: a thread that is stuck must not keep the process from ending.
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # The thread may wait for room in the queue; it then checks `_over`.
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()

    def next(self, seconds: float | None) -> T | None:
        """Return the next item, or None at the end.

        Args:
            seconds: The timeout; None: no limit.

        Raises:
            TimeoutError: No item arrived in time.
            BaseException: The exception of the generator.
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
        except BaseException as error:  # noqa: BLE001 (raised again in the consumer)
            last = error
        self._ready.put(last)
