"""OpenSSL: libraries and command; the legacy provider inside, no engines, no documents."""

# As the build files name the objects of each part.
ARCHIVES = {
    "libssl": ("libssl-shlib",),
    "libcrypto": ("libcrypto-shlib", "libdefault-lib", "liblegacy-lib", "libcommon-lib"),
}

# What parses and computes little is compiled for size, a third of the code: python has two copies
# of it, in the program and in libpython. A handshake takes as long as before.
FOR_SIZE = "asn1 bio cmp cms conf crmf ct encode_decode engine err ess http objects ocsp pem pkcs12"
FOR_SIZE += " pkcs7 store ts ui x509"


def build(b):
    """Builds and installs what programs need of OpenSSL."""
    # Upstream's own, which setting CFLAGS drops.
    b.flags(CFLAGS="-Wall -O3")
    b.configure(
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
    objects = ["ssl/%.o", *(f"crypto/{part}/%.o" for part in FOR_SIZE.split())]
    with (b.source / "Makefile").open("a") as makefile:
        makefile.write(f"\n{' '.join(objects)}: LIB_CFLAGS += -Os\n")
    # Each file would be compiled twice: upstream's static libraries have objects of their own.
    no_static = ("LIBS=", "INSTALL_LIBS=")
    b.make(*no_static, "build_sw" if b.series >= (3, 0) else "all")
    b.install(*no_static, "install_sw", "install_ssldirs")
    if b.series >= (3, 0):
        _archive(b)
    b.remove("lib/engines-*", "lib/ossl-modules", "bin/c_rehash", "ssl/*.dist", "ssl/misc")


def _archive(b):
    """Static libraries of the objects that the shared ones are made of."""
    for library, parts in ARCHIVES.items():
        objects = [path for part in parts for path in sorted(b.source.rglob(f"{part}-*.o"))]
        names = [str(path.relative_to(b.source)) for path in objects]
        b.run("ar", "rcs", f"{library}.a", *names)
        b.run("install", "-m", "644", f"{library}.a", str(b.payload / "lib"))
