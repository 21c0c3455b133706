"""A network of simulated machines: network namespaces behind one bridge.

Its hub has the bridge. Programs on the hub and on the machines reach each other by address, and
reach no other network.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest
from host_tools import require_tool

_NET = "10.213.0"
HUB = f"{_NET}.1"


class Network:
    """The hub and its machines.

    Args:
        prefix: The prefix of the namespaces' names.
        machines: The number of machines.
    """

    def __init__(self, prefix: str, machines: int) -> None:
        self._names = [f"{prefix}-{number}" for number in range(machines + 1)]

    def begin(self) -> None:
        hub, *others = self._names
        for name in self._names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{HUB}/24", "dev", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        for number, name in enumerate(others, 1):
            pair = ("type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", hub, "link", "add", f"port{number}", *pair)
            _ip("-n", hub, "link", "set", f"port{number}", "master", "bridge", "up")
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")

    def end(self) -> None:
        for name in self._names:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)

    def address(self, machine: int) -> str:
        """Return the address of a machine, from 1 on; 0 is the hub."""
        return f"{_NET}.{machine + 10}" if machine else HUB

    def on(self, machine: int) -> tuple[str, ...]:
        """Return a command prefix that runs a command on a machine."""
        return ("ip", "netns", "exec", self._names[machine])

    def disconnect(self, machine: int) -> None:
        """Disconnect a machine from the network."""
        _ip("-n", self._names[0], "link", "set", f"port{machine}", "down")


@contextlib.contextmanager
def network(machines: int) -> Iterator[Network]:
    """Skip the test if network namespaces are not available."""
    require_tool("ip")
    made = Network(f"rezbuild-{os.getpid()}", machines)
    try:
        try:
            made.begin()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces: {error.stderr.strip()}")
        yield made
    finally:
        made.end()


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True, text=True)
