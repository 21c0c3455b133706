from rezbuild.rez_plugin.package_definition import define

name = "openssl"
description = "TLS and cryptography: libssl, libcrypto and the openssl command."
authors = ["OpenSSL project"]
help = "https://docs.openssl.org/"
uuid = "2f7865d0-cd2c-56f9-9dc7-6f6838376d28"
tools = ["openssl"]
define(globals())
