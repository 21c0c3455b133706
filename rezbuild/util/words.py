"""Numbers of things, and reasons, as text."""

from __future__ import annotations

import re


def count(number: int, noun: str) -> str:
    """Return a number and a noun, e.g. ``1 package`` or ``2 packages``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def reason(error: BaseException) -> str:
    """Return the text of an exception, or its type: e.g. a TimeoutError has no text.

    Dask puts an object of Python before some texts: ``in <... object at 0x7f48>: OSError: ...``.
    """
    return re.sub(r"^in <[^>]*>: (\w+: )?", "", str(error)) or type(error).__name__


def reason_of_cause(error: BaseException) -> str:
    """Return the text of the cause of an exception, or its own if the cause has no text."""
    cause = error.__cause__
    return reason(cause if cause is not None and str(cause) else error)
