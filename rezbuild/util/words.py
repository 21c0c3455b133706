"""Numbers of things, and reasons, as text."""

from __future__ import annotations

import re


def count(number: int, noun: str) -> str:
    """Return a number and a noun, e.g. ``1 package`` or ``2 packages``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def reason(error: BaseException) -> str:
    """Return the text of an exception without advice, or its type in words, e.g. "timeout error".

    Dask puts an object of Python before some texts: ``in <... object at 0x7f48>: OSError: ...``.
    Python puts a number before the texts of the system: ``[Errno 2] No such file ...``.
    """
    message = getattr(error, "message", None)  # of a RezbuildError
    text = message if isinstance(message, str) else str(error)
    text = without_number(re.sub(r"^in <[^>]*>: (\w+: )?", "", text))
    return text.strip() or _type_in_words(error)


def without_number(text: str) -> str:
    """Return a text of the system without its number, e.g. "No such file or directory"."""
    return re.sub(r"^\[Errno -?\d+\] ", "", text)


def _type_in_words(error: BaseException) -> str:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", type(error).__name__)
    return " ".join(word if word.isupper() else word.lower() for word in words)


def reason_of_cause(error: BaseException) -> str:
    """Return the text of the cause of an exception, or its own if the cause has no text."""
    cause = error.__cause__
    return reason(cause if cause is not None and str(cause) else error)
