"""Each module of the standard library: its origin, attributes and source."""

import contextlib
import hashlib
import importlib
import inspect
import io
import json
import os
import pkgutil
import sys
import types
import warnings

# These open a window or a browser, print, or are for -m only.
NOT_IMPORTED = ("antigravity", "this", "idlelib", "turtledemo", "lib2to3.pgen2.driver")
TESTS = ("test", "tests", "idle_test", "_test", "xxlimited", "xxsubtype", "_xxtestfuzz")


def is_wanted(name):
    parts = name.split(".")
    if parts[-1] == "__main__" or name.startswith(NOT_IMPORTED):
        return False
    return not any(part in TESTS or part.startswith(TESTS[3:]) for part in parts)


def names():
    for name in sorted(sys.stdlib_module_names):
        if is_wanted(name):
            yield name
            module = load(name)
            for item in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
                if is_wanted(item.name):
                    yield item.name


def load(name):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(name)
    except Exception as error:
        return error


def kind(value):
    return type(value).__module__ + "." + type(value).__qualname__


def attribute(name, value):
    """Return the type, and the value of a constant: it may come from another header."""
    is_constant = type(value) is int and name.isupper()
    return f"{kind(value)} {value}" if is_constant else kind(value)


def source(module):
    try:
        return hashlib.md5(inspect.getsource(module).encode()).hexdigest()
    except (OSError, TypeError) as error:
        return kind(error)


def code_files(module):
    functions = [value for value in vars(module).values() if isinstance(value, types.FunctionType)]
    return sorted({function.__code__.co_filename for function in functions})


def facts(module):
    if isinstance(module, Exception):
        return {"error": f"{kind(module)}: {module}"}
    spec = module.__spec__
    cached = getattr(spec, "cached", None)
    return {
        "file": getattr(module, "__file__", "missing"),
        "cached": getattr(module, "__cached__", "missing"),
        "cached is there": bool(cached) and os.path.exists(cached),
        "package": module.__package__,
        "path": list(getattr(module, "__path__", ["missing"])),
        "loader": kind(module.__loader__),
        "spec": spec and [spec.origin, spec.has_location, spec.parent, kind(spec.loader)],
        "repr": repr(module),
        "source": source(module),
        "code": code_files(module),
        "attributes": {
            name: attribute(name, value) for name, value in sorted(vars(module).items())
        },
    }


warnings.simplefilter("ignore")
# All modules are imported first, because imported submodules become attributes of their package.
modules = {name: load(name) for name in names()}
print(json.dumps({name: facts(module) for name, module in modules.items()}))
