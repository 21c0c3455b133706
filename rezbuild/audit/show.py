"""The report of an audit for people and for programs."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rezbuild.audit import Finding, Needs, Report
from rezbuild.errors import AuditError

# Of a rule that thousands of files break, the first few say it all.
SHOWN = 10
_EXAMPLES = 3


def lines(root: Path, report: Report) -> Iterator[str]:
    """What the terminal gets: findings, then each rule with its reason, then the sum."""
    yield from findings(report.findings)
    for name, count in report.places.items():
        yield f"  {name}: named in {count} files"
    counts = collections.Counter(finding.rule for finding in report.findings)
    for rule, count in counts.items():
        yield f"  {rule.id} ({count}): {rule.reason}"
    yield f"{root}: {needs(report.needs)}"
    yield f"{root}: {len(report.errors)} errors, {len(report.notes)} notes"


def findings(found: Iterable[Finding]) -> Iterator[str]:
    """One line each; where there are many of a rule, one line for each thing that is said."""
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
    """What is said of several files, the most frequent first, and of how many."""
    messages: dict[str, list[str]] = {}
    for finding in sorted(group, key=_interest):
        messages.setdefault(finding.message, []).append(finding.path)
    for message, paths in sorted(messages.items(), key=lambda item: -len(item[1])):
        if len(paths) == 1:
            yield f"{paths[0]}: {message}", 1
        else:
            more = ", ..." if len(paths) > _EXAMPLES else ""
            shown = ", ".join(paths[:_EXAMPLES]) + more
            yield f"{len(paths)} files: {message}: {shown}", len(paths)


def _interest(finding: Finding) -> tuple[bool, int]:
    """What someone wrote, and what stands near the top, says more than the compiled rest."""
    return finding.path.endswith(".pyc"), finding.path.count("/")


def needs(told: Needs) -> str:
    """Which glibc is needed, and what for."""
    others = "".join(f", {name} {version}" for name, version in told.others.items())
    if told.glibc is None:
        return f"needs no particular glibc{others}"
    files = list(told.because)
    if not files:  # damaged: it is said of no library of glibc's
        return f"needs glibc {told.glibc}{others}"
    symbols = ", ".join(told.because[files[0]][:3])
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"needs glibc {told.glibc}, because of {files[0]} ({symbols}){more}{others}"


def as_data(root: Path, report: Report) -> dict[str, Any]:
    """Everything, for JSON."""
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


def needs_as_data(told: Needs) -> dict[str, Any]:
    """What ``rezbuild.json`` and ``--json`` say of the host's runtime libraries."""
    return {
        "glibc": told.glibc,
        "glibc_because": {path: list(names) for path, names in told.because.items()},
        "runtimes": dict(told.others),
    }


def refusal(what: str, report: Report, *, look: Path) -> AuditError:
    """The error for a payload that breaks rules."""
    told = [f"{line}" for line in findings(report.errors)]
    reasons = {finding.rule.id: finding.rule.reason for finding in report.errors}
    told += [f"{rule}: {reason}" for rule, reason in reasons.items()]
    return AuditError(
        f"{what} breaks rules of the audit {len(report.errors)} times:\n    " + "\n    ".join(told),
        advice=[f"look again with: rezbuild audit {look}", "docs/reference/audit.md"],
    )
