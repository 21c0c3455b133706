from rezbuild.rez_plugin.package_definition import define

name = "zlib"
description = "Lossless data compression (DEFLATE): the shared library and its headers."
authors = ["Jean-loup Gailly", "Mark Adler"]
help = "https://zlib.net/"
uuid = "2a9d40ec-43f1-50fc-8c6d-31ca83eb0cee"
define(globals())
