from rezbuild.rez_plugin.package_definition import define

name = "libffi"
description = "Calls of C functions whose types are known at run time only."
authors = ["libffi maintainers"]
help = "https://sourceware.org/libffi/"
uuid = "1b05cf24-9143-5379-bcad-c1b18ce0a47a"
define(globals())
