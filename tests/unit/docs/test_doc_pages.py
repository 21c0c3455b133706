"""Links, line lengths and sizes of the README and of the pages in docs/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

# A list of all changes, pages that are generated from the code, and a table of all keys.
LONG = (
    "CHANGELOG.md",
    "docs/reference/commands.md",
    "docs/reference/json.md",
    "docs/reference/recipe-api.md",
)


def prose(text: str) -> str:
    """Return a page without its blocks of code; blocks leave empty lines."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", lambda found: "\n" * found[0].count("\n"), text)
    return re.sub(r"(?m)^    .*$", "", text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#+ (.*)$", prose(page.read_text(encoding="utf-8"))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    page = ROOT / name
    text = prose(page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_page_is_in_the_index() -> None:
    index = ROOT / "docs/index.md"
    links = re.findall(r"\]\(([^)#\s]+)\)", index.read_text(encoding="utf-8"))
    listed = {(index.parent / link).resolve() for link in links}
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert pages - {index} == listed & pages


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])
def test_lines_of_prose_fit_into_100_columns(name: str) -> None:
    text = prose((ROOT / name).read_text(encoding="utf-8"))
    assert not [line for line in text.splitlines() if len(line) > 100 and line[0] != "|"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONG])
def test_pages_have_at_most_200_lines(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 200


def test_pages_that_messages_name_exist() -> None:
    files = [path for folder in ("rezbuild", "packages") for path in (ROOT / folder).rglob("*.*")]
    files = [path for path in files if path.suffix in (".py", ".toml", ".sh")]
    # packages/*/build has the sources of a running build.
    files = [path for path in files if "build" not in path.relative_to(ROOT).parts[2:3]]
    for path in (*PAGES, *files):
        for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), (path, name)


def test_messages_that_troubleshooting_quotes_are_in_the_code() -> None:
    page = (ROOT / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")
    files = [path for path in (ROOT / "rezbuild").rglob("*") if path.suffix in (".py", ".sh")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    quoted = re.findall(r'(?m)^## (?!rez-)[^"\n]*"([^"]+)"', page)
    assert len(quoted) >= 4
    for part in (part for message in quoted for part in re.split(r"…|\d+", message)):
        assert part.strip() in code, part
