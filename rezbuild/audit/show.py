"""The report of an audit as text and as JSON."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rezbuild.audit import Finding, Needs, Report
from rezbuild.errors import AuditError
from rezbuild.util import words

# Findings per rule that are printed.
SHOWN = 10
_EXAMPLES = 3


def lines(root: Path, report: Report) -> Iterator[str]:
    """Yield the lines for a terminal: findings, broken rules with reasons, a summary."""
    yield from findings(report.findings)
    for name, number in report.places.items():
        yield f"  {name}: named in {words.count(number, 'file')}"
    counts = collections.Counter(finding.rule for finding in report.findings)
    for rule, count in counts.items():
        yield f"  {rule.id} ({count}): {rule.reason}"
    yield f"{root}: {needs(report.needs)}"
    errors, notes = len(report.errors), len(report.notes)
    yield f"{root}: {words.count(errors, 'error')}, {words.count(notes, 'note')}"


def findings(found: Iterable[Finding]) -> Iterator[str]:
    """Yield a line per finding; group findings by message if a rule has many."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.severity, finding.rule.id), []).append(finding)
    for (severity, rule), group in groups.items():
        said = [(f"{one.path}: {one.message}", 1) for one in group]
        if len(group) > SHOWN:
            said = list(_together(group))
        yield from (f"{severity}: {rule}: {text}" for text, _ in said[:SHOWN])
        left = sum(count for _, count in said[SHOWN:])
        if left:
            yield f"{severity}: {rule}: ... and {left} more (--json has them all)"


def _together(group: Iterable[Finding]) -> Iterator[tuple[str, int]]:
    """Yield a line and a count for each message, the most frequent first."""
    messages: dict[str, list[str]] = {}
    for finding in sorted(group, key=_sort_key):
        messages.setdefault(finding.message, []).append(finding.path)
    for message, paths in sorted(messages.items(), key=lambda item: -len(item[1])):
        if len(paths) == 1:
            yield f"{paths[0]}: {message}", 1
        else:
            more = ", ..." if len(paths) > _EXAMPLES else ""
            shown = ", ".join(paths[:_EXAMPLES]) + more
            yield f"{len(paths)} files: {message}: {shown}", len(paths)


def _sort_key(finding: Finding) -> tuple[bool, int]:
    """Sort sources before compiled files, and files near the top first."""
    return finding.path.endswith(".pyc"), finding.path.count("/")


def needs(needed: Needs) -> str:
    """Return a sentence about the needed glibc and the reason."""
    others = "".join(f", {name} {version}" for name, version in needed.others.items())
    if needed.glibc is None:
        return f"needs no particular glibc{others}"
    files = list(needed.because)
    if not files:  # a damaged file that names no library of glibc
        return f"needs glibc {needed.glibc}{others}"
    symbols = ", ".join(needed.because[files[0]][:3])
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"needs glibc {needed.glibc}, because of {files[0]} ({symbols}){more}{others}"


def as_data(root: Path, report: Report) -> dict[str, Any]:
    """Return the report for JSON."""
    return {
        "root": str(root),
        "own": report.own,
        "findings": [
            {"rule": f.rule.id, "severity": f.severity, "path": f.path, "message": f.message}
            for f in report.findings
        ],
        "places": dict(report.places),
        **needs_as_data(report.needs),
    }


def needs_as_data(needed: Needs) -> dict[str, Any]:
    """Return the needed runtime libraries for ``rezbuild.json`` and ``--json``."""
    return {
        "glibc": needed.glibc,
        "glibc_because": {path: list(names) for path, names in needed.because.items()},
        "runtimes": dict(needed.others),
    }


def refusal(what: str, report: Report, *, look: Path) -> AuditError:
    """Return the error for a payload that breaks rules."""
    details = list(findings(report.errors))
    reasons = {finding.rule.id: finding.rule.reason for finding in report.errors}
    details += [f"{rule}: {reason}" for rule, reason in reasons.items()]
    return AuditError(
        f"{what} breaks rules of the audit {words.count(len(report.errors), 'time')}:\n    "
        + "\n    ".join(details),
        advice=[f"run rezbuild audit {look}", "see docs/reference/audit.md"],
    )
