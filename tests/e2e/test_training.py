"""What a compiler counts in a training is an input of the builds that follow it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from studio import Studio
from toys import Toys

pytestmark = pytest.mark.e2e

# It is trained by as much work as the clock says, so no training is like another.
TRAINED = {
    "Makefile": "work = $(CC) -O2 $(1) main.c -o made -Wl,-z,now\n"
    "all:\n\ttest -e trained || $(MAKE) train\n\t$(call work,-fprofile-use)\n"
    "train:\n\t$(call work,-fprofile-generate)\n"
    "\techo once >> $(RUNS)\n\t./made $$(date +%N | cut -c1-4) > /dev/null\n"
    "install:\n\tmkdir -p $(DESTDIR)$(PREFIX)/bin\n\tcp made $(DESTDIR)$(PREFIX)/bin/trained\n",
    "main.c": "#include <stdio.h>\n#include <stdlib.h>\n"
    "static int odd(int i) { return i * 3 % 7; }\n"
    "static int even(int i) { return i / 5 + 1; }\n"
    "int main(int count, char **words) {\n"
    "  int sum = 0, n = count > 1 ? atoi(words[1]) : 0;\n"
    "  for (int i = 0; i < 10000; i++) sum += i < n ? odd(i) : even(i);\n"
    '  printf("%d\\n", sum);\n  return 0;\n}\n',
}
RECIPE = """\
def build(b):
    options = [f"PREFIX={b.prefix}", "RUNS={runs}"]
    trained = b.optimized and b.stored_profile()
    if trained or not b.optimized:
        (b.source / "trained").touch()
    b.make(*options)
    if b.optimized and not trained:
        b.keep_profile("**/*.gcda")
    b.install(*options, "install")
"""


@pytest.fixture
def runs(toys: Toys, tmp_path: Path) -> Path:
    """A package whose trainings leave a line each in this file."""
    toys.add("trained", "1.0.0", TRAINED)
    runs = tmp_path / "runs"
    (toys.recipes / "trained/recipe.py").write_text(RECIPE.replace("{runs}", str(runs)))
    return runs


def _record(studio: Studio) -> dict[str, str]:
    path = studio.local / "trained/1.0.0/platform-linux/arch-x86_64/rezbuild.json"
    record: dict[str, str] = json.loads(path.read_text())
    return record


def test_x(studio: Studio, toys: Toys, runs: Path) -> None:
    done = studio.rezbuild("build", "trained", "--profile", "optimized")
    print(done.stdout)
    print(_record(studio))
    done = studio.rezbuild("reproduce", "trained")
    print(done.stdout, runs.read_text())
    assert 0
