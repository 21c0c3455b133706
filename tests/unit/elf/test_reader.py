"""The ELF reader, tested with files of the machine's compiler and linker."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from compile_c import Compiler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rezbuild.elf import reader
from rezbuild.elf.model import Elf
from rezbuild.elf.reader import ElfError, is_elf, walk
from rezbuild.errors import RezbuildError

# elf(5), 64 bits: offsets of the fields that the tests change.
E_PHOFF, E_SHOFF, E_PHNUM, E_SHNUM = 32, 40, 56, 60
PHDR_SIZE, P_OFFSET, P_VADDR, P_FILESZ = 56, 8, 16, 32
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 1, 2, 3, 0x6474E551
DT_STRTAB, DT_STRSZ, DT_VERNEED, DT_VERNEEDNUM = 5, 10, 0x6FFFFFFE, 0x6FFFFFFF


# A file of this size is read in milliseconds: two seconds are a loop. The folder that all examples
# share uses one file, which each rewrites.
many = settings(
    max_examples=300,
    deadline=2000,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_refuse(path: Path) -> Elf | None:
    """Read `path`; anything but a result or an ElfError that names it fails the test."""
    try:
        return reader.read(path)
    except ElfError as error:
        if str(path) not in error.message:
            raise
        return None


class Image:
    """The bytes of a 64-bit little-endian ELF file, to be damaged on purpose."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def get(self, offset: int, form: str = "Q") -> int:
        return int(struct.unpack_from("<" + form, self.data, offset)[0])

    def put(self, offset: int, value: int, form: str = "Q") -> None:
        struct.pack_into("<" + form, self.data, offset, value)

    def segment(self, kind: int) -> int:
        first, count = self.get(E_PHOFF), self.get(E_PHNUM, "H")
        headers = range(first, first + count * PHDR_SIZE, PHDR_SIZE)
        return next(offset for offset in headers if self.get(offset, "I") == kind)

    def tag(self, tag: int) -> int:
        """Return the offset of a dynamic tag's value."""
        offset = self.get(self.segment(PT_DYNAMIC) + P_OFFSET)
        while self.get(offset) != tag:
            offset += 16
        return offset + 8

    def write(self, path: Path) -> Path:
        path.write_bytes(self.data)
        return path


@pytest.fixture
def image(small_elf: bytes) -> Image:
    if small_elf[4:6] != b"\x02\x01":
        pytest.skip("the tests that damage files know 64-bit little-endian ones")
    return Image(small_elf)


def test_library_is_read(compile_c: Compiler) -> None:
    path = compile_c.library("libone.so.1")
    found = reader.read(path)
    assert found.path == path
    assert (found.type, found.dynamic, found.interpreter) == ("ET_DYN", True, None)
    assert (found.soname, found.needed) == ("libone.so.1", ())
    assert (found.rpath, found.runpath, found.versions) == ((), (), ())
    assert not any((found.textrel, found.executable_stack, found.writable_and_executable))


def test_machine_and_bits_are_read(compile_c: Compiler) -> None:
    found = reader.read(compile_c.library("lib.so"))
    machine = os.uname().machine
    known = {"x86_64": ("EM_X86_64", 64), "aarch64": ("EM_AARCH64", 64)}
    if machine not in known:
        pytest.skip(f"no expectation for {machine}")
    assert (found.machine, found.bits) == known[machine]


def test_needed_libraries_keep_their_order(compile_c: Compiler) -> None:
    names = ["libz2.so", "liba1.so", "libm3.so"]
    libraries = [str(compile_c.library(name)) for name in names]
    path = compile_c.library("libtop.so", "-Wl,--no-as-needed", *libraries)
    assert reader.read(path).needed == tuple(names)


def test_library_without_soname_is_read(compile_c: Compiler) -> None:
    path = compile_c("plain.so", "int one = 1;", "-shared", "-fPIC", "-nostdlib")
    assert reader.read(path).soname is None


def test_program_is_read(compile_c: Compiler) -> None:
    found = reader.read(compile_c.program("program", "-pie", "-fPIE"))
    assert found.type == "ET_DYN"
    assert found.interpreter is not None
    assert found.interpreter.startswith("/")
    assert "libc.so.6" in found.needed


def test_program_at_a_fixed_address_is_read(compile_c: Compiler) -> None:
    assert reader.read(compile_c.program("program", "-no-pie", "-fno-pie")).type == "ET_EXEC"


def test_static_program_is_read(compile_c: Compiler) -> None:
    source = "void _start(void) { for (;;) ; }"
    path = compile_c("program", source, "-static", "-nostdlib", "-no-pie", "-fno-pie")
    found = reader.read(path)
    assert (found.type, found.dynamic, found.interpreter) == ("ET_EXEC", False, None)
    assert (found.needed, found.versions) == ((), ())
    assert not found.executable_stack


