"""The output of ``rezbuild manifest``: inputs and parts of a payload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from rezbuild.errors import UsageError
from rezbuild.payload import manifest, sbom
from rezbuild.util.tables import TextTable
from rezbuild.util.terminal import printable

_STYLE: dict[str, Any] = {"header_style": "bold", "pad_edge": False}


def load(root: Path) -> dict[str, Any]:
    """Return the record of a payload.

    Raises:
        UsageError: The folder is not a payload.
    """
    found = manifest.read(root)
    if found is None or "fingerprint" not in found:
        raise UsageError(
            f"{root} is not a payload of rezbuild: it has no valid {manifest.MANIFEST}",
            advice=["name a payload (a variant's root), or a Rez request such as python-3.11"],
        )
    return found


def bill(root: Path) -> dict[str, Any]:
    """Return the bill of materials of a payload.

    Raises:
        UsageError: The payload has no valid bill.
    """
    found = sbom.read(root)
    if found is None:
        raise UsageError(
            f"{root / sbom.FILE} is missing or invalid",
            advice=["build the payload again: old versions of rezbuild wrote no bill"],
        )
    return found


def show(console: Console, record: Mapping[str, Any], bill: Mapping[str, Any] | None) -> None:
    """Print the record, and the bill of materials if there is one."""
    facts = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for name, value in list_facts(record):
        if value:
            facts.add_row(f"[bold]{name}[/]", _plain(value))
    console.print(facts)
    if bill is not None:
        console.print(_parts(bill))
    protection = record.get("hardening")
    if isinstance(protection, dict) and protection:
        console.print(_protection(protection))


def list_facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and values of the facts in a record; a value may be "" or have several lines."""
    profile = f" ({record['profile']})" if record.get("profile") else ""
    yield "package", f"{record.get('name')} {record.get('version')}{profile}"
    yield "fingerprint", f"{record['fingerprint']}, recipe {record.get('recipe')}"
    source = _table(record, "source")
    yield "source", f"{source.get('file')}\nsha256 {source.get('sha256')}"
    urls = source.get("urls")
    routes = list(map(str, urls)) if isinstance(urls, list) else []
    if source.get("debian"):
        routes.append(f"Debian's source package {source['debian']}")
    yield "from", "\n".join(routes)
    patches = record.get("patches") or {}
    if isinstance(patches, dict):
        yield "patches", "\n".join(f"{name}  sha256 {patches[name]}" for name in sorted(patches))
    yield "compiler", f"{record.get('compiler')}, {record.get('machine')}"
    yield "assembler", str(record.get("assembler") or "")
    yield "linker", str(record.get("linker") or "")
    yield "flags", "\n".join(f"{k}={v}" for k, v in sorted(_table(record, "flags").items()))
    yield "options", "\n".join(map(str, record.get("options") or ()))
    prints = _table(record, "dependencies")
    against = _table(record, "built_against")
    yield (
        "built against",
        "\n".join(f"{n} {v}  {prints.get(n, '')}".rstrip() for n, v in sorted(against.items())),
    )
    yield "built for glibc", str(record.get("glibc_floor") or "of its host")
    yield "needs glibc", str(record.get("glibc") or "any")
    yield "of the host", "\n".join(map(str, record.get("host_libraries") or ()))


def _parts(data: Mapping[str, Any]) -> TextTable:
    rows = [map(printable, row) for row in sbom.components(data)]
    return TextTable(("part", "version", "license"), rows, **_STYLE)


def _protection(files: Mapping[str, Any]) -> TextTable:
    names = ("file", "kind", "RELRO", "canary", "fortified", "CET", "stack")
    rows = []
    for name, said in sorted(files.items()):
        cet = [mark.upper() for mark in ("ibt", "shstk", "bti", "pac") if said.get(mark)]
        row = (
            printable(name),
            str(said.get("kind")),
            str(said.get("relro")),
            "yes" if said.get("canary") else "no",
            f"{said.get('fortified')} of {said.get('fortifiable')}",
            " ".join(cet) or "no",
            "not executable" if said.get("nx") else "EXECUTABLE",
        )
        rows.append(row)
    return TextTable(names, rows, **_STYLE)


def _table(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _plain(text: str) -> str:
    """Escape markup of rich and control characters."""
    return escape(printable(text))
