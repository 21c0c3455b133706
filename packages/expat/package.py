name = "expat"
description = "Stream-oriented XML parser: the library and its headers."
uuid = "5df04938-535a-557d-ad89-154e1f41c5ca"
relocatable = cachable = True


@early()
def version():
    import rezbuild

    return rezbuild.package().version


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
