"""Where a report goes: the terminal, a file of JSON, a picture."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from rezbuild.bench import Report, picture, show
from rezbuild.errors import MachineError, UsageError
from rezbuild.reporter import Reporter
from rezbuild.util.tables import console

STDOUT = "-"


@dataclass(frozen=True)
class Output:
    """What the user wants besides the table.

    Attributes:
        data: A file for the data, or `STDOUT` for them in the table's place.
        picture: A file for the picture.
    """

    data: str | None = None
    picture: Path | None = None

    def check(self, *, compared: bool) -> None:
        """Before minutes of measuring: can all of it be written?

        Args:
            compared: Whether there are two interpreters.

        Raises:
            UsageError: A picture of ratios is asked for, and there is nothing to compare with.
            MachineError: A file cannot be written.
        """
        if self.picture and not compared:
            raise UsageError(
                "--svg shows ratios, and there is nothing to compare with",
                advice=["name another interpreter: --against"],
            )
        for path in self._files():
            place = path if path.exists() else path.absolute().parent
            if path.is_dir() or not os.access(place, os.W_OK):
                raise MachineError(
                    f"{path} cannot be written",
                    advice=["name a file in a folder that is there and can be written"],
                )

    def write(self, report: Report, reporter: Reporter) -> None:
        """Writes all of it."""
        if self.data == STDOUT:
            reporter.result(_text(report), end="")
        else:
            plain = console(markup=False)
            plain.print(show.table(report))
            plain.print(f"\n{show.legend(report)}")
        if self.data and self.data != STDOUT:
            Path(self.data).write_text(_text(report), encoding="utf-8")
        if self.picture:
            self.picture.write_text(picture.svg(report), encoding="utf-8")

    def _files(self) -> list[Path]:
        data = Path(self.data) if self.data and self.data != STDOUT else None
        return [path for path in (data, self.picture) if path]


def _text(report: Report) -> str:
    return json.dumps(show.as_data(report), indent=2) + "\n"
