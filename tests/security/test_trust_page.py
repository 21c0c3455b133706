"""docs/explanation/trust.md names a test for each attack."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/explanation/trust.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.partition("| attack |")[2].splitlines() if line.startswith("| ")]


def test_each_attack_names_existing_tests():
    assert len(ROWS) > 30
    for row in ROWS[1:]:
        file, *names = re.findall(r"\btest_\w+(?:\.py)?", row.rpartition(" | ")[2]) or [""]
        if file:
            text = (Path(__file__).parent / file).read_text(encoding="utf-8")
            assert names, row
            for name in names:
                assert f"def {name}(" in text, (file, name)


def test_each_file_of_attacks_is_on_the_page():
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    assert files - set(re.findall(r"test_\w+\.py", PAGE)) == {Path(__file__).name}
