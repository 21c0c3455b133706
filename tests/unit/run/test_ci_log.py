"""Markers for GitHub Actions and GitLab CI."""

from __future__ import annotations

import re

import pytest

from rezbuild.run import ci_log


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({"GITHUB_ACTIONS": "true", "CI": "true"}, ci_log.GitHubLog),
        ({"GITLAB_CI": "true", "CI": "true"}, ci_log.GitLabLog),
        ({"GITHUB_ACTIONS": "", "CI": "true"}, type(None)),
        ({}, type(None)),
    ],
)
def test_service_is_found_by_its_variable(env, kind):
    assert type(ci_log.find(env)) is kind


def test_github_group_escapes_its_title():
    lines = ci_log.GitHubLog().group("a%\nb", ["one\x1b[2J"], 3.2)
    assert list(lines) == ["::group::a%25\\nb (3 s)", r"one\x1b[2J", "::endgroup::"]


def test_github_failure_is_one_annotation():
    line = ci_log.GitHubLog().failure("a:b,c", "x: 100%\n::error::y")
    assert line == r"::error title=a%3Ab%2Cc::x: 100%25\n::error::y"


def test_gitlab_section_has_a_valid_name_and_a_duration():
    start, line, end = ci_log.GitLabLog().group("zlib 1.3+1", ["one"], 65.4)
    found = re.fullmatch(
        r"\x1b\[0Ksection_start:(\d+):zlib-1\.3-1\[collapsed=true\]\r\x1b\[0Kzlib 1\.3\+1", start
    )
    ended = re.fullmatch(r"\x1b\[0Ksection_end:(\d+):zlib-1\.3-1\r\x1b\[0K", end)
    assert found
    assert ended
    assert int(ended[1]) - int(found[1]) == 65
    assert line == "one"


def test_gitlab_failure_is_a_plain_line():
    assert ci_log.GitLabLog().failure("zlib-1.3.1", "failed\x1b[2J") == r"failed\x1b[2J"
