"""docs/reference/differences.md is generated from the data that the fidelity tests use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/e2e/fidelity"))
    import comparison
    import page

    try:
        assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run page.py"
        entries = comparison.load_intended()
        assert len(entries) <= 10
        assert all(entry.title and entry.reason.strip() for entry in entries)
    finally:
        for name in ("comparing", "page"):
            sys.modules.pop(name, None)
