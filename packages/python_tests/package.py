from rezbuild.rez_plugin.package_definition import define

name = "python_tests"
description = "The tests of Python's standard library, with their C modules."
authors = ["Python Software Foundation"]
help = "https://docs.python.org/3/library/test.html"
uuid = "b9d555d3-b8a8-534e-886e-b997b9bc8890"


def commands():
    # Only this environment has the tests.
    env.PYTHONPATH.prepend("{root}/python")


define(globals(), requires_at_run_time=True)
