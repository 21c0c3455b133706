from rezbuild.rez_plugin.package_definition import define

name = "libuuid"
description = "Universally unique identifiers: the library of util-linux."
authors = ["util-linux maintainers"]
help = "https://github.com/util-linux/util-linux"
uuid = "9f59b599-1d0b-59bf-b08c-3b69da8a5879"
define(globals())
