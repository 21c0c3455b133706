"""Test the interpreter that runs this file: ``python3 -I -B trials.py [long]``.

It prints a line for each test, and exits with 1 if one fails. Payloads contain this file. It needs
the standard library of CPython 3.9 and newer only.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

# Each test runs in a separate process; its last line of output is shown.
QUICK = {
    "TLS": """\
import ssl
context = ssl.create_default_context()
assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
assert ssl.HAS_TLSv1_3 and ssl.HAS_SNI and ssl.HAS_ALPN
assert context.get_ciphers(), "no ciphers"
print(f"{ssl.OPENSSL_VERSION}, {len(context.get_ciphers())} ciphers")
""",
    "DER certificates": """\
import os, ssl
with open(os.environ["TRIAL_CERTIFICATE"], encoding="ascii") as stream:
    pem = stream.read()
der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE"):])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# Two of them: _ssl.c asks OpenSSL for more until the data ends.
context.load_verify_locations(cadata=der + der)
assert context.get_ca_certs(binary_form=True) == [der]
print("load_verify_locations(cadata=<bytes>)")
""",
    "hashes": """\
import hashlib, zlib
for name in sorted(hashlib.algorithms_guaranteed):
    digest = hashlib.new(name, b"abc")
    digest.hexdigest(8) if name.startswith("shake") else digest.hexdigest()
assert hashlib.scrypt(b"a", salt=b"b", n=16, r=1, p=1)
assert hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf") and zlib.crc32(b"abc") == 891568578
print(", ".join(sorted(hashlib.algorithms_guaranteed)))
""",
    "sqlite": """\
import sqlite3
base = sqlite3.connect(":memory:")
base.enable_load_extension(True)
options = {row[0].partition("=")[0] for row in base.execute("pragma compile_options")}
wanted = set("COLUMN_METADATA DBSTAT_VTAB FTS3 FTS4 FTS5 GEOPOLY MATH_FUNCTIONS PREUPDATE_HOOK "
             "RTREE SESSION UNLOCK_NOTIFY".split())
lost = sorted(name for name in wanted if "ENABLE_" + name not in options)
assert not lost, f"compiled without {', '.join(lost)}"
base.execute("create virtual table words using fts5(word)")
base.execute("insert into words values ('studio')")
assert base.execute("select count(*) from words where words match 'stud*'").fetchone() == (1,)
assert base.execute("select json_extract('[7]', '$[0]')").fetchone() == (7,)
assert sqlite3.threadsafety in (1, 3)
print(sqlite3.sqlite_version)
""",
    "ctypes": """\
import ctypes, os
assert ctypes.CDLL(None).getpid() == os.getpid()
compare = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.POINTER(ctypes.c_int)] * 2)
numbers = (ctypes.c_int * 3)(3, 1, 2)
ctypes.CDLL(None).qsort(numbers, 3, 4, compare(lambda a, b: a[0] - b[0]))
assert list(numbers) == [1, 2, 3], "a callback went wrong"
print("calls and callbacks")
""",
    "compression": """\
import bz2, gzip, lzma, sys
data = b"abc" * 1000
modules = [bz2, gzip, lzma]
if sys.version_info >= (3, 14):
    from compression import zstd
    modules.append(zstd)
for module in modules:
    assert module.decompress(module.compress(data)) == data
assert lzma.decompress(lzma.compress(data, lzma.FORMAT_ALONE)) == data
print(", ".join(module.__name__ for module in modules))
""",
    "databases": """\
import dbm.gnu, dbm.ndbm, os, tempfile
for module in (dbm.gnu, dbm.ndbm):
    with tempfile.TemporaryDirectory() as folder, module.open(folder + "/base", "c") as base:
        base[b"a"] = b"b"
        assert base[b"a"] == b"b"
print("dbm.gnu, dbm.ndbm (by %s)" % dbm.ndbm.library)
""",
    "processes": """\
import multiprocessing, sys
def main():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    assert multiprocessing.get_context("spawn").Lock()
    print("pools, semaphores")
main()
""",
    "text": """\
