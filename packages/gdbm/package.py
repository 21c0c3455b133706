from rezbuild.rez_plugin.package_definition import define

name = "gdbm"
description = "A key-value database in a file, with the ndbm interface."
authors = ["GNU project"]
help = "https://www.gnu.org.ua/software/gdbm/manual/"
uuid = "5f789dee-dc9f-58a5-ae0f-db987d564f25"
tools = ["gdbm_dump", "gdbm_load", "gdbmtool"]
define(globals())
