"""Damage to sound files: bytes, words and single values of documents, drawn from a seeded generator."""

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Change = Callable[[random.Random, bytes], bytes]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 255, 65536, 2**31, 2**63, -(2**63), 10**9, 10**18, 10**30, 0.5, -0.5,
    1e-300, 1e308, float("inf"), float("-inf"), float("nan"), "", "x", "x" * 5000, "1", "0", "-1", "1e999", "nan",
    "\ud800", "\n", "\0", "../../../etc/passwd", "/etc/passwd", "|O8", "<f8", "object", "os.system", "2024-13-45",
    "2024-01-02", "http://x/", [], [0], [1] * 3, [1] * 2000, [[]], ["x"], [None], {}, {"x": 1}, {"": {}},
    [-1, 0, 10**18],
)  # fmt: skip
"""What takes the place of a value."""
WORDS = (
    b"0", b"-1", b"1", b"999999999999999999", b"1e999", b"1e18", b"nan", b"inf", b"-0", b"", b"x", b"'", b'"', b"\0",
    b"\xff", b"\xed\xa0\x80", b"\r\n", b"\n\n", b"\t", b";", b"{", b"[", b"&a [*a]", b"!!binary x",
    b"!!timestamp 1", b"2024-13-45",
    b"..", b"/", b"\\", b" " * 3000, b"[" * 3000, b"9" * 3000, b"<" * 3000, b"a=" * 3000, b"\xd9\xa1", b"%s%n",
)  # fmt: skip
"""What takes the place of a word."""
NUMBERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1)
DOCUMENTS = (".json", ".zarray", ".zattrs", ".zgroup", ".zmetadata", "info", ".yaml")


def damage(rng: random.Random, folder: Path, documents_only: bool = False) -> str:
    """Damage one file of a folder in place, one time in four a second one; return their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    documents = [path for path in files if path.name.endswith(DOCUMENTS)]
    named = []
    for _ in range(1 + (rng.random() < 0.25)):
        path = rng.choice(documents if documents and (documents_only or rng.random() < 0.7) else files)
        path.write_bytes(damaged(rng, path.read_bytes(), path.name))
        named.append(path.relative_to(folder).as_posix())
    return ", ".join(named)


def damaged(rng: random.Random, content: bytes, name: str) -> bytes:
    """Return damaged content of a file; its name says of what kind it is."""
    if name.endswith(DOCUMENTS) and rng.random() < 0.8:
        return _document(rng, content, yaml if name.endswith(".yaml") else json)
    if b"\0" not in content[:4096] and rng.random() < 0.7:
        return _words(rng, content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        content = rng.choice(_BYTES)(rng, content)
    return content


def mapping(rng: random.Random, value: Any) -> Any:
    """Return a document with one to three of its values or keys replaced, removed or wrapped."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return rng.choice(VALUES)
        inside, key = rng.choice(places)
        how = rng.random()
        if how < 0.7:
            inside[key] = copy.deepcopy(rng.choice(VALUES))
        elif how < 0.8:
            del inside[key]
        elif how < 0.9:
            inside[key] = rng.choice(([inside[key]], {"x": inside[key]}, [inside[key]] * 3))
        elif isinstance(inside, dict):
            inside[rng.choice(("", "x", "\ud800", str(key) + "s", "__class__", "0"))] = inside.pop(key)
        else:
            inside.append(copy.deepcopy(inside[key]))
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(inner):
        yield value, key
        yield from _places(item)


def _document(rng: random.Random, content: bytes, language: Any) -> bytes:
    try:
        value = language.safe_load(content) if language is yaml else json.loads(content)
    except Exception:  # an earlier damage may be one that PyYAML itself stumbles over
        return _words(rng, content)
    how = rng.random()
    if how < 0.04:
        return (b"[" if rng.random() < 0.5 else b'{"a":') * rng.choice((70, 2000, 100_000))
    if how < 0.1:
        return content + content
    try:
        changed = mapping(rng, value)
    except RecursionError:  # a list that holds itself
        return _words(rng, content)
    text = json.dumps(changed) if language is json or how < 0.4 else yaml.safe_dump(changed, allow_unicode=how < 0.7)
    return text.encode("utf-8", "surrogatepass")


def _words(rng: random.Random, content: bytes) -> bytes:
    words = [found.span() for found in re.finditer(rb"[\w.+-]+|[^\w\s]", content[:200_000])]
    for _ in range(rng.choice((1, 1, 2, 5))):
        if words:
            first, last = rng.choice(words)
            content = content[:first] + rng.choice(WORDS) + content[last:]
    if rng.random() < 0.1:
        lines = content.split(b"\n")
        content = b"\n".join(lines[: len(lines) // 2] * 2)
    return content


def _flip(rng: random.Random, content: bytes) -> bytes:
    """Flip a byte; every other time near the ends, where the headers are."""
    if not content:
        return b"\0"
    near = rng.choice((64, 600, len(content)))
    at = min(rng.randrange(near), len(content) - 1)
    at = at if rng.random() < 0.8 else len(content) - 1 - at
    return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]


def _number(rng: random.Random, content: bytes) -> bytes:
    size, order = rng.choice((2, 4, 8)), rng.choice(("little", "big"))
    at = min(rng.randrange(rng.choice((64, 600, len(content) + 1))), max(0, len(content) - size))
    number = rng.choice(NUMBERS) % (1 << 8 * size)
    return content[:at] + number.to_bytes(size, order) + content[at + size :]


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _zeros(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    length = rng.choice((1, 16, 4096))
    return content[:at] + bytes(min(length, len(content) - at)) + content[at + length :]


def _copied(rng: random.Random, content: bytes) -> bytes:
    first, at = rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)
    return content[:at] + content[first : first + rng.choice((2, 12, 200))] + content[at:]


def _removed(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.choice((1, 4, 100)) :]


_BYTES: tuple[Change, ...] = (_flip, _flip, _flip, _number, _number, _cut, _zeros, _copied, _removed)
