"""Parts of SVG pictures with a background, in the viewer's sans-serif font."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from rezbuild.util.terminal import printable_line

BACKGROUND, TEXT_COLOR, LIGHT = "#ffffff", "#24292f", "#d0d7de"


def head(width: int, height: int, title: str) -> list[str]:
    """Return the first lines of a picture; "</svg>" ends it."""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    label = f'role="img" aria-label={quoteattr(printable_line(title))}'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label} font-family="sans-serif">',
        f"<title>{plain(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="{BACKGROUND}"/>',
    ]


def line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    """Return a line."""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{color}"/>'


def text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    """Return a line of text."""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{TEXT_COLOR}"'
    return f"<text {place}>{plain(text)}</text>"


def plain(text: str) -> str:
    """Escape markup and characters that XML forbids."""
    return escape(printable_line(text))
