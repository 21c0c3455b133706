from rezbuild.rez_plugin.package_definition import define

name = "zstd"
description = "Fast data compression."
authors = ["Meta Platforms"]
help = "https://facebook.github.io/zstd/"
uuid = "27461771-8fe2-51b7-952d-052c8b469310"
tools = ["unzstd", "zstd", "zstdcat", "zstdmt"]
define(globals())
