name = "libxcrypt"
description = "One-way hashing of passwords: the crypt functions."
uuid = "2c712fcb-9f7e-544e-b6f1-721cc9181270"
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
