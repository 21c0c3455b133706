"""Settings, recipes and payloads, read from the arguments and the environment of a command."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from rezbuild.catalogue import platform_years
from rezbuild.errors import CatalogueError, UsageError
from rezbuild.settings import Settings, glibc_version


def read_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings of the environment, with those options that override them."""
    options = {name: getattr(arguments, name, None) for name in ("profile", "jobs", "scheduler")}
    options["glibc"] = _glibc(arguments, "--glibc")
    options["glibc_max"] = _glibc(arguments, "--glibc-max")
    return replace(Settings.read(), **{name: v for name, v in options.items() if v})


def _glibc(arguments: argparse.Namespace, option: str) -> str | None:
    """Return the version of an option; a platform's year, e.g. CY2026, means its glibc."""
    text = getattr(arguments, option.strip("-").replace("-", "_"), "")
    if not text.upper().startswith("CY"):
        return glibc_version(text, option)
    years = [p for found in platform_years.find(find_recipes(arguments)).values() for p in found]
    for year in years:
        if year.version == text[2:]:
            return year.glibc
    raise UsageError(
        f"{option}: unknown year {text!r}",
        advice=[f"name one of {', '.join('CY' + year.version for year in years)}"],
    )


def find_recipes(arguments: argparse.Namespace) -> Path:
    """Return the recipes folder: the named one, or this clone's, or the installed clone's.

    Raises:
        CatalogueError: There is none.
    """
    named = getattr(arguments, "recipes", None) or os.environ.get("REZBUILD_RECIPES")
    if named:
        return Path(named).absolute()
    here = Path.cwd()
    beside = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, beside):
        if next(folder.glob("packages/*/sources.toml"), None):
            return folder / "packages"
    raise CatalogueError(
        f"no recipes in {here} or above: no packages/*/sources.toml",
        advice=["run the command in a clone of the project, or name a folder: --recipes DIR"],
    )


def find_payload(what: str) -> Path:
    """Return the folder that a user names, or the payload that Rez resolves for a request."""
    root = Path(what)
    if not root.exists() and "/" not in what:
        from rezbuild.repository.installed import resolve_root

        root = resolve_root(what)
    return root
