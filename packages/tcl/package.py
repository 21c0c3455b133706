name = "tcl"
description = "The Tcl language: library, scripts and tclsh."
uuid = "25ebe266-5f92-572d-81af-361771af862b"
tools = ["tclsh", "tclsh8.6"]
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


def commands():
    env.PATH.prepend("{root}/bin")


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
