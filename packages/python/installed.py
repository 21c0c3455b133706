"""What an installed CPython says about itself in text, computed from where it stands.

sysconfig, its Makefile and python3-config are read by those who build against this Python. CPython
writes what it was configured with: places that are not there, and the flags of our build, which
are not theirs.
"""

import json
import os
import re
import shlex

from rezbuild.errors import BuildError

from . import names

# What is left of the build's own compiler flags: of no use, or harmful, to anyone else.
OURS = re.compile(
    r"""[ ]*(?<![^\s='"])(
        -[IL]/rezbuild/(?!python[-_])[^\s'"]*  # the packages that this was built against
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
# System configuration, computed from where this file stands.
import os

try:
    _prefix = os.path.abspath(__file__)
except NameError:  # some tools execute the text of this file
    _prefix = os.path.abspath(os.__file__)
for _ in range(3):
    _prefix = os.path.dirname(_prefix)

"""
# make(1) computes where its file is; CPython's parsers of Makefiles take the first of these lines.
HERE = "$(abspath $(dir $(lastword $(MAKEFILE_LIST)))/../../..)"
PREFIX = f"prefix=\t{HERE}\nprefix:=\t$(prefix)"
PARSERS = ("sysconfig.py", "sysconfig/__main__.py", "distutils/sysconfig.py")
# The line before which parser() adds its own: of CPython's parsers, and of newer setuptools'.
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
# The place of this installation: the folder that this script's own folder is in.
installed_prefix ()
{
    dirname -- "$(dirname -- "$(readlink -f -- "$1")")"
}"""


def prepare(b):
    """Before the build: what parses the Makefile knows how it names its place."""
    found = [name for name in PARSERS if parser(b.source / "Lib" / name)]
    if not found:
        raise BuildError("CPython's parser of Makefiles is not as it is known")


def parser(path):
    """Teach the parser of Makefiles in a file to read HERE as make does.

    Returns:
        Whether the file has such a parser.
    """
    text = path.read_text() if path.is_file() else ""
    match = next((line for line in MATCHES if text.count(line) == 1), None)
    if match is None:
        return False
    file = re.search(r"(?m)^def _?parse_makefile\((\w+)", text)[1]
    here = f"""\
        if line.startswith('prefix='):
            here = os.path.join(os.path.dirname(os.path.abspath({file})), '../../..')
            line = line.replace({HERE!r}, os.path.normpath(here))
"""
    path.write_text(text.replace(match, here + match))
    return True


def fix(b):
    """Rewrites each of these files in the payload.

    Raises:
        BuildError: A file still names a folder of the build, or is not as it is known.
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


def clean(b, text):
    """Without the flags of our build; with compilers and tools by their plain names."""
    text = OURS.sub("", text)
    names = {b.env["CC"]: "cc", b.env["CXX"]: "c++", **TOOLS}
    for name, plain in names.items():
        text = re.sub(rf"(?<![^\s='\"/]){re.escape(name)}(?![^\s'\"])", plain, text)
    text = re.sub(r"/\S*/(?=(ar|ranlib|nm)(?!\S))", "", text)
    return re.sub(r"(?<!\S)(-DNDEBUG) +(?=\1(?!\S))", "", text)


def _variables(b, values):
    """What sysconfig shall say, with the prefix of configure for where it stands."""
    config = values.get("LIBPL", f"{b.prefix}/lib")
    found = dict(values)
    for name, value in values.items():
        if isinstance(value, str):
            # Where the Makefile is: all that remains of the build folder.
            text = clean(b, value).replace("/rezbuild/source", config)
            # How the new interpreter was run while it was built.
            found[name] = re.sub(r"LD_LIBRARY_PATH=\S* ?", "", text).strip()
    found["CONFIG_ARGS"] = _config_arguments(b, values["CONFIG_ARGS"])
    return found


def _config_arguments(b, text):
    """The options of configure; what was set for it besides are places and flags of our build."""
    words = [word for word in shlex.split(text) if word.startswith("--")]
    kept = [w for w in words if "/rezbuild/" not in w or w == f"--prefix={b.prefix}"]
    return " ".join(f"'{word}'" for word in kept)


def _sysconfigdata(b, path):
    namespace = {}
    exec(path.read_text(), namespace)  # noqa: S102 (CPython's own file, made by this build)
    lines = [HEAD, "build_time_vars = {\n"]
    for name, value in sorted(_variables(b, namespace["build_time_vars"]).items()):
        text = repr(value)
        if isinstance(value, str):
            text = " + _prefix + ".join(repr(part) for part in value.split(b.prefix))
            text = re.sub(r"^'' \+ | \+ ''$", "", text)
        lines.append(f"    {name!r}: {text},\n")
    return _checked("".join([*lines, "}\n"]), path)


def _makefile(b, path):
    text = path.read_text()
    given = "".join(re.findall(r"(?m)^CONFIG_ARGS=(.*)$", text))
    text = clean(b, re.sub(r"(?m)^CONFIG_ARGS=.*$", "CONFIG_ARGS=@", text))
    text = text.replace("CONFIG_ARGS=@", f"CONFIG_ARGS=\t{_config_arguments(b, given)}")
    text, found = re.subn(r"(?m)^prefix=.*$", lambda _: PREFIX, text)
    if found != 1:
        raise BuildError(f"{path} sets its prefix {found} times, not once")
    text = text.replace(b.prefix, "$(prefix)").replace("/rezbuild/source", "$(LIBPL)")
    return _checked(re.sub(r"LD_LIBRARY_PATH=\S* ?", "", text), path)


def _config_script(b, path):
    text = path.read_text()
    if not text.startswith("#!/bin/sh"):
        return text
    text, found = re.subn(r"(?ms)^installed_prefix \(\)\n\{.*?^\}", lambda _: PLACE, text)
    if found != 1:
        raise BuildError(f"{path} is not the script that is known: no function installed_prefix")
    text = re.sub(r'(?m)^prefix=".*"$', 'prefix="$prefix_real"', text)
    text = re.sub(r'\$\(echo "([^"]*)" \| sed "s#\$prefix#\$prefix_real#"\)', r'"\1"', text)
    text = re.sub(r"(?m)^(\w+)=(\$\{prefix_real\}\S*|\$\{prefix\}\S*)$", r'\1="\2"', text)
    text = text.replace('$(installed_prefix "$0")', '"$(installed_prefix "$0")"')
    if "| sed" in text:
        raise BuildError(f"{path} is not the script that is known: it computes by sed")
    return _checked(clean(b, text), path)


def _relative_json(b, path, change):
    values = change(b, json.loads(path.read_text()))
    path.write_text(_checked(json.dumps(values, indent=2) + "\n", path))


def _relative_variables(b, values):
    """JSON cannot compute: relative to the file's folder."""
    found = _variables(b, values)
    return {n: v.replace(b.prefix, "../..") if isinstance(v, str) else v for n, v in found.items()}


def _build_details(b, values):
    """PEP 739: base_prefix may be relative to the file's folder, the rest to base_prefix."""
    values["base_prefix"] = "../.."

    def relative(value):
        if isinstance(value, dict):
            return {name: relative(item) for name, item in value.items()}
        if isinstance(value, str) and value.startswith(b.prefix + "/"):
            return "./" + os.path.relpath(value, b.prefix)
        return value

    return relative(values)


def _checked(text, path):
    left = sorted(set(re.findall(r"/rezbuild/\S*", text)))
    if left:
        raise BuildError(
            f"{path} still names folders of the build: {', '.join(left[:10])}",
            advice=["packages/python/installed.py says what becomes of each variable"],
        )
    return text
