from rezbuild.rez_plugin.package_definition import define

name = "python_debug"
description = "Debug data of a python: gdb shows functions, lines and Python code."
authors = ["Python Software Foundation"]
help = "https://docs.python.org/3/howto/gdb_helpers.html"
uuid = "b9cc4180-6458-56bb-baae-b12ad8950da3"
tools = ["gdb-python"]
define(globals(), requires_at_run_time=True)
