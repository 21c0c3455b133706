from rezbuild.rez_plugin.package_definition import define

name = "bzip2"
description = "Block-sorting data compression."
authors = ["Julian Seward"]
help = "https://sourceware.org/bzip2/docs.html"
uuid = "8e4472d4-37b9-5421-9865-6314db471ae4"
tools = ["bunzip2", "bzcat", "bzip2", "bzip2recover"]
define(globals())
