"""The memory that a process holds after some code (VmRSS, proc_pid_status(5))."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement, interleave
from rezbuild.bench.start import STARTS, command
from rezbuild.errors import CheckError
from rezbuild.util.processes import capture, last_line

# Three million small objects, of which one in 40,000 stays: an allocator can return little.
_FREED = "kept = [(i, i) for i in range(3_000_000)]; kept = kept[::40_000]"
_CASES = {
    "pass": STARTS["pass"],
    "modules": STARTS["modules"],
    "objects freed": _FREED,
}
_PRINT = """
with open("/proc/self/status") as status:
    print(*(line.split()[1] for line in status if line.startswith("VmRSS:")))
"""


def measure_memory(pair: Sequence[Interpreter], rounds: int) -> Iterator[Measurement]:
    """Measure the resident memory of a process at its end.

    Raises:
        CheckError: A command fails, or there is no /proc.
    """
    for name, code in _CASES.items():
        found = interleave(pair, rounds, lambda one, code=code: _resident(one, code))  # type: ignore[misc]
        yield Measurement("memory", name, "bytes", *(tuple(each) for each in found))


def _resident(interpreter: Interpreter, code: str) -> float:
    """Run some code, and return the resident memory of its process in bytes."""
    done = capture(command(interpreter, code + _PRINT), env={})
    if done.returncode != 0 or not done.stdout.strip():
        raise CheckError(
            f"{interpreter.label} does not tell its memory: {last_line(done.stderr)}",
            advice=["mount /proc, or leave out the part memory: --only"],
        )
    return int(done.stdout) * 1024.0
