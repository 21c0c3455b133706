"""The rules as data: id, severity, reason. docs/reference/audit.md adds examples."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, NOTE = "error", "note"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        severity: ``error``: the payload must not be installed. ``note``: it is reported.
        reason: The damage if a payload breaks the rule.
        elsewhere: The severity in trees that rezbuild did not build, if it differs.
    """

    id: str
    severity: str
    reason: str
    elsewhere: str = ""

    def weight(self, own: bool) -> str:
        """Return the severity in a payload of rezbuild (``own``), or in another tree."""
        return self.severity if own else self.elsewhere or self.severity


@dataclass(frozen=True)
class Finding:
    """A file that breaks a rule.

    Attributes:
        path: Relative to the payload.
        severity: The severity of the rule in this tree.
    """

    rule: Rule
    path: str
    message: str
    severity: str


_ALL = (
    Rule("elf-damaged", ERROR, "the loader cannot read it either"),
    Rule("macho-damaged", ERROR, "dyld cannot read it either, or the audit cannot check it", NOTE),
    Rule("signature", ERROR, "macOS ends each process that loads it"),
    Rule("needed-unresolved", ERROR, "the library comes from the host, or is missing"),
    Rule("needed-absolute", ERROR, "after a move, the path is wrong"),
    Rule("needed-host", NOTE, "a host without the library cannot load the file"),
    Rule("rpath-absolute", ERROR, "it names a folder of the build machine"),
    Rule("rpath-outside", ERROR, "it breaks when the package is copied alone"),
    Rule(
        "rpath-unneeded", ERROR, "each unneeded folder costs file system calls at every start", NOTE
    ),
    Rule("rpath-token", ERROR, "ld.so replaces the word by a name of the host"),
    Rule("rpath-runpath", ERROR, "LD_LIBRARY_PATH, which DCCs set, overrides DT_RUNPATH"),
    Rule("interpreter", ERROR, "other hosts do not have this loader"),
    Rule("helper", ERROR, "it loads a library that is not in DT_NEEDED"),
    Rule("dlopen-absolute", ERROR, "dlopen(3) may load a library of the host by its path", NOTE),
    Rule("dlopen-host", NOTE, "dlopen(3) may load a library of the host by its name"),
    Rule("segment-misaligned", ERROR, "glibc before 2.35 refuses to load it"),
    Rule("stack-executable", ERROR, "glibc 2.41 and newer refuses to load it"),
    Rule("text-relocation", ERROR, "processes cannot share the code, and SELinux refuses it"),
    Rule("write-execute", ERROR, "an attacker could write code there"),
    Rule("relro", ERROR, "a program error can overwrite its function table", NOTE),
    Rule("bind-now", ERROR, "a missing function ends the program in the middle of its work", NOTE),
    Rule(
        "symbol-exported",
        ERROR,
        "a program that loads it gets its copy of another library's functions",
    ),
    Rule("glibc-private", ERROR, "the symbol is internal to glibc; the next glibc may not have it"),
    Rule("glibc-ceiling", ERROR, "the file does not load on the studio's oldest hosts"),
    Rule(
        "build-path", ERROR, "the file names a folder of this machine; a move makes the path wrong"
    ),
    Rule("text-prefix", ERROR, "the file names the placeholder prefix, which exists nowhere"),
    Rule("libtool-archive", ERROR, "libtool links by the absolute paths in the file", NOTE),
    Rule("shebang", ERROR, "the interpreter belongs to this host or another machine"),
    Rule("shebang-path", NOTE, "PATH decides which Python runs it"),
    Rule("mode", ERROR, "others cannot use it, or can change it", NOTE),
    Rule("link-absolute", ERROR, "it leads back to the old folder of the payload"),
    Rule("link-outside", ERROR, "it breaks when the payload is copied alone"),
    Rule("link-dangling", ERROR, "Rez's package cache stalls on it"),
    Rule("unreadable", ERROR, "the audit cannot check its content, and users cannot load it"),
    Rule("special-file", ERROR, "a copy fails or hangs on it, and so does each reader"),
    Rule("capabilities", ERROR, "they give rights of root, and a copy loses them"),
    Rule("setuid", ERROR, "a repository must not give rights of its owner to others"),
    Rule("elf-set", ERROR, "the payload is not the tested one"),
    Rule("file-missing", ERROR, "a copy was interrupted, or somebody changed a released package"),
    Rule("file-changed", ERROR, "the payload is not the tested one"),
    Rule("file-added", NOTE, "somebody put it here after the build"),
)
RULES = {rule.id: rule for rule in _ALL}
