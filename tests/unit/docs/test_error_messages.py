"""The wording of every error in the code: `<noun> <problem>`, then what was tried, then what to do.

Errors are read from the source by `ast`. Placeholders of f-strings count as nouns; texts that are
known only at run time are passed over.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from rezbuild import errors

ROOT = Path(__file__).parents[3]
# The replacement of a placeholder of an f-string.
HOLE = "\N{REPLACEMENT CHARACTER}"
BANNED = re.compile(
    r"\b(whoever|what|another one|of its own|can be had|stands|in vain|as ever|by itself|that of"
    r"|sees that|takes it that|(?:is|are|was|were|be) no)\b"
)
# A message begins with a noun, maybe after an article or "no".
NO_NOUN = re.compile(
    r"(it|they|this|that|these|there|you|we|nothing|nobody|none|cannot|could|can|must|may|failed"
    r"|unable|is|are|has|have|where|when|if|either|neither)\b"
)
# Names that begin with a capital; words in capitals, such as ELF, need no entry.
NAMES = {"CPython", "Dask", "Debian", "Python", "Rez", "Sigstore", "OpenPGP", "OpenSSL", "Tcl"}
CONDITION = re.compile(r"(?:if|to|for|with|without|on|in|after|before|until|unless)\b[^,:]+[,:] ")
VERBS = frozenset(
    """
    accept adapt add allow ask build call change check choose clone commit compare compile configure
    contact continue copy create delete describe edit end export extend fetch fill find fix free
    get give grant ignore import increase insert install keep leave let link list look lower
    make mark mount move name open pass pin push put raise read rebuild remove rename repair replace
    report request restart restore retry review revoke run see select separate set show sign
    specify start stop take try turn unset update upgrade upload use verify wait write
    """.split()  # noqa: SIM905 (a list of words is easier to read)
)


@dataclass(frozen=True)
class ErrorText:
    """A text of an error.

    Attributes:
        kind: ``message``, ``tried`` or ``advice``.
        place: File and line, e.g. ``rezbuild/errors.py:170``.
        folder: The folder below ``rezbuild``, ``packages``, or "" for a top-level module.
        text: The text, with `HOLE` for each placeholder.
    """

    kind: str
    place: str
    folder: str
    text: str


def error_classes(base: type = errors.RezbuildError) -> set[str]:
    """Return the names of the error classes of `rezbuild.errors`."""
    below = (
        error_classes(kind)
        for kind in base.__subclasses__()
        if kind.__module__ == "rezbuild.errors"
    )
    return {base.__name__}.union(*below)


def literal(node: ast.expr) -> str | None:
    """Return the text of a string expression, or None if nothing of it is known."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else HOLE for p in node.values)
        return "".join(map(str, parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left), literal(node.right)
        return None if left is None and right is None else (left or HOLE) + (right or HOLE)
    return None


def lines(node: ast.expr, constants: dict[str, ast.expr]) -> Iterator[str]:
    """Yield the texts in a list, a tuple or a constant of the module."""
    if isinstance(node, ast.Name) and node.id in constants:
        yield from lines(constants[node.id], constants)
    elif isinstance(node, ast.Starred):
        yield from lines(node.value, constants)
    elif isinstance(node, (ast.List, ast.Tuple)):
        for element in node.elts:
            yield from lines(element, constants)
    elif (text := literal(node)) is not None:
        yield text


def is_error_function(node: ast.AST) -> bool:
    """Whether a function takes a message and returns an error."""
    if not isinstance(node, ast.FunctionDef) or not node.args.args:
        return False
    return getattr(node.returns, "id", "") in KINDS and node.args.args[0].arg == "message"


def find_texts(path: Path) -> Iterator[ErrorText]:
    """Yield the texts of the errors that a module raises or returns."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    makers = {node.name for node in ast.walk(tree) if is_error_function(node)}
    parts = path.relative_to(ROOT).parts
    folder = "packages" if parts[0] == "packages" else parts[1] if len(parts) > 2 else ""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        if name not in KINDS | makers and not (name == "cls" and parts[-1] == "errors.py"):
            continue
        given = {word.arg: word.value for word in node.keywords}
        if node.args:
            given["message"] = node.args[0]
        for kind in ("message", "tried", "advice"):
            for text in lines(given[kind], constants) if kind in given else ():
                yield ErrorText(kind, f"{'/'.join(parts)}:{node.lineno}", folder, text)


KINDS = error_classes()


@lru_cache(maxsize=1)
def texts() -> tuple[ErrorText, ...]:
    files = [*ROOT.glob("rezbuild/**/*.py"), *ROOT.glob("packages/*/*.py")]
    return tuple(text for path in sorted(files) for text in find_texts(path))


def faults(kind: str, text: str) -> list[str]:
    """Return what is wrong with a text."""
    found = []
    if banned := BANNED.search(text):
        found.append(f"{banned[0]!r} is not plain English")
    if re.search(r"(?<!\.)\.$|!$", text):
        found.append("a mark at the end")
    first = re.match(r"[A-Za-z]+", text)
    if first and first[0][1:].islower() and first[0][0].isupper() and first[0] not in NAMES:
        found.append("a capital at the start")
    if kind == "message" and NO_NOUN.match(text):
        found.append("no noun at the start")
    if kind == "advice" and not is_imperative(text):
        found.append("no imperative verb at the start")
    return found


def is_imperative(text: str) -> bool:
    """Whether a line begins with a verb of `VERBS`, maybe after "or", "then" or a condition."""
    text = re.sub("^(or|then) ", "", text)
    if condition := CONDITION.match(text):
        text = text[condition.end() :]
    first = re.match(r"[a-z]+", text)
    return (first is not None and first[0] in VERBS) or text.startswith(("do not ", HOLE))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("message", "invalid glibc version '2.x'"),
        ("message", "--replace requires --release"),
        ("message", f"{HOLE} cannot be read: {HOLE}"),
        ("message", "Rez cannot resolve the request"),
        ("advice", "set REZBUILD_JOBS to a number such as 8"),
        ("advice", "or leave it out"),
        ("advice", "if upstream replaced the file, change sha256"),
    ],
)
def test_plain_text_has_no_fault(kind, text):
    assert faults(kind, text) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("message", "no version can be had"),
        ("message", f"{HOLE} is no payload"),
        ("message", "it cannot be read"),
        ("message", "cannot read the file"),
        ("message", "the archive is damaged."),
        ("message", "The archive is damaged"),
        ("tried", "cache: what was there is damaged"),
        ("advice", "docs/reference/audit.md"),
        ("advice", f"versions: {HOLE}"),
    ],
)
def test_each_fault_is_found(kind, text):
    assert len(faults(kind, text)) == 1


def test_errors_are_found_in_the_source():
    assert len(texts()) > 400
    assert {text.kind for text in texts()} == {"message", "tried", "advice"}


# Classes of rezbuild whose texts are never empty.
OWN = KINDS | {"DownloadError", "RetryableError", "StoreFileError", "ElfError", "MachOError"}
# Their exceptions have texts, or they replace an empty one. A change of these modules would change
# the revision of every recipe.
SHAPING = ("audit", "build", "elf", "macho", "payload", "apply_patches.py", "unpack.py")


def class_names(node: ast.expr | None) -> set[str]:
    """Return the names of the classes in an annotation or after ``except``."""
    parts = ast.walk(node) if node is not None else ()
    return {getattr(p, "id", "") or getattr(p, "attr", "") for p in parts} - {""}


def foreign_exceptions(tree: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Yield the name of each exception of another library, and the code that has it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name and class_names(node.type) - OWN:
            yield node.name, node.body
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for one in node.args.args:
                if {"Exception", "BaseException"} & class_names(one.annotation):
                    yield one.arg, node.body


def bare_texts(text: str) -> list[int]:
    """Return the lines that take ``str(error)`` of a foreign exception, which may be empty."""
    return [
        node.lineno
        for name, body in foreign_exceptions(ast.parse(text))
        for node in (part for line in body for part in ast.walk(line))
        if (isinstance(node, ast.FormattedValue) and node.conversion != ord("r"))
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "str")
        if name in {getattr(p, "id", "") for p in (getattr(node, "value", None), *node_args(node))}
    ]


def node_args(node: ast.AST) -> list[ast.expr]:
    return node.args if isinstance(node, ast.Call) else []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("raise A(f'{error}')", True),
        ("raise A(f'x: {error}')", True),
        ("say(str(error))", True),
        ("raise A(f'{error!r}')", False),
        ("raise A(f'x: {words.reason(error)}')", False),
    ],
)
def test_bare_text_of_a_foreign_exception_is_found(code, found):
    for kind in ("OSError", "(StoreFileError, OSError)", "library.Error"):
        text = f"try:\n    a()\nexcept {kind} as error:\n    {code}"
        assert bool(bare_texts(text)) is found
    assert bool(bare_texts(f"def a(error: Exception) -> None:\n    {code}")) is found
    assert bare_texts(f"try:\n    a()\nexcept StoreError as error:\n    {code}") == []


def test_reasons_are_never_empty():
    """``str(TimeoutError())`` is empty; `rezbuild.util.words.reason` is not."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: use words.reason"
        for path in sorted(ROOT.glob("rezbuild/**/*.py"))
        if not {path.name, path.parent.name} & {*SHAPING, "words.py"}
        for line in bare_texts(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("folder", sorted({text.folder for text in texts()}))
def test_messages_name_the_problem_and_advice_is_imperative(folder):
    wrong = [
        f"{text.place}: {text.kind}: {text.text!r}: {', '.join(found)}"
        for text in texts()
        if text.folder == folder and (found := faults(text.kind, text.text))
    ]
    assert wrong == [], "\n".join(wrong)
