"""Numbers of things, and reasons, as text."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number and a noun, e.g. ``1 package`` or ``2 packages``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def reason(error: BaseException) -> str:
    """Return the text of an exception, or its type: e.g. a TimeoutError has no text."""
    return str(error) or type(error).__name__
