"""The gain of a second worker and the cost of a farm, with builds that need no processor."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from farm import farm, payloads
from sample_packages import LOW, RECIPE, Samples
from studio import Studio

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]

JOBS, SECONDS = 6, 20


def test_two_workers_take_half_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    samples = Samples(tmp_path / "samples", empty=True)
    names = [f"sample{number}" for number in range(JOBS)]
    for name in names:
        samples.add(name, "1.0.0", LOW)
        code = f'    b.run("sleep", "{SECONDS}")\n    b.make'
        (samples.recipes / name / "recipe.py").write_text(RECIPE.replace("    b.make", code))
    took = {}
    for workers in (0, 1, 2):
        env = {**Studio(tmp_path / f"studio{workers}").env, **samples.environ}
        with farm(tmp_path / f"run{workers}", env) as running:
            for number in range(workers):
                running.worker(f"w{number}", "--cores", "1", "--label", "same")
            running.ready()
            site = Studio(tmp_path / f"site{workers}")
            site.env |= {**samples.environ, "REZBUILD_CACHE": str(tmp_path / f"cache{workers}")}
            site.env |= {"REZBUILD_JOBS": "1", "REZBUILD_HOST_LABEL": "same"}
            site.env |= {"REZBUILD_SCHEDULER": running.address} if workers else {}
            began = time.monotonic()
            site.rezbuild("build", *names)
            took[workers] = time.monotonic() - began
            assert set(payloads(site)) == set(names)
    with capsys.disabled():
        print(f"\n{JOBS} jobs of {SECONDS} s: here {took[0]:.0f} s, one worker {took[1]:.0f} s, ")
        print(f"two workers {took[2]:.0f} s: {took[1] / took[2]:.2f} times as fast")
        print(f"a job costs {(took[1] - took[0]) / JOBS:.1f} s more than here")
    assert took[1] / took[2] > 1.5
