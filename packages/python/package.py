from rezbuild.rez_plugin.package_definition import define

name = "python"
description = "CPython that works in any folder and is independent of the host."
uuid = "9bc77775-9d41-535c-b1fb-a6e06678cc2c"
tools = ["python", "python3"]


def commands():
    env.PATH.prepend("{root}/bin")
    # A DCC may have set PYTHONHOME for its Python, and other Pythons cannot start with it. Unset
    # it, and also the DCC's PYTHONPATH, unless a package of this environment has set another.
    if defined("PYTHONHOME"):
        import os

        unsetenv("PYTHONHOME")
        if defined("PYTHONPATH") and getenv("PYTHONPATH") == os.environ.get("PYTHONPATH"):
            unsetenv("PYTHONPATH")


define(globals())
