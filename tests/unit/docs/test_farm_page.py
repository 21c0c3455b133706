"""The pages about farms name a test for each fault, and contain valid commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

from rezbuild.cli import main

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs/how-to").glob("farm*.md"))
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
FAULTS_PAGE = (ROOT / "docs/reference/farm-faults.md").read_text(encoding="utf-8")
FAULTS = FAULTS_PAGE[FAULTS_PAGE.index("| fault |") :].split("\n\n")[0].splitlines()[2:]


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", TEXT)


def test_each_line_names_existing_tests() -> None:
    found = ROOT.glob("tests/**/test_*.py")
    files = {path.name: path.read_text(encoding="utf-8") for path in found}
    assert len(FAULTS) >= 15
    for row in FAULTS:
        last = "test_farm_faults.py"
        named = re.findall(r"\btest_\w+(?:\.py)?", row.rpartition(" | ")[2])
        assert any(not name.endswith(".py") for name in named), row
        for name in named:
            if name.endswith(".py"):
                last = name
            else:
                assert f"def {name}(" in files[last], row


def test_each_test_of_faults_is_listed() -> None:
    for name in ("test_farm_faults.py", "test_farm_tls.py"):
        text = (ROOT / "tests/e2e" / name).read_text(encoding="utf-8")
        left = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))
        assert left - {"test_farm_with_certificates_works"} <= set(
            re.findall(r"test_\w+", FAULTS_PAGE)
        )


def test_scripts_are_valid_and_call_real_commands() -> None:
    """bash and a YAML parser read them; their commands exist."""
    scripts = blocks("bash")
    assert len(scripts) == 4
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    kinds = [part["kind"] for text in blocks("yaml") for part in yaml.safe_load_all(text)]
    assert kinds == ["Service", "Deployment", "Deployment"]
    typed = re.findall(r"rezbuild (?:worker|scheduler) [^>\n&]*", "\n".join(scripts))
    assert len(typed) == 4
    for line in typed:
        words = shlex.split(
            re.sub(r'"\$\(.*\)"', "10.0.0.1", line).replace('"$SLURM_CPUS_PER_TASK"', "8")
        )
        main.make_parser().parse_args(words[1:])
    for pod in pods():
        (container,) = pod["containers"]
        main.make_parser().parse_args(container["command"][1:])


def pods() -> list[dict[str, Any]]:
    """Return the pods of scheduler and workers in Kubernetes."""
    parts = yaml.safe_load_all(blocks("yaml")[0])
    return [part["spec"]["template"]["spec"] for part in parts if part["kind"] == "Deployment"]


def test_kubernetes_drains_a_worker_before_its_pod_ends() -> None:
    """test_farm_status.py runs the command beside a worker that is process 1."""
    scheduler, worker = pods()
    assert "lifecycle" not in scheduler["containers"][0]
    shell, option, script = worker["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert script.startswith("kill -USR1 1;")
    # Kubernetes kills the worker if preStop takes longer; the default is 30 s.
    assert worker["terminationGracePeriodSeconds"] >= 3600
