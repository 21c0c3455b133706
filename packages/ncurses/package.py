from rezbuild.rez_plugin.package_definition import define

name = "ncurses"
description = "Terminal handling: curses, panels, menus and forms in wide characters, and terminfo."
authors = ["GNU project"]
help = "https://invisible-island.net/ncurses/"
uuid = "ee7bf9d2-4cfd-553f-9a42-5df21fc1adb4"
tools = ["clear", "infocmp", "reset", "tabs", "tic", "toe", "tput", "tset"]
define(globals())
