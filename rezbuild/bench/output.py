"""The outputs of a report: the terminal, a JSON file, a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rezbuild.bench import Report, picture, report_format
from rezbuild.errors import MachineError, UsageError
from rezbuild.reporter import Reporter
from rezbuild.util import json_output
from rezbuild.util.tables import console

STDOUT = "-"


@dataclass(frozen=True)
class Output:
    """The outputs that the user wants besides the table.

    Attributes:
        data: A file for the data; `STDOUT` prints the data instead of the table.
        picture: A file for the picture.
    """

    data: str | None = None
    picture: Path | None = None

    def check(self, *, compared: bool) -> None:
        """Check that all outputs can be written, before measuring for minutes.

        Args:
            compared: Whether there are two interpreters.

        Raises:
            UsageError: A picture of ratios is asked for, but there is only one interpreter.
            MachineError: A file cannot be written.
        """
        if self.picture and not compared:
            raise UsageError(
                "--svg needs a second interpreter: it shows ratios",
                advice=["name another interpreter: --against"],
            )
        for path in self._files():
            place = path if path.exists() else path.absolute().parent
            if path.is_dir() or not os.access(place, os.W_OK):
                raise MachineError(
                    f"{path} cannot be written",
                    advice=["name a file in a folder that exists and can be written"],
                )

    def write(self, report: Report, reporter: Reporter) -> None:
        """Write all outputs."""
        if self.data == STDOUT:
            reporter.result(_text(report), end="")
        else:
            console().print(report_format.table(report))
            console(markup=False).print(f"\n{report_format.legend(report)}")
        if self.data and self.data != STDOUT:
            Path(self.data).write_text(_text(report), encoding="utf-8")
        if self.picture:
            self.picture.write_text(picture.svg(report), encoding="utf-8")

    def _files(self) -> list[Path]:
        data = Path(self.data) if self.data and self.data != STDOUT else None
        return [path for path in (data, self.picture) if path]


def _text(report: Report) -> str:
    return json_output.text("rezbuild-bench", report_format.as_data(report)) + "\n"
