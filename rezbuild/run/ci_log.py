"""Markers in the logs of GitHub Actions and GitLab CI: collapsible groups, and failures."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from rezbuild.util.terminal import printable, printable_line

# Characters that GitLab does not allow in the name of a section.
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")


class CiLog(Protocol):
    """The markers of one CI service."""

    def group(self, title: str, lines: Sequence[str], seconds: float) -> Iterator[str]:
        """Yield the lines of a group, between its markers; ``seconds`` is its duration."""
        ...

    def failure(self, title: str, text: str) -> str:
        """Return a line that names a failure."""
        ...


class GitHubLog:
    """Workflow commands: https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""

    def group(self, title: str, lines: Sequence[str], seconds: float) -> Iterator[str]:
        yield f"::group::{_data(f'{title} ({seconds:.0f} s)')}"
        yield from map(printable, lines)
        yield "::endgroup::"

    def failure(self, title: str, text: str) -> str:
        name = _data(title).replace(":", "%3A").replace(",", "%2C")
        return f"::error title={name}::{_data(text)}"


class GitLabLog:
    """Sections, which show their duration: https://docs.gitlab.com/ci/jobs/job_logs."""

    def group(self, title: str, lines: Sequence[str], seconds: float) -> Iterator[str]:
        name, now = _NO_NAME.sub("-", title), int(time.time())
        yield (
            f"\x1b[0Ksection_start:{now - round(seconds)}:{name}[collapsed=true]"
            f"\r\x1b[0K{printable_line(title)}"
        )
        yield from map(printable, lines)
        yield f"\x1b[0Ksection_end:{now}:{name}\r\x1b[0K"

    def failure(self, title: str, text: str) -> str:  # noqa: ARG002 (GitLab has no such marker)
        return printable(text)


def find(environ: Mapping[str, str] | None = None) -> CiLog | None:
    """Return the markers of the service that runs this process; None outside of both."""
    env = os.environ if environ is None else environ
    if env.get("GITHUB_ACTIONS") == "true":
        return GitHubLog()
    return GitLabLog() if env.get("GITLAB_CI") == "true" else None


def _data(text: str) -> str:
    """Escape a value of a workflow command."""
    return printable_line(text.replace("%", "%25"))
