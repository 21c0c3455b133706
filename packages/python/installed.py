"""Fix text files of an installed CPython: compute the prefix, and remove our build's flags.

Builds of extension modules read sysconfig, its Makefile and python3-config. CPython writes the
prefix and the flags of its own configure into them. Here, the prefix is a placeholder, and the
flags are of no use for other builds.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rezbuild.build.recipe_api import Build
from rezbuild.errors import BuildError

from . import names

# Flags of our build, which are useless or harmful in other builds.
OURS = re.compile(
    r"""[ ]*(?<![^\s='"])(
        -[IL]/rezbuild/(?!python[-_])[^\s'"]*  # dependencies
      | /rezbuild/(?!python[-_]|source)[^\s'"]*/(include|lib)
      | -f(file|macro|debug)-prefix-map=\S*
      | -f(no-)?lto\S* | -fuse-linker-plugin | -ffat-lto-objects
      | -fprofile-\S* | -Wno-missing-profile | -fno-reorder-blocks-and-partition
      | -fno-semantic-interposition
      | -Wl,-z,\S* | -Wl,--exclude-libs\S* | -Wl,--build-id\S*
    )(?![^\s'"])""",
    re.VERBOSE,
)
TOOLS = {f"{maker}-{tool}": tool for maker in ("gcc", "llvm") for tool in ("ar", "ranlib", "nm")}
HEAD = """\
# The system configuration, computed from the folder of this file.
import os

try:
    _prefix = os.path.abspath(__file__)
except NameError:  # some tools execute the text of this file
    _prefix = os.path.abspath(os.__file__)
for _ in range(3):
    _prefix = os.path.dirname(_prefix)

"""
# make(1) computes the prefix. CPython's parsers of Makefiles read the first of these lines only.
HERE = "$(abspath $(dir $(lastword $(MAKEFILE_LIST)))/../../..)"
PREFIX = f"prefix=\t{HERE}\nprefix:=\t$(prefix)"
PARSERS = ("sysconfig.py", "sysconfig/__main__.py", "distutils/sysconfig.py")
# parser() adds its lines before one of these: the first is CPython's, the second setuptools'.
MATCHES = (
    "        m = re.match(_variable_rx, line)\n",
    "        m = _variable_rx.match(line)\n",
)
LAUNCHER = """\
#!/bin/sh
'''exec' "$(dirname -- "$(readlink -f -- "$0")")/../../../bin/{}" "$0" "$@"
' '''
"""
PLACE = """\
# The prefix of this installation: the parent of this script's folder.
installed_prefix ()
{
    dirname -- "$(dirname -- "$(readlink -f -- "$1")")"
}"""


def prepare(b: Build) -> None:
    """Make the library's parsers of Makefiles compute the prefix; call this before the build.

    Raises:
        BuildError: No parser is found.
    """
    found = [name for name in PARSERS if parser(b.source / "Lib" / name)]
    if not found:
        raise BuildError(
            "CPython has no known parser of Makefiles",
            tried=[str(b.source / "Lib" / name) for name in PARSERS],
            advice=["adapt packages/python/installed.py to this version of CPython"],
        )


def parser(path: Path) -> bool:
    """Make the parser of Makefiles in a file compute HERE as make does.

    Returns:
        Whether the file has such a parser.
    """
    text = path.read_text() if path.is_file() else ""
    match = next((line for line in MATCHES if text.count(line) == 1), None)
    if match is None:
        return False
    (file,) = re.findall(r"(?m)^def _?parse_makefile\((\w+)", text)[:1]
    here = f"""\
        if line.startswith('prefix='):
            here = os.path.join(os.path.dirname(os.path.abspath({file})), '../../..')
            line = line.replace({HERE!r}, os.path.normpath(here))
"""
    path.write_text(text.replace(match, here + match))
    return True


def fix(b: Build) -> None:
    """Rewrite these files in the payload.

    Raises:
        BuildError: A file has an unknown layout, or still names a folder of the build.
    """
    lib = b.payload / "lib" / names.program(b)
    for path in lib.glob("_sysconfigdata_*.py"):
        path.write_text(_sysconfigdata(b, path))
    for path in lib.glob("config-*/Makefile"):
        path.write_text(_makefile(b, path))
    for path in lib.glob("_sysconfig_vars_*.json"):
        _relative_json(b, path, _relative_variables)
    for path in lib.glob("build-details.json"):
        _relative_json(b, path, _build_details)
    for path in lib.glob("config-*/python-config.py"):
        first, _, rest = path.read_text().partition("\n")
        if first.startswith("#!") and not first.endswith("sh"):
            path.write_text(LAUNCHER.format(lib.name) + rest)
    for path in (b.payload / "bin").glob("python*-config"):
        if not path.is_symlink():
            path.write_text(_config_script(b, path))


def clean(b: Build, text: str) -> str:
    """Remove the flags of our build; replace compilers and tools by their plain names."""
    text = OURS.sub("", text)
    plain_names = {b.env["CC"]: "cc", b.env["CXX"]: "c++", **TOOLS}
    for name, plain in plain_names.items():
        text = re.sub(rf"(?<![^\s='\"/]){re.escape(name)}(?![^\s'\"])", plain, text)
    text = re.sub(r"/\S*/(?=(ar|ranlib|nm)(?!\S))", "", text)
    return re.sub(r"(?<!\S)(-DNDEBUG) +(?=\1(?!\S))", "", text)


def _variables(b: Build, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of sysconfig; they still contain the placeholder prefix."""
    config = values.get("LIBPL", f"{b.prefix}/lib")
    found = dict(values)
    for name, value in values.items():
        if isinstance(value, str):
            # Use the folder of the Makefile in place of the build folder.
            text = clean(b, value).replace("/rezbuild/source", config)
            # RUNSHARED: it was needed during the build only.
            found[name] = re.sub(r"LD_LIBRARY_PATH=\S* ?", "", text).strip()
    found["CONFIG_ARGS"] = _config_arguments(b, values["CONFIG_ARGS"])
    return found


def _config_arguments(b: Build, text: str) -> str:
    """Return the options of configure, without variables and folders of our build."""
    words = [word for word in shlex.split(text) if word.startswith("--")]
    kept = [w for w in words if "/rezbuild/" not in w or w == f"--prefix={b.prefix}"]
    return " ".join(f"'{word}'" for word in kept)


def _sysconfigdata(b: Build, path: Path) -> str:
    namespace: dict[str, Any] = {}
    exec(path.read_text(), namespace)  # noqa: S102 (CPython's own file, made by this build)
    lines = [HEAD, "build_time_vars = {\n"]
    for name, value in sorted(_variables(b, namespace["build_time_vars"]).items()):
        text = repr(value)
        if isinstance(value, str):
            text = " + _prefix + ".join(repr(part) for part in value.split(b.prefix))
            text = re.sub(r"^'' \+ | \+ ''$", "", text)
        lines.append(f"    {name!r}: {text},\n")
    return _checked("".join([*lines, "}\n"]), path)


def _makefile(b: Build, path: Path) -> str:
    text = path.read_text()
    given = "".join(re.findall(r"(?m)^CONFIG_ARGS=(.*)$", text))
    text = clean(b, re.sub(r"(?m)^CONFIG_ARGS=.*$", "CONFIG_ARGS=@", text))
    text = text.replace("CONFIG_ARGS=@", f"CONFIG_ARGS=\t{_config_arguments(b, given)}")
    text, found = re.subn(r"(?m)^prefix=.*$", lambda _: PREFIX, text)
    if found != 1:
        raise BuildError(f"{path} sets its prefix {found} times, not once")
    text = text.replace(b.prefix, "$(prefix)").replace("/rezbuild/source", "$(LIBPL)")
    return _checked(re.sub(r"LD_LIBRARY_PATH=\S* ?", "", text), path)


def _config_script(b: Build, path: Path) -> str:
    text = path.read_text()
    if not text.startswith("#!/bin/sh"):
        return text
    text, found = re.subn(r"(?ms)^installed_prefix \(\)\n\{.*?^\}", lambda _: PLACE, text)
    if found != 1:
        raise BuildError(f"{path} has an unknown layout: no function installed_prefix")
    text = re.sub(r'(?m)^prefix=".*"$', 'prefix="$prefix_real"', text)
    text = re.sub(r'\$\(echo "([^"]*)" \| sed "s#\$prefix#\$prefix_real#"\)', r'"\1"', text)
    text = re.sub(r"(?m)^(\w+)=(\$\{prefix_real\}\S*|\$\{prefix\}\S*)$", r'\1="\2"', text)
    text = text.replace('$(installed_prefix "$0")', '"$(installed_prefix "$0")"')
    if "| sed" in text:
        raise BuildError(f"{path} has an unknown layout: it calls sed")
    return _checked(clean(b, text), path)


def _relative_json(
    b: Build, path: Path, change: Callable[[Build, dict[str, Any]], dict[str, Any]]
) -> None:
    values = change(b, json.loads(path.read_text()))
    path.write_text(_checked(json.dumps(values, indent=2) + "\n", path))


def _relative_variables(b: Build, values: dict[str, Any]) -> dict[str, Any]:
    """Return the variables with paths that are relative to the JSON file's folder."""
    found = _variables(b, values)
    return {n: v.replace(b.prefix, "../..") if isinstance(v, str) else v for n, v in found.items()}


def _build_details(b: Build, values: dict[str, Any]) -> dict[str, Any]:
    """Return PEP 739's data: base_prefix is relative to the file, other paths to base_prefix."""
    values["base_prefix"] = "../.."

    def relative(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: relative(item) for name, item in value.items()}
        if isinstance(value, str) and value.startswith(b.prefix + "/"):
            return "./" + os.path.relpath(value, b.prefix)
        return value

    return {name: relative(value) for name, value in values.items()}


def _checked(text: str, path: Path) -> str:
    left = sorted(set(re.findall(r"/rezbuild/\S*", text)))
    if left:
        raise BuildError(
            f"{path} still names folders of the build: {', '.join(left[:10])}",
            advice=["adapt packages/python/installed.py to this version of CPython"],
        )
    return text
