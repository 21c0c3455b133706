"""A page of HTML, with checks that need no browser: nesting, loads, names for screen readers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = ("meta", "br")
# Attributes by which a page loads something, and tags that run or load something.
_LOADS = {"src", "srcset", "poster", "data", "background", "action", "formaction", "ping"}
_ACTIVE = {"script", "link", "iframe", "object", "embed", "img", "base", "form", "image", "use"}


class Page(HTMLParser):
    """A page, whose tags must be closed in order.

    Attributes:
        tags: Each tag with its attributes.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def attributes(self, *tags: str) -> list[dict[str, str | None]]:
        """Return the attributes of some kinds of tags."""
        return [found for tag, found in self.tags if tag in tags]

    def check(self) -> None:
        """Check that the page loads nothing, and that all of it has names and can be reached."""
        names = [tag for tag, _ in self.tags]
        assert not _ACTIVE.intersection(names)
        assert not [found for _, found in self.tags if _LOADS.intersection(found)]
        (style,) = re.findall(r"(?s)<style>(.*?)</style>", self.text)
        assert "url(" not in style
        assert "@import" not in style
        assert not [key for _, found in self.tags for key in found if key.startswith("on")]
        ids = [found["id"] for _, found in self.tags if "id" in found]
        assert len(ids) == len(set(ids))
        for _, found in self.tags:
            assert found.get("aria-labelledby", ids[0]) in ids
            assert found.get("tabindex", "0") == "0"
            assert "tabindex" not in found or found.get("aria-label")
        for link in self.attributes("a"):
            place = str(link["href"])
            assert place.startswith(("file:", "https:")) or place[1:] in ids
        assert self.attributes("html") == [{"lang": "en"}]
        levels = [int(tag[1]) for tag in names if re.fullmatch("h[1-6]", tag)]
        assert levels.count(1) == 1
        assert all(second - first <= 1 for first, second in zip([0, *levels], levels))
        assert all(one.get("scope") in {"row", "col"} for one in self.attributes("th"))
        assert names.count("caption") == names.count("table")
        for picture in self.attributes("svg"):
            assert picture["role"] == "img"
            assert picture["aria-label"]
        assert names.count("summary") == names.count("details")
        assert names.count("main") == 1
