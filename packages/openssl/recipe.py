"""OpenSSL: the libraries with the legacy provider, and the command. No engines, no documents."""

from rezbuild.build.recipe_api import Build

# Prefixes of the object files that belong to each static library.
ARCHIVES = {
    "libssl": ("libssl-shlib",),
    "libcrypto": ("libcrypto-shlib", "libdefault-lib", "liblegacy-lib", "libcommon-lib"),
}

# Folders of code that parses data and computes little, a third of all code. They are compiled for
# size, since python has two copies, in the program and in libpython. The time of a TLS handshake
# does not change.
FOR_SIZE = "asn1 bio cmp cms conf crmf ct encode_decode engine err ess http objects ocsp pem pkcs12"
FOR_SIZE += " pkcs7 store ts ui x509"


def build(b: Build) -> None:
    """Build and install the libraries, headers and the command."""
    # Upstream's defaults, which CFLAGS replaces.
    b.flags(CFLAGS="-Wall -O3")
    b.configure(
        f"--openssldir={b.prefix}/ssl",
        "--libdir=lib",
        "shared",
        "no-tests",
        "enable-ec_nistp_64_gcc_128",
        # OpenSSL searches modules in a folder that is fixed at build time and does not exist after
        # a move. So the legacy provider is part of libcrypto (from 3.0 on), and engines cannot be
        # loaded from files.
        "no-dynamic-engine" if b.series < (3, 0) else "no-module",
        script="./config",
    )
    objects = ["ssl/%.o", *(f"crypto/{part}/%.o" for part in FOR_SIZE.split())]
    with (b.source / "Makefile").open("a") as makefile:
        makefile.write(f"\n{' '.join(objects)}: LIB_CFLAGS += -Os\n")
    # Upstream compiles each file twice, since static libraries have separate objects. Skip that.
    no_static = ("LIBS=", "INSTALL_LIBS=")
    b.make(*no_static, "build_sw" if b.series >= (3, 0) else "all")
    b.install(*no_static, "install_sw", "install_ssldirs")
    if b.series >= (3, 0):
        _archive(b)
    b.remove("lib/engines-*", "lib/ossl-modules", "bin/c_rehash", "ssl/*.dist", "ssl/misc")


def _archive(b: Build) -> None:
    """Make static libraries from the objects of the shared ones."""
    for library, parts in ARCHIVES.items():
        objects = [path for part in parts for path in sorted(b.source.rglob(f"{part}-*.o"))]
        names = [str(path.relative_to(b.source)) for path in objects]
        b.run("ar", "rcs", f"{library}.a", *names)
        b.run("install", "-m", "644", f"{library}.a", str(b.payload / "lib"))
