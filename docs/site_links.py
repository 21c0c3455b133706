"""Hooks for mkdocs: bring the pages outside docs/ into the site, and mend links to them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Pages of the clone's top folder, by their names in the site.
OUTSIDE = {"README.md": "about.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the clone's top folder."""
    for name, site_name in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, site_name, content=mend(text, ROOT / site_name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mend the links of a page in docs/."""
    if page.file.src_uri in OUTSIDE.values():
        return markdown
    return mend(markdown, ROOT / "docs" / page.file.src_uri)


def mend(text: str, page: Path) -> str:
    """Return the text of a page with links that the site can follow; others become plain text."""
    here = page.parent if page.parent != ROOT else ROOT / "docs"

    def replace(found: re.Match[str]) -> str:
        mark, label, link, anchor = found.groups()
        if re.match(r"[a-z]+:", link):
            return found[0]
        target = os.path.relpath(os.path.normpath(page.parent / link), ROOT)
        inside = OUTSIDE.get(target) or target.partition("docs/")[2]
        if not inside:
            return label
        return f"{mark}[{label}]({os.path.relpath(ROOT / 'docs' / inside, here)}{anchor or ''})"

    return LINK.sub(replace, text)
