"""The pages about reliability in docs/development name a test for each line."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs/development").glob("reliability*.md"))
LINES = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
HEADS = ("| ---", "| fault |", "| input |")
ROWS = [line for line in LINES if line.startswith("| ") and not line.startswith(HEADS)]
# These tests check the implementation, not a fault.
HOW = {
    "test_bytes_of_names_are_escaped",
    "test_late_items_are_dropped",
    "test_valid_mirrors_are_accepted",
    "test_abandoned_transfer_ends",
    "test_limits_are_settings",
    "test_folder_instead_of_a_catalogue_is_refused",
}


def test_each_line_names_existing_tests() -> None:
    files = {
        path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py")
    }
    written = set(re.findall(r"^def (test_\w+)\(", "\n".join(files.values()), re.MULTILINE))
    assert len(ROWS) >= 50
    for row in ROWS:
        named = re.findall(r"\btest_\w+(?:\.py)?", row.rpartition(" | ")[2])
        assert any(not name.endswith(".py") for name in named), row
        assert {name for name in named if name.endswith(".py")} <= set(files), row
        assert {name for name in named if not name.endswith(".py")} <= written, row


def test_each_test_of_faults_is_listed() -> None:
    page = "\n".join(ROWS)
    for name in ("sources/test_network.py", "cli/test_bad_input.py", "files/test_bad_archives.py"):
        text = (ROOT / "tests/unit" / name).read_text(encoding="utf-8")
        left = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)) - set(
            re.findall(r"test_\w+", page)
        )
        assert left <= HOW, left
