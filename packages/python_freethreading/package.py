name = "python_freethreading"
description = "CPython without the global interpreter lock: its threads run at the same time."
uuid = "8e654b18-0471-4f8f-bb6b-9e5a9b107958"
# A family of its own: 3.13.5t would be a version above 3.13.5, and `<3.13.6` would pick it.
requires = ["!python"]
relocatable = cachable = True


@early()
def version():
    import rezbuild

    return rezbuild.package().version


@early()
def tools():
    import rezbuild

    # e.g. python3.13t
    series = ".".join(rezbuild.package().version.split(".")[:2])
    return ["python", "python3", f"python{series}t"]


@early()
def variants():
    import rezbuild

    return rezbuild.package().variants


@early()
def private_build_requires():
    import rezbuild

    return rezbuild.package().requires


@early()
def build_command():
    import rezbuild

    return rezbuild.package().build_command


@early()
def built_from():
    import rezbuild

    return rezbuild.package().built_from


@late()
def tests():
    import sys
    from importlib.util import find_spec

    # What the payload carries proves any host; on a build box the gate of a release is rezbuild's.
    run = ["sh", "{root}/rezbuild-test/run.sh"]
    check = [sys.executable, "-I", "-m", "rezbuild", "check", "--moved", "{root}"]
    found = {
        "host": {"command": run, "on_variants": True},
        "host-long": {"command": [*run, "long"], "run_on": "explicit", "on_variants": True},
    }
    if find_spec("rezbuild"):
        found["release"] = {"command": check, "run_on": "pre_release", "on_variants": True}
    return found


@late()
def glibc():
    import json
    import os

    # The oldest glibc that the payload runs on, as its build recorded it.
    try:
        variant = this if this.is_variant else next(this.iter_variants())
        with open(os.path.join(variant.root, "rezbuild.json"), encoding="utf-8") as record:
            return json.load(record)["glibc"]
    except (KeyError, OSError, TypeError, ValueError):
        return None


def commands():
    env.PATH.prepend("{root}/bin")
    # What a DCC leaves behind for its own Python makes any other one fail at start. Its PYTHONPATH
    # goes with it, unless a package of this environment has set that already.
    if defined("PYTHONHOME"):
        import os

        unsetenv("PYTHONHOME")
        if defined("PYTHONPATH") and getenv("PYTHONPATH") == os.environ.get("PYTHONPATH"):
            unsetenv("PYTHONPATH")
