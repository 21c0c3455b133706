name = "sqlite"
description = "An SQL database in a file: the library and its shell."
uuid = "b67c0f57-eca7-5c0a-9298-87bd197efe89"
tools = ["sqlite3"]
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
