"""Write docs/reference/differences.md from intended.toml."""

from __future__ import annotations

import sys
from pathlib import Path

from comparison import load_intended

PAGE = Path(__file__).parents[3] / "docs/reference/differences.md"
HEAD = """\
# Differences from stock CPython

This page is generated from `tests/e2e/fidelity/intended.toml`; do not edit it.

This page lists all {} differences that a program can notice. To find them, the tests build CPython
from the same archive, without our patches and with the same libraries. They run the same programs
on both and compare the results. A difference that is not listed here fails the tests.
"""


def page() -> str:
    """Return the text of the page."""
    entries = load_intended()
    sections = [f"## {entry.title}\n\n{entry.reason.strip()}\n" for entry in entries]
    return "\n".join([HEAD.format(len(entries)), *sections])


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("page.py takes no arguments")
    PAGE.write_text(page(), encoding="utf-8")
