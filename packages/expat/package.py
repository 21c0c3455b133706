from rezbuild.rez_plugin.package_definition import define

name = "expat"
description = "Stream-oriented XML parser: the library and its headers."
authors = ["Expat maintainers"]
help = "https://libexpat.github.io/"
uuid = "5df04938-535a-557d-ad89-154e1f41c5ca"
define(globals())
