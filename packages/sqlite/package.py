from rezbuild.rez_plugin.package_definition import define

name = "sqlite"
description = "An SQL database in a file: the library and its shell."
authors = ["SQLite team"]
help = "https://www.sqlite.org/docs.html"
uuid = "b67c0f57-eca7-5c0a-9298-87bd197efe89"
tools = ["sqlite3"]
define(globals())
