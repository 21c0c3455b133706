"""The generated reference pages and the help text say the same as the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import reference_pages

from rezbuild import errors, settings
from rezbuild.cli import setting_texts

ROOT = Path(__file__).parents[3]
# Variables between processes of rezbuild, which users do not set.
INTERNAL = {
    "REZBUILD_EVENTS",
    "REZBUILD_JOBSERVER",
    "REZBUILD_REPORT",
    "REZBUILD_REZ",
    "REZBUILD_STORE_ENTRY",
    "REZBUILD_STORE_ENTRY_CHECKED",
    "REZBUILD_STORE_FRESH",
}


@pytest.mark.parametrize("name", reference_pages.PAGES)
def test_generated_page_is_up_to_date(name: str) -> None:
    page = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
    assert page == reference_pages.PAGES[name](), (
        "run: .venv/bin/python tests/support/reference_pages.py"
    )


def test_each_variable_of_the_code_has_a_text() -> None:
    texts = [text for group in setting_texts.GROUPS.values() for text in group]
    described = {name for text in texts for name in text.names}
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "rezbuild").rglob("*.py"))
    read = set(re.findall(r'"(REZBUILD_[A-Z_]*[A-Z])"', code)) - INTERNAL - set(settings.RENAMED)
    assert described - {"REZBUILD_<NAME>_VERSION"} == read
    for name in described:
        assert name in setting_texts.epilog()


def test_recipe_api_page_has_each_public_method_of_build() -> None:
    page = reference_pages.recipe_api_page()
    for name in ("configure", "make", "install", "run", "remove", "flags"):
        assert f"\n### {name}\n" in page
    assert "b.make(*arguments: str) -> None" in page


def test_each_exit_code_of_an_error_has_a_text() -> None:
    codes = {kind.exit_code for kind in errors.RezbuildError.__subclasses__()}
    assert codes | {0, 1, 130} == set(setting_texts.EXIT_CODES)


def test_help_text_fits_into_100_columns() -> None:
    assert max(map(len, setting_texts.epilog().splitlines())) <= 100
