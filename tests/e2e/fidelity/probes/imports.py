"""Search and loading of modules: user modules before the library, and their loaders."""

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import textwrap
import traceback
import zipfile
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    PathFinder,
    SourceFileLoader,
)

LIBRARY = os.path.dirname(os.__file__)
found = {}


def outcome(do):
    try:
        value = do()
        return (
            value
            if value is None or isinstance(value, (bool, int, str, list))
            else repr(type(value))
        )
    except Exception as error:
        return f"{type(error).__name__}: {error}"


class UserFinder(SourceFileLoader):
    pass


def describe_spec(spec):
    return spec and [type(spec.loader).__name__, spec.origin, spec.submodule_search_locations]


NAMES = ("shlex", "email", "resource", "_ssl", "os", "sys", "itertools", "wave", "missing")
default = sys.path_hooks[1](LIBRARY)
found["default finder"] = {name: describe_spec(default.find_spec(name)) for name in NAMES}
found["default finder, its attributes"] = sorted(vars(default))
dynamic = sys.path_hooks[1](os.path.join(LIBRARY, "lib-dynload"))
found["dynamic finder"] = {name: describe_spec(dynamic.find_spec(name)) for name in NAMES}
extensions = FileFinder(LIBRARY, (ExtensionFileLoader, EXTENSION_SUFFIXES))
found["finder of extensions"] = {name: describe_spec(extensions.find_spec(name)) for name in NAMES}
finder = FileFinder(
    LIBRARY, (ExtensionFileLoader, EXTENSION_SUFFIXES), (UserFinder, SOURCE_SUFFIXES)
)
found["finder with a loader"] = {name: describe_spec(finder.find_spec(name)) for name in NAMES}
packages = FileFinder(os.path.join(LIBRARY, "email"), (SourceFileLoader, SOURCE_SUFFIXES))
found["finder in a package"] = describe_spec(packages.find_spec("email.message"))
found["path finder"] = {name: describe_spec(PathFinder.find_spec(name)) for name in NAMES}
found["specs"] = {name: describe_spec(importlib.util.find_spec(name)) for name in NAMES}
found["in a package"] = describe_spec(importlib.util.find_spec("json.decoder"))
hook = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (UserFinder, [".py"]))
sys.path_hooks.insert(0, hook)
sys.path_importer_cache.clear()
for name in ("shlex", "wave"):
    sys.modules.pop(name, None)
    found[f"loader of {name}"] = type(importlib.import_module(name).__loader__).__name__
sys.path_hooks.remove(hook)
sys.path_importer_cache.clear()
importlib.invalidate_caches()
found["get_code"] = outcome(lambda: textwrap.__loader__.get_code("other"))
found["get_data"] = outcome(lambda: len(textwrap.__loader__.get_data(textwrap.__file__)))
found["get_source"] = outcome(lambda: len(textwrap.__loader__.get_source("textwrap")))
found["is_package"] = outcome(lambda: textwrap.__loader__.is_package("textwrap"))
found["get_filename"] = outcome(lambda: textwrap.__loader__.get_filename("other"))
found["loader"] = sorted(vars(textwrap.__loader__))
found["loader's class"] = [c.__qualname__ for c in type(textwrap.__loader__).__mro__]
found["classes"] = {
    c.__name__: sorted(vars(c)) for c in (SourceFileLoader, FileFinder, ExtensionFileLoader)
}
found["reloaded"] = importlib.reload(textwrap) is textwrap
for name in ("string\0", "json.\0", "half \ud800", "caf\u00e9", ""):
    found[f"import of {name!a}"] = outcome(lambda name=name: importlib.import_module(name))
try:
    json.loads("x")
except ValueError:
    found["traceback"] = traceback.format_exc()


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(text)


def gets_user_module(name):
    """Return whether an import gets the user's own module."""
    for known in [known for known in sys.modules if known.partition(".")[0] == name]:
        del sys.modules[known]
    importlib.invalidate_caches()
    return outcome(lambda: getattr(importlib.import_module(name), "mine", False))


# User modules with names of the library: in a folder, a package, a zip file, and a folder without
# __init__.py, which is no package if the library has one.
OWN = ("shlex", "wave", "resource", "_bisect", "json", "audioop")
with tempfile.TemporaryDirectory() as top:
    for name in OWN:
        put(f"{top}/files/{name}.py", "mine = True")
        put(f"{top}/packages/{name}/__init__.py", "mine = True")
        os.makedirs(f"{top}/namespaces/{name}")
    with zipfile.ZipFile(f"{top}/first.zip", "w") as archive:
        for name in OWN:
            archive.writestr(f"{name}.py", "mine = True")
    for place in ("files", "packages", "namespaces", "first.zip"):
        sys.path.insert(0, f"{top}/{place}")
        found[f"own modules: {place}, first"] = {name: gets_user_module(name) for name in OWN}
        sys.path.append(sys.path.pop(0))
        found[f"own modules: {place}, last"] = {name: gets_user_module(name) for name in OWN}
        sys.path.pop()
    # Written after the folder was listed.
    sys.path.insert(0, f"{top}/late")
    os.makedirs(sys.path[0])
    late = [gets_user_module("shlex"), gets_user_module("resource")]
    put(f"{top}/late/shlex.py", "mine = True")
    put(f"{top}/late/resource.py", "mine = True")
    found["own modules: written late"] = [
        late,
        gets_user_module("shlex"),
        gets_user_module("resource"),
    ]
    sys.path.pop(0)


def call_loader(**methods):
    """Return the results of the methods of a standard library loader for one file."""
    loader = SourceFileLoader("colorsys", os.path.join(LIBRARY, "colorsys.py"))
    vars(loader).update(methods)
    names = {}
    exec(loader.get_code("colorsys"), names)
    return sorted(name for name in names if name.isupper())


def no_file(path):
    raise OSError(path)


found["loader with a reader of its own"] = [
    call_loader(),
    call_loader(get_data=lambda path: b"MINE = 1", path_stats=no_file),
    call_loader(get_data=lambda path: b"MINE = 1", path_stats=no_file, _cache_bytecode=None),
]
# Each path hook checks the path itself.
zip_hook, folder_hook = sys.path_hooks[:2]
with tempfile.TemporaryDirectory() as top:
    place = f"{top}/comes and goes"
    looks = [outcome(lambda: zip_hook(place))]
    os.mkdir(place)
    looks += [outcome(lambda: folder_hook(place)), outcome(lambda: zip_hook(place))]
    os.rmdir(place)
    looks += [outcome(lambda: folder_hook(place))]
found["path hooks"] = [str(look).replace(top, "") for look in looks]
for odd in (None, 5, b"json", ()):
    found[f"odd values: {odd}"] = [
        outcome(lambda odd=odd: describe_spec(sys.path_hooks[1](LIBRARY).find_spec(odd))),
        outcome(lambda odd=odd: repr(zip_hook(odd))),
        outcome(lambda odd=odd: type(folder_hook(odd)).__name__),
        outcome(lambda odd=odd: describe_spec(PathFinder.find_spec("shlex", [odd]))),
    ]


def builtin(name):
    return outcome(lambda: describe_spec(importlib.machinery.BuiltinImporter.find_spec(name)))


found["builtin importer"] = {name: builtin(name) for name in NAMES}
print(json.dumps(found))
