"""Render the pages with their templates, ``data/report_*.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rezbuild.errors import MachineError
from rezbuild.report.payload_facts import bundled_in
from rezbuild.util import extras, words
from rezbuild.util.terminal import printable

_DATA = Path(__file__).parents[1] / "data"
_DIFFERENCES = "docs/reference/differences.md"


def render(kind: str, **facts: Any) -> str:
    """Return a page.

    Args:
        kind: ``payload``, ``comparison`` or ``repository``.
        facts: The variables of the template.

    Raises:
        MachineError: The template library is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise MachineError(
            "rezbuild report requires the library jinja2",
            advice=[f"run {extras.install_command('report')}"],
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_DATA),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.globals.update(bundled_in=bundled_in, count=words.count, differences=_differences())
    return environment.get_template(f"report_{kind}.html").render(**facts)


def _finalize(value: Any) -> Any:
    """Escape bytes and control characters of file names; None becomes ""."""
    if value is None:
        return ""
    markup = hasattr(value, "__html__")
    return printable(value) if isinstance(value, str) and not markup else value


def _differences() -> tuple[str, str]:
    """Return the page of differences from CPython: its name, and its address in a clone or ""."""
    page = _DATA.parents[1] / _DIFFERENCES
    return _DIFFERENCES, page.as_uri() if page.is_file() else ""
