"""Compare the answers of probes in a stock CPython and in the moved payload.

An answer is JSON. Each leaf has an address, e.g. "modules:argparse.loader", and is the same on both
sides or belongs to an entry of intended.toml.
"""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rezbuild.util import toml

HERE = Path(__file__).parent
INTENDED = HERE / "intended.toml"
MISSING = "(missing)"


@dataclass(frozen=True)
class Difference:
    """A leaf with two different values."""

    address: str
    stock: Any
    ours: Any

    def __str__(self) -> str:
        left, right = self.stock, self.ours
        if isinstance(left, list) and isinstance(right, list):
            left, right = ([v for v in a if v not in b] for a, b in ((left, right), (right, left)))
        return f"{self.address}\n    stock: {left!r:.500}\n    ours:  {right!r:.500}"


@dataclass(frozen=True)
class Intended:
    """An entry of intended.toml: an intended difference."""

    id: str
    title: str
    reason: str
    addresses: list[str]
    used: list[str] = field(default_factory=list, compare=False)

    def allows(self, address: str) -> bool:
        return any(fnmatch.fnmatchcase(address, pattern) for pattern in self.addresses)


def load_intended(path: Path = INTENDED) -> list[Intended]:
    entries = toml.loads(path.read_text(encoding="utf-8"))["difference"]
    return [Intended(**entry) for entry in entries]


def ask(
    prefix: Path, probe: Path | str, *options: str, cwd: Path, env: Mapping[str, str]
) -> dict[str, Any]:
    """Run a script or code with the interpreter below ``prefix``; return its answer.

    Raises:
        AssertionError: The probe failed.
    """
    script = [str(probe)] if isinstance(probe, Path) else ["-c", probe]
    argv = [str(prefix / "bin/python3"), *options, *script]
    done = subprocess.run(
        argv, cwd=cwd, env=dict(env), capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        message = f"{argv} ended with {done.returncode}:\n{done.stderr}"
        raise AssertionError(message)
    answer: dict[str, Any] = json.loads(replace_prefix(done.stdout, prefix))
    return answer


def replace_prefix(text: str, prefix: Path) -> str:
    return text.replace(str(prefix.resolve()), "<prefix>").replace(str(prefix), "<prefix>")


def leaves(value: Any, address: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(item, f"{address}.{name}")
    else:
        yield address, value


def compare(name: str, stock: Mapping[str, Any], ours: Mapping[str, Any]) -> list[Difference]:
    """Return the leaves that differ."""
    left, right = (
        {a: v for key, item in answer.items() for a, v in leaves(item, f"{name}:{key}")}
        for answer in (stock, ours)
    )
    return [
        Difference(address, left.get(address, MISSING), right.get(address, MISSING))
        for address in sorted(left.keys() | right.keys())
        if left.get(address, MISSING) != right.get(address, MISSING)
    ]


def find_unexpected(differences: list[Difference], entries: list[Intended]) -> list[Difference]:
    """Return the differences that no entry allows; record which addresses each entry allowed."""
    found = []
    for difference in differences:
        fitting = [entry for entry in entries if entry.allows(difference.address)]
        for entry in fitting:
            entry.used.append(difference.address)
        if not fitting:
            found.append(difference)
    return found


def main(stock: str, ours: str, *names: str) -> None:
    """Print the unexpected differences: comparison.py STOCK OURS PROBE ..."""
    for name in names:
        probe = HERE / "probes" / f"{name}.py"
        env = {"HOME": "/tmp"}
        answers = [ask(Path(p), probe, "-B", cwd=Path("/"), env=env) for p in (stock, ours)]
        for difference in find_unexpected(compare(name, *answers), load_intended()):
            print(difference)


if __name__ == "__main__":
    main(*sys.argv[1:])
