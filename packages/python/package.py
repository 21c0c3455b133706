from rezbuild.rez_plugin.package_definition import commands_of_python, define

name = "python"
description = "CPython that works in any folder and is independent of the host."
authors = ["Python Software Foundation"]
help = "https://docs.python.org/3/"
uuid = "9bc77775-9d41-535c-b1fb-a6e06678cc2c"
tools = ["python", "python3"]
commands = commands_of_python
define(globals())
