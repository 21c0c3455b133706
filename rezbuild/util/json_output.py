"""JSON on standard output: one object per command, with the name and version of its schema.

A command that prints facts offers them to other programs, too:

    json_output.add_option(parser)
    ...
    if arguments.json:
        arguments.reporter.result(json_output.text("rezbuild-plan", found.as_data()))

With ``--json``, `rezbuild.cli.main` gives the command a reporter that prints progress and notices
on standard error, so standard output holds the object alone. docs/reference/json.md describes each
schema; tests read outputs with `json_page.read`, which compares them with the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

KEY = "schema"


def add_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--json`` to a parser or to a group of it."""
    parser.add_argument(
        "--json", action="store_true", help="print JSON; docs/reference/json.md lists its keys"
    )


def text(schema: str, data: Mapping[str, Any], version: int = 1) -> str:
    """Return data as one object of JSON, in ASCII and without a line feed at its end.

    Args:
        schema: The name of the schema, e.g. ``rezbuild-plan``.
        data: The other keys of the object.
        version: The version of the schema. It rises if a key is removed or gets another meaning,
            not if a key is added.
    """
    named = {"name": schema, "version": version}
    found = {KEY: named, **data}
    found[KEY] = named  # the record of a foreign payload may have such a key
    # Reporters escape the control character DEL, which JSON allows, in a way that JSON does not.
    return json.dumps(found, indent=2).replace("\x7f", "\\u007f")
