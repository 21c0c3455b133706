from rezbuild.rez_plugin.package_definition import define

name = "tk"
description = "Tcl's graphical toolkit, on X11."
authors = ["Tcl Core Team"]
help = "https://www.tcl-lang.org/man/tcl8.6/TkCmd/contents.htm"
uuid = "54fd1f44-2ab1-5877-a3c7-850c48d9b059"
tools = ["wish", "wish8.6"]
define(globals())
