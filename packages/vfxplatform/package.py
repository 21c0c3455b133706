name = "vfxplatform"
description = "A year of the VFX Reference Platform: pins the versions of what is asked for."
uuid = "3daa9657-d10e-5e6a-8b54-717245730f74"
build_command = False
relocatable = cachable = True


@early()
def version():
    import rezbuild

    return rezbuild.platform().version


@early()
def requires():
    import rezbuild

    return list(rezbuild.platform().requires)


@early()
def draft():
    import rezbuild

    return rezbuild.platform().draft


@early()
def glibc():
    import rezbuild

    return rezbuild.platform().glibc
