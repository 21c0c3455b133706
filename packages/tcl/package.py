from rezbuild.rez_plugin.package_definition import define

name = "tcl"
description = "The Tcl language: library, scripts and tclsh."
authors = ["Tcl Core Team"]
help = "https://www.tcl-lang.org/man/tcl8.6/"
uuid = "25ebe266-5f92-572d-81af-361771af862b"
tools = ["tclsh", "tclsh8.6"]
define(globals())
