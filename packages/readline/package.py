from rezbuild.rez_plugin.package_definition import define

name = "readline"
description = "Line editing and history for interactive programs."
authors = ["GNU project"]
help = "https://tiswww.case.edu/php/chet/readline/rltop.html"
uuid = "f47cfcb9-5f57-59df-8bee-d1ab83a14ba0"
define(globals())
