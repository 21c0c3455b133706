from rezbuild.rez_plugin.package_definition import commands_of_python, define, package

name = "python_freethreading"
description = "CPython without the global interpreter lock: threads run in parallel."
authors = ["Python Software Foundation"]
help = "https://docs.python.org/3/howto/free-threading-python.html"
uuid = "8e654b18-0471-4f8f-bb6b-9e5a9b107958"
# A separate family: 3.13.5t would be a version above 3.13.5, and `<3.13.6` would select it.
requires = ["!python"]
commands = commands_of_python


@early()
def tools():
    # e.g. python3.13t
    series = ".".join(package().version.split(".")[:2])
    return ["python", "python3", f"python{series}t"]


define(globals())
