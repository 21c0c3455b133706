from rezbuild.rez_plugin.package_definition import define, package

name = "python_freethreading"
description = "CPython without the global interpreter lock: threads run in parallel."
authors = ["Python Software Foundation"]
help = "https://docs.python.org/3/howto/free-threading-python.html"
uuid = "8e654b18-0471-4f8f-bb6b-9e5a9b107958"
# A separate family: 3.13.5t would be a version above 3.13.5, and `<3.13.6` would select it.
requires = ["!python"]


@early()
def tools():
    # e.g. python3.13t
    series = ".".join(package().version.split(".")[:2])
    return ["python", "python3", f"python{series}t"]


def commands():
    env.PATH.prepend("{root}/bin")
    # A DCC may have set PYTHONHOME for its Python, and other Pythons cannot start with it. Python
    # ignores an empty value, which also works where Rez cannot unset a variable: its interpreter
    # for ResolvedContext.execute_command (rez/rex.py, class Python).
    if defined("PYTHONHOME") and getenv("PYTHONHOME"):
        env.PYTHONHOME = ""
        # Also remove the DCC's PYTHONPATH, unless a package of this environment has set it.
        actions = getenv.__self__
        if "PYTHONPATH" not in actions.environ:
            unsetenv("PYTHONPATH")
            getattr(actions.interpreter, "target_environ", {}).pop("PYTHONPATH", None)


define(globals())
