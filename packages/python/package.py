from rezbuild.rez_plugin.package_definition import define

name = "python"
description = "CPython that works in any folder and is independent of the host."
authors = ["Python Software Foundation"]
help = "https://docs.python.org/3/"
uuid = "9bc77775-9d41-535c-b1fb-a6e06678cc2c"
tools = ["python", "python3"]


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
