"""A short test of the new Python, which `make python` runs in its Rez environment."""

import ctypes
import readline
import sqlite3
import ssl
import sys
import zlib

print(sys.version)
print(
    f"{ssl.OPENSSL_VERSION}, zlib {zlib.ZLIB_RUNTIME_VERSION}, sqlite {sqlite3.sqlite_version},",
    f"ctypes {ctypes.__version__}, {readline.__name__}: all work",
)
