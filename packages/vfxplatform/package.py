from rezbuild.rez_plugin.package_definition import define

name = "vfxplatform"
description = "A year of the VFX Reference Platform: pins the versions of requested packages."
authors = ["VFX Reference Platform"]
help = "https://vfxplatform.com/"
uuid = "3daa9657-d10e-5e6a-8b54-717245730f74"
define(globals())
