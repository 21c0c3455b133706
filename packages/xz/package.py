from rezbuild.rez_plugin.package_definition import define

name = "xz"
description = "LZMA data compression: liblzma and the xz command."
authors = ["XZ Utils maintainers"]
help = "https://tukaani.org/xz/"
uuid = "43c246a8-7dca-57e9-9f46-d1453510dbcb"
tools = ["unxz", "xz", "xzcat", "xzdec"]
define(globals())