def test_object_file_is_read(compile_c: Compiler) -> None:
    found = reader.read(compile_c("one.o", "int one = 1;", "-c"))
    assert (found.type, found.dynamic, found.executable_stack) == ("ET_REL", False, False)


def test_versions_have_file_and_name(compile_c: Compiler) -> None:
    found = reader.read(compile_c.program("program"))
    assert any(file == "libc.so.6" and v.startswith("GLIBC_") for file, v in found.versions)
    assert list(found.versions) == sorted(set(found.versions))


def test_several_versions_of_one_file_are_read(compile_c: Compiler) -> None:
    maps = compile_c.folder / "map"
    maps.write_text("B_1 { one; };\nA_2 { two; } B_1;\n")
    source = "int one(void) { return 1; }\nint two(void) { return 2; }\n"
    library = compile_c.library("libv.so", f"-Wl,--version-script,{maps}", source=source)
    user = "int one(void); int two(void);\nint three(void) { return one() + two(); }\n"
    found = reader.read(compile_c.library("libuser.so", str(library), source=user))
    assert found.versions == (("libv.so", "A_2"), ("libv.so", "B_1"))


@pytest.mark.parametrize(
    ("dtags", "fields"),
    [("--disable-new-dtags", ("rpath", "runpath")), ("--enable-new-dtags", ("runpath", "rpath"))],
)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$ORIGIN", ("$ORIGIN",)),
        ("$ORIGIN/../lib:/opt/lib", ("$ORIGIN/../lib", "/opt/lib")),
        ("/a b:/c", ("/a b", "/c")),
        ("/a::/b", ("/a", "", "/b")),
        ("/grün", ("/grün",)),
    ],
)
def test_rpath_and_runpath_are_read(
    compile_c: Compiler, dtags: str, fields: tuple[str, str], text: str, expected: tuple[str, ...]
) -> None:
    found = reader.read(compile_c.library("lib.so", f"-Wl,{dtags},-rpath,{text}"))
    assert [getattr(found, field) for field in fields] == [expected, ()]


@pytest.mark.parametrize(("flag", "expected"), [("execstack", True), ("noexecstack", False)])
def test_executable_stack_is_read(compile_c: Compiler, flag: str, expected: bool) -> None:
    path = compile_c.library("lib.so", f"-Wl,-z,{flag}")
    assert reader.read(path).executable_stack is expected


def test_missing_gnu_stack_means_an_executable_stack(image: Image, tmp_path: Path) -> None:
    image.put(image.segment(PT_GNU_STACK), 0, "I")
    assert reader.read(image.write(tmp_path / "lib.so")).executable_stack


def test_text_relocations_are_read(compile_c: Compiler) -> None:
    word = ".quad" if os.uname().machine.endswith("64") else ".long"
    source = f".text\n.globl place\nplace: {word} elsewhere\n"
    flags = ("-shared", "-nostdlib", "-Wl,-z,notext")
    path = compile_c("lib.so", source, *flags, language="assembler")
    assert reader.read(path).textrel


def test_writable_and_executable_segment_is_read(compile_c: Compiler) -> None:
    source = "int one = 1;\nvoid _start(void) { for (;;) ; }"
    flags = ("-static", "-nostdlib", "-no-pie", "-fno-pie", "-Wl,--omagic")
    assert reader.read(compile_c("program", source, *flags)).writable_and_executable


@pytest.mark.parametrize(
    ("flags", "relro", "now"),
    [
        ("relro,-z,now", True, True),
        ("relro,-z,lazy", True, False),
        ("norelro,-z,lazy", False, False),
        ("norelro,-z,now", False, True),
    ],
)
def test_relro_and_bind_now_are_read(
    compile_c: Compiler, flags: str, relro: bool, now: bool
) -> None:
    found = reader.read(compile_c.program("program", f"-Wl,-z,{flags}"))
    assert (found.relro, found.bind_now) == (relro, now)


def test_section_headers_are_not_needed(image: Image, tmp_path: Path) -> None:
    whole = reader.read(image.write(tmp_path / "lib.so"))
    image.put(E_SHOFF, 0)
    image.put(E_SHNUM, 0, "I")  # and e_shstrndx
    assert reader.read(image.write(tmp_path / "lib.so")) == whole
    assert whole.soname == "libsmall.so"
    assert whole.versions


def test_damaged_section_headers_do_not_matter(image: Image, tmp_path: Path) -> None:
    whole = reader.read(image.write(tmp_path / "lib.so"))
    sections = image.get(E_SHOFF)
    image.data[sections:] = b"\xff" * (len(image.data) - sections)
    assert reader.read(image.write(tmp_path / "lib.so")) == whole


