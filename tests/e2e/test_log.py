"""``rezbuild log`` after builds of small packages."""

from __future__ import annotations

import json_page
import pytest

pytestmark = pytest.mark.e2e


def show(studio, *argv: str) -> str:
    return studio.rezbuild("log", *argv).stdout


def test_log_of_a_failed_step_is_shown_first(studio, samples):
    samples.edit("top/recipe.py", "    b.install", "    b.run('sh', '-c', 'echo wrong; exit 3')\n#")
    done = studio.rezbuild("build", "top", ok=False)
    assert show(studio, "top").splitlines() == ["$ sh -c 'echo wrong; exit 3'", "wrong"]
    path = samples.recipes / "top/build/2.0.0-fast/platform-linux/arch-x86_64/logs/02-sh.log"
    assert show(studio, "--path", "top-2") == f"{path}\n"
    # The error and the lines that it refers to are on one stream.
    assert f"The last lines of {path}:\n    $ sh -c" in done.stderr
    assert "    wrong\n" in done.stderr
    found = json_page.read(show(studio, "--json", "top"))
    assert (found["version"], found["profile"], found["unfinished"]) == ("2.0.0", "fast", True)
    assert found["path"] == found["logs"][-1] == str(path)
    # The dependency was built without failures.
    assert "2 build(s)" not in show(studio, "low")
    assert "All 1 build(s) were successful." in show(studio, "low-1")


def test_log_of_an_audit_failure_has_the_reason(studio, samples):
    samples.edit(
        "top/recipe.py",
        "    b.install",
        "    (b.payload / 'evil').symlink_to('/usr/bin/env') if b.payload.mkdir(parents=True)"
        " is None else 0\n    b.run('true')\n#",
    )
    studio.rezbuild("build", "top", ok=False)
    assert "link-absolute: evil" in show(studio, "top")


def test_failure_before_the_first_step_does_not_show_older_logs(studio, samples):
    studio.rezbuild("build", "top")
    samples.edit("top/recipe.py", "def build", "raise OSError('no recipe')\ndef build")
    studio.rezbuild("build", "top", ok=False)
    found = json_page.read(show(studio, "--json", "top"))
    assert found["logs"] == [found["path"]]
    assert "no recipe" in show(studio, "top")


def test_log_of_a_build_by_hand_is_its_last_step(studio, samples):
    studio.rezbuild("build", "low")
    assert show(studio, "--path", "low").endswith("/1.0.0-fast/rez.log\n")
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    studio.rez("build", "-i", cwd=samples.recipes / "low")
    assert show(studio, "--path", "low").endswith("arch-x86_64/logs/02-make-install.log\n")
    assert "1.0.0-fast" not in show(studio, "--path", "low")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("top",), 2, "no log of a build of top"),
        (("nope",), 3, "no recipe for nope"),
        (("top-9",), 2, "no log of a build of top-9"),
    ],
)
def test_log_that_does_not_exist_is_an_error(studio, samples, argv, code, words):
    if argv == ("top-9",):
        studio.rezbuild("build", "top")
    done = studio.rezbuild("log", *argv, ok=False)
    assert done.returncode == code
    assert words in done.stderr
