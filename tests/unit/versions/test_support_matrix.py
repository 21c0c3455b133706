"""The generated page about tested versions."""

from __future__ import annotations

from pathlib import Path

from rezbuild.cli.main import main
from rezbuild.plan import resolve
from rezbuild.versions import support_matrix

ROOT = Path(__file__).parents[3]
THING = """\
default = "1.2"
license = "Zlib"
file = "thing-{version}.tar.gz"
urls = ["https://example.invalid/{file}"]
[versions."1.1"]
sha256 = "%s"
[versions."1.2"]
sha256 = "%s"
tested = [
    { on = "2026-12-01", host = "debian12", compiler = "gcc-12.2", suites = ["e2e", "check"] },
    { on = "2026-12-02", host = "el9", compiler = "clang-18", profile = ["fast", "optimized"] },
]
"""


def test_page_is_up_to_date():
    page = (ROOT / "docs/reference/support-matrix.md").read_text(encoding="utf-8")
    fresh = support_matrix.page(resolve.recipes(ROOT / "packages").values())
    assert page == fresh, "run: rezbuild versions --markdown > docs/reference/support-matrix.md"


def test_page_lists_versions_with_and_without_records(tmp_path, capsys):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/sources.toml").write_text(THING % ("1" * 64, "2" * 64), encoding="utf-8")
    assert main(["versions", "--markdown", "--recipes", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("| thing | **1.2** | el9 | clang-18 | fast, optimized | | 2026-12-02 |")
    assert lines[first + 1] == (
        "| thing | **1.2** | debian12 | gcc-12.2 | | check, e2e | 2026-12-01 |"
    )
    assert lines[-1] == "| thing | 1.1 |"