import curses, decimal, readline, unicodedata, uuid
assert decimal.Decimal(2).sqrt().to_eng_string() == "1.414213562373095048801688724"
assert decimal.HAVE_THREADS
assert "libedit" not in readline.__doc__
curses.setupterm("xterm-256color", 1)
assert curses.tigetnum("colors") == 256, "terminfo of xterm-256color is not found"
assert uuid._generate_time_safe, "uuid was built without libuuid"
print("decimal, uuid, curses with terminfo, Unicode " + unicodedata.unidata_version)
""",
}

# The key and certificate of a test server, for "localhost"; valid from 2020 for a hundred years.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfU0gwZOQj3evs6p8
pdjfc5uoZdH0FIoITt1WVsBkL76hRANCAAQxjdLcZKjZTwDklsk9XRf1K5CCuWSZ
A+bG5DHFlmpXKThSI2PGwoRMgT99lf4pidS+I2ARdho4RGI2RAY9Q+BC
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUUlgp2ksE2ZGr3Big0BhMw8RCyeMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQxjdLcZKjZTwDklsk9XRf1K5CCuWSZA+bG5DHFlmpXKThSI2PGwoRM
gT99lf4pidS+I2ARdho4RGI2RAY9Q+BCo2kwZzAdBgNVHQ4EFgQUol1i9men6Jof
TGHDeLdWlgxUgb8wHwYDVR0jBBgwFoAUol1i9men6JofTGHDeLdWlgxUgb8wDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIhAIQpMwBm0IyxMLSCA3+VBITDDSeVcMjQbECM1ndgOWLaAiAC++SeX1A+
wyfrL0JbF832APQP2r6DOJAaumYJUPqRHQ==
-----END CERTIFICATE-----
"""
# Tests that take some seconds.
LONG = {
    "handshake": """\
import os, socket, ssl, threading
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(os.environ["TRIAL_CERTIFICATE"])
client = ssl.create_default_context(cafile=os.environ["TRIAL_CERTIFICATE"])
ours, theirs = socket.socketpair()
def serve():
    with server.wrap_socket(theirs, server_side=True) as stream:
        stream.sendall(stream.recv(100).upper())
thread = threading.Thread(target=serve)
thread.start()
with client.wrap_socket(ours, server_hostname="localhost") as stream:
    stream.sendall(b"studio")
    assert stream.recv(100) == b"STUDIO"
    print(stream.version())
thread.join()
""",
    "venv": """\
import os, subprocess, sys, tempfile, venv
with tempfile.TemporaryDirectory() as folder:
    venv.create(folder, with_pip=True)
    python = folder + "/bin/python"
    ask = "import sys; print(sys.prefix != sys.base_prefix)"
    assert subprocess.check_output([python, "-I", "-c", ask]).strip() == b"True"
    said = subprocess.check_output([python, "-I", "-m", "pip", "--version"], text=True)
print(" ".join(said.split()[:2]))
""",
    "files": """\
import json, os, sys
with open(sys.prefix + "/rezbuild-files.json", encoding="utf-8") as listed:
    files = json.load(listed)
for name, size in files.items():
    path = os.path.join(sys.prefix, name)
    # A copy may have replaced a link by a file; other files must have their size.
    assert os.path.lexists(path), f"{name} is missing: copy the payload again"
    if isinstance(size, int):
        found = os.path.getsize(path)
        assert found == size, f"{name} has {found} bytes, not {size}: copy the payload again"
print(f"{len(files)} files exist, with the sizes of the build")
""",
}


def main():
    chosen = {**QUICK, **(LONG if sys.argv[1:] == ["long"] else {})}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        certificate = pathlib.Path(folder, "certificate.pem")
        certificate.write_text(CERTIFICATE)
        env = {**os.environ, "HOME": folder, "TMPDIR": folder}
        env["TRIAL_CERTIFICATE"] = str(certificate)
        for name, code in chosen.items():
            failed |= _fails(name, ["-c", code], env)
    if sys.argv[1:] == ["long"]:
        library = pathlib.Path(__file__).resolve().with_name("stdlib.py")
        failed |= _fails("standard library", [str(library)], {**os.environ})
    return int(failed)


def _fails(name, arguments, env):
    done = subprocess.run(
        [sys.executable, "-I", "-B", *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout.splitlines()
    if done.returncode == 0 and said:
        print(f"ok      {name}: {said[-1]}", flush=True)
        return False
    problems = [*said, *done.stderr.splitlines()[-1:]] or ["it crashed"]
    print(f"FAILED  {name}: {'; '.join(problems)}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
