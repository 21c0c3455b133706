"""Questions and commands to the scheduler of a farm: its state, and workers that are to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from rezbuild.errors import MachineError
from rezbuild.farm import connection
from rezbuild.farm.status import FarmStatus
from rezbuild.settings import Settings
from rezbuild.util import words

# Seconds until a scheduler must have answered.
_ANSWER = 10.0


class Control:
    """The way to a scheduler.

    Args:
        address: The address of the scheduler.
        settings: TLS.
        say: Prints a warning if other users can connect.

    Raises:
        UsageError: The address is invalid, or does not match the settings.
        MachineError: Dask is not installed, or a file of TLS cannot be read.
    """

    def __init__(self, address: str, settings: Settings, say: Callable[[str], None]) -> None:
        connection.configure_dask()
        self.address, self._security = connection.resolve_address(address, settings, say)

    def status(self) -> FarmStatus:
        """Return the state of the farm.

        Raises:
            MachineError: No scheduler of rezbuild answers.
        """
        return self._ask("rezbuild_status")

    def drain(self, names: Sequence[str]) -> FarmStatus:
        """Let workers finish their jobs and end; return the state of the farm.

        Raises:
            MachineError: No scheduler of rezbuild answers.
        """
        return self._ask("rezbuild_drain", workers=list(names))

    def _ask(self, operation: str, **values: Any) -> FarmStatus:
        try:
            answer = asyncio.run(self._send(operation, values))
        except (OSError, asyncio.TimeoutError) as error:
            why = words.reason_of_cause(error)
            raise connection.no_answer(self.address, why) from None
        try:
            return FarmStatus.from_json(answer)
        except ValueError as error:
            raise MachineError(
                f"the scheduler at {self.address} does not tell its state: {words.reason(error)}",
                advice=["start a scheduler of this version of rezbuild: rezbuild scheduler"],
            ) from None

    async def _send(self, operation: str, values: dict[str, Any]) -> object:
        from distributed import rpc

        arguments = self._security.get_connection_args("client") if self._security else {}
        async with rpc(self.address, connection_args=arguments, timeout=_ANSWER) as scheduler:
            return await asyncio.wait_for(getattr(scheduler, operation)(**values), _ANSWER)
