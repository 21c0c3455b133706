"""OpenSSL: libraries and command; the legacy provider inside, no engines, no documents."""


def build(b):
    """Builds and installs what programs need of OpenSSL."""
    b.run(
        "./config",
        f"--prefix={b.prefix}",
        f"--openssldir={b.prefix}/ssl",
        "--libdir=lib",
        "shared",
        "no-tests",
        "enable-ec_nistp_64_gcc_128",
        # Modules are looked for in a folder fixed at build time; there is none after a move. So the
        # legacy provider goes into libcrypto (3.0 on), and engines cannot be loaded from files.
        "no-dynamic-engine" if b.series < (3, 0) else "no-module",
    )
    # Each file would be compiled twice: the static libraries have objects of their own.
    no_static = ("LIBS=", "INSTALL_LIBS=")
    b.make(*no_static, "build_sw" if b.series >= (3, 0) else "all")
    b.install(*no_static, "install_sw", "install_ssldirs")
    b.remove("lib/engines-*", "lib/ossl-modules", "bin/c_rehash", "ssl/*.dist", "ssl/misc")