def test_separate_debug_file_is_read(compile_c: Compiler) -> None:
    program = compile_c.program("program", "-g")
    debug = program.with_suffix(".debug")
    subprocess.run(["objcopy", "--only-keep-debug", str(program), str(debug)], check=True)
    found = reader.read(debug)
    assert (found.debug, found.dynamic, found.needed, found.interpreter) == (True, False, (), None)
    assert reader.build_id(debug) == reader.build_id(program) is not None
    assert not reader.read(program).debug


def test_build_ids_agree_with_readelf(compile_c: Compiler) -> None:
    for style in ("sha1", "md5", "0xabcdef01", "none"):
        library = compile_c.library(f"lib{style}.so", f"-Wl,--build-id={style}")
        said = subprocess.run(
            ["readelf", "--notes", "--wide", str(library)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        lines = [line.split()[-1] for line in said.splitlines() if "Build ID" in line]
        assert [reader.build_id(library)] == (lines or [None])


def test_agrees_with_readelf(compile_c: Compiler) -> None:
    library = compile_c.library("libone.so")
    path = compile_c.program("program", "-Wl,--no-as-needed", str(library), "-lm")
    output = subprocess.run(
        ["readelf", "--dynamic", "--wide", str(path)], check=True, capture_output=True, text=True
    ).stdout
    lines = [line for line in output.splitlines() if "(NEEDED)" in line]
    assert list(reader.read(path).needed) == [line.split("[")[1].rstrip("]") for line in lines]


def test_is_elf_accepts_elf_files(compile_c: Compiler) -> None:
    assert is_elf(compile_c.library("lib.so"))
    assert is_elf(compile_c("one.o", "int one = 1;", "-c"))


def test_is_elf_rejects_other_files(compile_c: Compiler, tmp_path: Path) -> None:
    library = compile_c.library("lib.so")
    (tmp_path / "link").symlink_to(library)
    (tmp_path / "text").write_text("#!/bin/sh\n")
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"\x7fEL")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "text", "empty", "short", "folder", "fifo", "missing"):
        assert not is_elf(tmp_path / name), name


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_unreadable_file_is_an_error(compile_c: Compiler) -> None:
    library = compile_c.library("lib.so")
    library.chmod(0)
    assert not is_elf(library)


def test_walk_yields_each_elf_file(compile_c: Compiler, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("root/b/lib.so", "root/a.so", "root/b.so", "root/.hidden/lib.so", "out/lib.so"):
        compile_c.library(name)
    (root / "b" / "text").write_text("no")
    (root / "link.so").symlink_to("a.so")
    (root / "c").symlink_to(tmp_path / "out")
    os.link(root / "a.so", root / "hard.so")
    expected = [".hidden/lib.so", "a.so", "b/lib.so", "b.so", "hard.so"]
    assert [str(path.relative_to(root)) for path in walk(root)] == expected


def test_walk_of_an_empty_folder_yields_nothing(tmp_path: Path) -> None:
    assert list(walk(tmp_path)) == []
    with pytest.raises(ElfError, match="cannot list"):
        list(walk(tmp_path / "missing"))


def test_elf_error_is_a_rezbuild_error() -> None:
    assert issubclass(ElfError, RezbuildError)
    assert ElfError.exit_code == 8


@pytest.mark.parametrize("name", ["missing", "folder", "fifo", "text", "empty"])
def test_other_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("#!/bin/sh\necho no\n")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ElfError, match=f"cannot read .*{name}"):
        reader.read(tmp_path / name)


def test_read_follows_a_symlink(compile_c: Compiler, tmp_path: Path) -> None:
    compile_c.library("lib.so.1")
    (tmp_path / "lib.so").symlink_to("lib.so.1")
    assert reader.read(tmp_path / "lib.so").soname == "lib.so.1"


