"""Orders the finished program by what runs often, with LLVM's BOLT where the machine has it.

The compiler's profile decides within functions; BOLT sees the whole program as it was linked.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Bolt:
    """The programs, as absolute paths."""

    bolt: str
    merge: str

    @classmethod
    def find(cls, b):
        """The newest of the machine, and the flag it needs is set; None where there is none."""
        found = {}
        for folder in map(Path, toolchain.SYSTEM_PATH.split(":")):
            for path in folder.glob("llvm-bolt-[0-9]*"):
                version = path.name.rpartition("-")[2]
                merge = folder / f"merge-fdata-{version}"
                if version.isdecimal() and int(version) >= OLDEST and merge.exists():
                    # Not the links: it looks for its own libraries beside itself.
                    found[int(version)] = cls(str(path.resolve()), str(merge.resolve()))
        if not found:
            print(f"  notice: no llvm-bolt-{OLDEST} or newer, so the compiler's order stays")
            return None
        b.flags(CFLAGS_NODIST=COMPILE)
        return found[max(found)]

    def apply(self, b):
        """Trains and rewrites ``python`` in the source folder."""
        data, program, plain = b.source / "bolt", b.source / "python", b.source / "python.plain"
        data.mkdir()
        program.rename(plain)
        b.run(
            *(self.bolt, plain.name, "-instrument", "-o", program.name),
            *(f"-instrumentation-file={data}/run", "-instrumentation-file-append-pid"),
        )
        names = [name for name in TRAINING.split() if any(b.source.glob(f"Lib/test/{name}*"))]
        b.run("./python", "-m", "test", "--pgo", f"-j{b.jobs}", *names)
        profiles = sorted(str(path) for path in data.iterdir())
        b.run(self.merge, "-o", "bolt.data", *profiles)
        b.run(self.bolt, plain.name, "-o", program.name, "-data=bolt.data", *OPTIONS)
