"""Orders the finished program by what runs often, with LLVM's BOLT where the machine has it.

The compiler's profile decides within functions; BOLT sees the whole program as it was linked.
"""

import re
from pathlib import Path

from rezbuild import toolchain

# BOLT before 16 was not tried. It needs the relocations, which the linker keeps on request, and no
# function in two parts.
OLDEST = 16
LINK = "-Wl,--emit-relocs"
COMPILE = "-fno-reorder-blocks-and-partition"

# Short, since an instrumented program is slow: interpreter, dicts, strings, re, json, pickle, and
# the ways of starting up.
TRAINING = """
test_array test_ast test_base64 test_bisect test_bytes test_call test_class test_cmath
test_collections test_complex test_dataclasses test_datetime test_decimal test_dict test_enum
test_exceptions test_float test_fractions test_functools test_generators test_hashlib test_heapq
test_int test_iter test_itertools test_json test_list test_long test_math test_operator
test_ordered_dict test_pathlib test_pickle test_pprint test_re test_set test_slice test_sort
test_sqlite3 test_statistics test_str test_struct test_threading test_tuple test_typing test_unicode
test_xml_etree
"""
OPTIONS = (
    "-reorder-blocks=ext-tsp",
    "-reorder-functions=hfsort+",
    "-split-functions",
    "-icf=1",
    "-inline-all",
    "-split-eh",
    "-reorder-functions-use-hot-size",
    "-peepholes=none",
    "-jump-tables=aggressive",
    "-inline-ap",
    "-indirect-call-promotion=all",
    "-use-gnu-stack",
    "-frame-opt=hot",
)


def find():
    """The newest llvm-bolt with its merge-fdata, as absolute paths; None where there is none."""
    found = {}
    for folder in toolchain.SYSTEM_PATH.split(":"):
        for path in Path(folder).glob("llvm-bolt-*"):
            version = re.fullmatch(r"llvm-bolt-(\d+)", path.name)
            merge = path.with_name(f"merge-fdata-{version[1]}") if version else None
            if merge and merge.exists() and int(version[1]) >= OLDEST:
                found[int(version[1])] = (str(path), str(merge))
    return found[max(found)] if found else None


def apply(b, tools):
    """Trains and rewrites ``python`` in the source folder."""
    bolt, merge = tools
    data = b.source / "bolt"
    data.mkdir()
    b.run(
        *(bolt, "python", "-instrument", "-o", "python.instrumented"),
        *(f"-instrumentation-file={data}/run", "-instrumentation-file-append-pid"),
    )
    plain = b.source / "python.plain"
    (b.source / "python").rename(plain)
    (b.source / "python.instrumented").rename(b.source / "python")
    names = [n for n in TRAINING.split() if any(b.source.glob(f"Lib/test/{n}*"))]
    b.run("./python", "-m", "test", "--pgo", f"-j{b.jobs}", *names)
    plain.replace(b.source / "python")
    profiles = sorted(str(path) for path in data.iterdir())
    b.run(
        "sh",
        "-c",
        'merge=$1; out=$2; shift 2; exec "$merge" "$@" > "$out"',
        "sh",
        merge,
        "bolt.data",
        *profiles,
    )
    b.run(bolt, "python", "-o", "python.bolt", "-data=bolt.data", *OPTIONS)
    (b.source / "python.bolt").replace(b.source / "python")
