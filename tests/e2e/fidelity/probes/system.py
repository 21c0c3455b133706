"""State of sys, os, site and the import system after a start."""

import sys

loaded = sorted(sys.modules)

import importlib.machinery
import json
import os


def kind(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"


def plain(value):
    """Return the facts that two processes of one interpreter have in common."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)) and not hasattr(value, "n_fields"):
        return [plain(item) for item in value]
    if hasattr(value, "n_fields"):
        return repr(value)
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return kind(value)


# These depend on the time and folder of the compilation.
LEFT_OUT = {"version", "modules", "_git"}
found = {name: plain(value) for name, value in vars(sys).items() if name not in LEFT_OUT}
found["modules at the start"] = loaded
found["path_importer_cache"] = {path: kind(f) for path, f in sys.path_importer_cache.items()}
found["path_hooks"] = [getattr(hook, "__qualname__", kind(hook)) for hook in sys.path_hooks]
found["meta_path"] = [getattr(finder, "__qualname__", kind(finder)) for finder in sys.meta_path]
found["suffixes"] = importlib.machinery.all_suffixes()
found["recursion"] = sys.getrecursionlimit()
found["switch interval"] = sys.getswitchinterval()
found["encoding"] = [sys.getdefaultencoding(), sys.getfilesystemencoding()]
found["dlopen flags"] = sys.getdlopenflags()
found["os"] = sorted(dir(os))
if not sys.flags.no_site:
    import site

    found["site"] = [site.PREFIXES, site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE]
    found["site packages"] = [site.getsitepackages(), site.getusersitepackages()]
print(json.dumps(found))
