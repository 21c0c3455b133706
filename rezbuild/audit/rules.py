"""The rules as data: id, severity, reason. docs/reference/audit.md lists them with examples."""

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
    Rule("elf-damaged", ERROR, "a file that cannot be read cannot be loaded"),
    Rule("needed-unresolved", ERROR, "the library comes from the host, or from nowhere"),
    Rule("needed-absolute", ERROR, "it names a place, which is another one after a move"),
    Rule("needed-host", NOTE, "a library that is taken from the host on purpose"),
    Rule("rpath-absolute", ERROR, "it names a folder of the machine that built it"),
    Rule("rpath-outside", ERROR, "it breaks when the package is copied without its neighbours"),
    Rule("rpath-unneeded", ERROR, "each folder in vain costs a look-up per library", NOTE),
    Rule("rpath-token", ERROR, "ld.so puts a name of the host in: another one on another host"),
    Rule("rpath-runpath", ERROR, "DT_RUNPATH loses to LD_LIBRARY_PATH, which DCCs leak"),
    Rule("interpreter", ERROR, "the loader it names is on no other host"),
    Rule("helper", ERROR, "it loads a library besides those it needs, from wherever it is found"),
    Rule("dlopen-absolute", ERROR, "it may load a library of the host by its path", NOTE),
    Rule("dlopen-host", NOTE, "it may load a library of the host while it runs"),
    Rule("segment-misaligned", ERROR, "glibc before 2.35 refuses to load it"),
    Rule("stack-executable", ERROR, "glibc 2.41 and newer refuses to load it"),
    Rule("text-relocation", ERROR, "its code cannot be shared, and SELinux refuses it"),
    Rule("write-execute", ERROR, "memory that can be written and run serves attackers"),
    Rule("relro", ERROR, "its table of functions can be overwritten while it runs", NOTE),
    Rule("bind-now", ERROR, "a missing function is noticed in the middle of the work", NOTE),
    Rule("symbol-exported", ERROR, "whoever loads it gets its copy of another library's functions"),
    Rule("glibc-private", ERROR, "glibc keeps it for itself: the next glibc may not have it"),
    Rule("glibc-ceiling", ERROR, "it does not start on the oldest hosts of this studio"),
    Rule("build-path", ERROR, "the file says where it was built or put, which a move makes untrue"),
    # ERROR as soon as no payload breaks it.
    Rule("text-prefix", ERROR, "it names the prefix of the build, which is nowhere"),
    Rule("libtool-archive", ERROR, "libtool links by the absolute paths that are in it", NOTE),
    Rule("shebang", ERROR, "the interpreter is the host's or another machine's"),
    Rule("shebang-path", NOTE, "which Python runs it depends on PATH"),
    Rule("mode", ERROR, "others cannot use it, or can change it", NOTE),
    Rule("link-absolute", ERROR, "it leads back to where the payload was"),
    Rule("link-outside", ERROR, "it breaks when the payload is copied alone"),
    Rule("link-dangling", ERROR, "Rez's package cache stalls on it"),
    Rule("unreadable", ERROR, "nobody can say what is in it, and those who need it cannot load it"),
    Rule("special-file", ERROR, "a copy fails on it or hangs, and so does who reads it"),
    Rule("capabilities", ERROR, "they give rights of root away, and a copy loses them"),
    Rule("setuid", ERROR, "a studio's repository must not give anyone's rights away"),
    Rule("elf-set", ERROR, "what runs is not what was built and tried"),
    Rule("file-missing", ERROR, "a copy was cut short, or somebody changed what is released"),
    Rule("file-changed", ERROR, "what runs is not what was built and tried"),
    Rule("file-added", NOTE, "somebody put it here after the build"),
)
RULES = {rule.id: rule for rule in _ALL}
