"""What commands take from the arguments and the environment: settings, recipes, payloads."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from rezbuild.catalogue import platform_years
from rezbuild.errors import CatalogueError, UsageError
from rezbuild.settings import Settings, glibc_version


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings, with the options that go before them."""
    options = {name: getattr(arguments, name, None) for name in ("profile", "jobs", "scheduler")}
    options["glibc_max"] = _ceiling(arguments)
    return replace(Settings.read(), **{name: v for name, v in options.items() if v})


def _ceiling(arguments: argparse.Namespace) -> str | None:
    """What --glibc-max says: a version, or a year of the platform as in CY2026."""
    text = getattr(arguments, "glibc_max", "")
    if not text.upper().startswith("CY"):
        return glibc_version(text, "--glibc-max")
    years = [p for found in platform_years.find(recipes_folder(arguments)).values() for p in found]
    for year in years:
        if year.version == text[2:]:
            return year.glibc
    raise UsageError(
        f"--glibc-max {text} names no year that is known",
        advice=[f"known: {', '.join('CY' + year.version for year in years)}"],
    )


def recipes_folder(arguments: argparse.Namespace) -> Path:
    """What is named, or the clone's that this runs in, or the one it was installed from.

    Raises:
        CatalogueError: There is none.
    """
    named = arguments.recipes or os.environ.get("REZBUILD_RECIPES")
    if named:
        return Path(named).absolute()
    here = Path.cwd()
    beside = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, beside):
        if next(folder.glob("packages/*/sources.toml"), None):
            return folder / "packages"
    raise CatalogueError(
        "no recipes here or above: no packages/*/sources.toml",
        advice=["run this in a clone of the project, or name its packages folder: --recipes"],
    )


def payload_of(what: str) -> Path:
    """The folder that a user names, or the payload that Rez resolves for it."""
    root = Path(what)
    if not root.exists() and "/" not in what:
        from rezbuild.repository.installed import resolve_root

        root = resolve_root(what)
    return root
