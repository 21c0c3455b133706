from rezbuild.rez_plugin.package_definition import define

name = "libxcrypt"
description = "One-way hashing of passwords: the crypt functions."
authors = ["libxcrypt maintainers"]
help = "https://github.com/besser82/libxcrypt"
uuid = "2c712fcb-9f7e-544e-b6f1-721cc9181270"
define(globals())