def test_elf_file_truncated_anywhere_is_refused(small_elf: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.so"
    for length in range(0, len(small_elf), 64):
        path.write_bytes(small_elf[:length])
        read_or_refuse(path)


@many
@given(flips=st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 7)), min_size=1, max_size=8))
def test_flipped_bits_are_read_or_refused(
    small_elf: bytes, tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(small_elf)
    for position, bit in flips:
        data[position % len(data)] ^= 1 << bit
    path = tmp_path / "flipped.so"
    path.write_bytes(data)
    read_or_refuse(path)


@many
@given(position=st.integers(0, 800), value=st.binary(min_size=1, max_size=8))
def test_overwritten_headers_are_read_or_refused(
    small_elf: bytes, tmp_path: Path, position: int, value: bytes
) -> None:
    data = bytearray(small_elf)
    data[position : position + len(value)] = value
    path = tmp_path / "overwritten.so"
    path.write_bytes(data)
    read_or_refuse(path)


@many
@given(data=st.binary(max_size=400))
def test_noise_after_the_magic_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "noise"
    path.write_bytes(reader.MAGIC + data)
    read_or_refuse(path)


def read_error(image: Image, tmp_path: Path) -> str:
    with pytest.raises(ElfError) as caught:
        reader.read(image.write(tmp_path / "damaged.so"))
    return caught.value.message


def test_program_headers_beyond_the_end_are_refused(image: Image, tmp_path: Path) -> None:
    image.put(E_PHOFF, 2**63)
    assert "program header table ends" in read_error(image, tmp_path)


def test_too_many_program_headers_are_refused(image: Image, tmp_path: Path) -> None:
    image.put(E_PHNUM, 0xFFFF, "H")
    assert "65535 program headers" in read_error(image, tmp_path)


def test_too_small_program_headers_are_refused(image: Image, tmp_path: Path) -> None:
    image.put(E_PHNUM - 2, 8, "H")
    assert "8 bytes each" in read_error(image, tmp_path)


def test_dynamic_table_beyond_the_end_is_refused(image: Image, tmp_path: Path) -> None:
    image.put(image.segment(PT_DYNAMIC) + P_FILESZ, 2**62)
    assert "dynamic table ends" in read_error(image, tmp_path)


def test_endless_dynamic_table_is_refused(image: Image, tmp_path: Path) -> None:
    header = image.segment(PT_DYNAMIC)
    image.put(header + P_OFFSET, len(image.data))
    image.put(header + P_FILESZ, 2**20)
    image.data += struct.pack("<QQ", 1, 1) * 2**16
    assert "more than 4096 entries" in read_error(image, tmp_path)


def test_string_table_outside_the_file_is_refused(image: Image, tmp_path: Path) -> None:
    image.put(image.tag(DT_STRTAB), 2**40)
    assert "string table is at address 0x10000000000" in read_error(image, tmp_path)


def test_too_long_string_table_is_refused(image: Image, tmp_path: Path) -> None:
    image.put(image.tag(DT_STRSZ), 2**40)
    assert "string table ends" in read_error(image, tmp_path)


def test_string_outside_its_table_is_refused(image: Image, tmp_path: Path) -> None:
    image.put(image.tag(DT_STRSZ), 1)
    assert "string table of 1 bytes" in read_error(image, tmp_path)


def test_missing_string_table_is_refused(image: Image, tmp_path: Path) -> None:
    image.put(image.tag(DT_STRTAB) - 8, 0x6FFFFFF0)
    assert "has no string table" in read_error(image, tmp_path)


def test_endless_string_is_refused(image: Image, tmp_path: Path) -> None:
    load = image.segment(PT_LOAD)
    image.put(load + P_FILESZ, len(image.data))
    offset = image.get(image.tag(DT_STRTAB)) - image.get(load + P_VADDR)
    size = image.get(image.tag(DT_STRSZ))
    image.data[offset : offset + size] = b"x" * size
    assert "has no end" in read_error(image, tmp_path)


@pytest.mark.usefixtures("image")  # for its skip
def test_interpreter_beyond_the_end_is_refused(compile_c: Compiler, tmp_path: Path) -> None:
    program = Image(compile_c.program("program").read_bytes())
    program.put(program.segment(PT_INTERP) + P_FILESZ, 2**40)
    assert "interpreter's name ends" in read_error(program, tmp_path)


def version_chain(image: Image) -> int:
    """Return the offset of the first entry of DT_VERNEED; the first segment starts the file."""
    return image.get(image.tag(DT_VERNEED)) - image.get(image.segment(PT_LOAD) + P_VADDR)


def test_endless_versions_are_refused(image: Image, tmp_path: Path) -> None:
    image.put(image.tag(DT_VERNEEDNUM), 2**40)
    image.put(version_chain(image) + 12, 1, "I")  # vn_next: overlapping entries
    read_error(image, tmp_path)


def test_too_many_versions_are_refused(image: Image, tmp_path: Path) -> None:
    image.put(version_chain(image) + 2, 0xFFFF, "H")  # vn_cnt
    assert "version table has more than 4096" in read_error(image, tmp_path)


def test_overlapping_version_chains_are_bounded(image: Image, tmp_path: Path) -> None:
    """Each entry claims a chain over all the others, which would take quadratic time."""
    load, start = image.segment(PT_LOAD), len(image.data)
    entry = struct.pack("<HHIII", 1, 1000, 0, 16, 16)
    image.data += entry * 20000
    image.put(load + P_FILESZ, len(image.data))
    image.put(image.tag(DT_VERNEED), start + image.get(load + P_VADDR))
    image.put(image.tag(DT_VERNEEDNUM), 20000)
    assert "version table has more than 4096" in read_error(image, tmp_path)
