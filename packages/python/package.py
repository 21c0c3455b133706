from rezbuild.rez_plugin.package_definition import define

name = "python"
description = "CPython, independent of the host and of the place it stands in."
uuid = "9bc77775-9d41-535c-b1fb-a6e06678cc2c"
tools = ["python", "python3"]


def commands():
    env.PATH.prepend("{root}/bin")
    # What a DCC leaves behind for its own Python makes any other one fail at start. Its PYTHONPATH
    # goes with it, unless a package of this environment has set that already.
    if defined("PYTHONHOME"):
        import os

        unsetenv("PYTHONHOME")
        if defined("PYTHONPATH") and getenv("PYTHONPATH") == os.environ.get("PYTHONPATH"):
            unsetenv("PYTHONPATH")


define(globals())
