from rezbuild.rez_plugin.package_definition import define

name = "mpdecimal"
description = "Decimal floating-point arithmetic: libmpdec and its header."
authors = ["Stefan Krah"]
help = "https://www.bytereef.org/mpdecimal/"
uuid = "7737747e-9653-5134-9bb7-c8427db09744"
define(globals())
