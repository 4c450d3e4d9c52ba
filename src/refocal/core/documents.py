"""YAML and JSON documents that others wrote, as plain data: bounded, and nothing in them is guessed.

A document holds null, booleans, numbers, text, lists and mappings, whatever else its language can say. Tags, a key
given twice, text that is not Unicode, anchors that contain themselves and anything beyond the bounds below are refused,
before memory grows. A date is text, and so is `04:00`.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import yaml

MOST_BYTES = 1 << 20
"""Size of a document."""
MOST_DEPTH = 64
"""Lists and mappings within each other."""
MOST_NODES = 200_000
"""Values and keys, each alias counted as what it stands for."""
MOST_DIGITS = 64
"""Characters of a number."""
MOST_NUMBER = 1 << 64
"""Magnitude of a whole number: more is no count, size or identifier."""


class DocumentError(ValueError):
    """A document that is not read; the message is one line, with the number of the line where there is one."""


def read_yaml(content: str | bytes, *, finite: bool = True, text_only: bool = False) -> Any:
    """Return what a YAML document holds.

    Parameters
    ----------
    content
        The document; bytes are UTF-8.
    finite
        Refuse numbers that are not finite.
    text_only
        Return each scalar as the text that is written.

    Raises
    ------
    DocumentError
        If it is not YAML, or out of bounds.
    """
    text = _text(content, MOST_BYTES)
    try:
        _bounded(yaml.parse(text, Loader=_PARSER))
        loader = _Loader(text)
        loader.finite, loader.text_only = finite, text_only
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_where(error.problem_mark) + (error.problem or error.context or "no YAML")) from error
    except yaml.YAMLError as error:
        raise DocumentError(" ".join(str(error).split())) from error


def read_json(content: str | bytes, *, most_bytes: int = MOST_BYTES, finite: bool = True) -> Any:
    """Return what a JSON document holds.

    Parameters
    ----------
    content
        The document; bytes are UTF-8.
    most_bytes
        Its largest size.
    finite
        Refuse numbers that are not finite.

    Raises
    ------
    DocumentError
        If it is not JSON, or out of bounds.
    """
    text = _text(content, most_bytes)

    def constant(name: str) -> float:
        return _refuse(f"{name} is no number") if finite else float(name)

    def decimal(digits: str) -> float:
        return _finite(float(digits), digits, finite=finite)

    try:
        found = json.loads(
            text, object_pairs_hook=_once, parse_constant=constant, parse_int=_whole, parse_float=decimal
        )  # fmt: skip
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}: {error.msg.lower()}") from error
    except RecursionError as error:
        raise DocumentError(_DEEP) from error
    if any(depth > MOST_DEPTH for depth in _depths(found)):
        raise DocumentError(_DEEP)
    return found


_DEEP = f"lists and mappings are more than {MOST_DEPTH} deep"
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _refuse(reason: str) -> NoReturn:
    raise DocumentError(reason)


def _where(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "


def _text(content: str | bytes, most: int) -> str:
    if len(content) > most:
        raise DocumentError(f"it has more than {most} bytes")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content.removeprefix("\ufeff")
        text.encode()
    except UnicodeError as error:
        raise DocumentError("it is not UTF-8 text") from error
    return text


def _finite(value: float, digits: str, *, finite: bool) -> float:
    if finite and not math.isfinite(value):
        raise DocumentError(f"{digits[:20]} is no finite number")
    return value


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS or abs(value := int(digits)) > MOST_NUMBER:
        raise DocumentError(f"the number {digits[:20]}... is too large")
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise DocumentError(f"the key {name[:40]!r} is given twice")
        _unicode(name)
        found[name] = value
    return found


def _unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(f"{text[:20]!a} is not Unicode text") from error


def _depths(value: Any) -> Iterator[int]:
    """Yield the depth of every list and mapping, without recursion."""
    waiting = [(value, 1)]
    while waiting:
        now, depth = waiting.pop()
        if isinstance(now, (dict, list)):
            yield depth
            inner = now.values() if isinstance(now, dict) else now
            waiting.extend((item, depth + 1) for item in inner if isinstance(item, (dict, list, str)))
        elif isinstance(now, str):
            _unicode(now)


def _bounded(events: Iterator[Any]) -> None:
    """Refuse a stream of YAML events that is too deep, too large once aliases are replaced, or endless."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise DocumentError(f"{_where(event.start_mark)}the alias *{event.anchor} is not defined before")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            tag: Any = getattr(event, "tag", None)
            if tag is not None:
                raise DocumentError(f"{_where(event.start_mark)}the tag {tag[:40]} is not read, only plain values")
            if event.anchor is not None and event.anchor in sizes:
                raise DocumentError(f"{_where(event.start_mark)}the anchor &{event.anchor} is given twice")
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, total - 1))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        if len(open_nodes) > MOST_DEPTH:
            raise DocumentError(f"{_where(event.start_mark)}{_DEEP}")
        if total > MOST_NODES:
            raise DocumentError(f"{_where(event.start_mark)}it has more than {MOST_NODES} values")


class _Loader(_PARSER):  # type: ignore[misc]
    """Plain data from YAML nodes."""

    finite = True
    text_only = False
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            (tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":value", ":int", ":float"))
        ]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_scalar(self, node: Any) -> Any:
        text = super().construct_scalar(node)
        if not text.isascii():
            _at(node, lambda: _unicode(text))
        return text

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise DocumentError(f"{_where(key.start_mark)}the key {key.value[:40]!r} is given twice")
            seen.add((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and (self.text_only or node.tag == _MERGE):
            return self.construct_scalar(node)
        return super().construct_object(node, deep)

    def construct_whole(self, node: Any) -> int:
        digits = self.construct_scalar(node).replace("_", "")
        if len(digits) > MOST_DIGITS:
            _at(node, lambda: _whole(digits))
        value: int = _at(node, lambda: _whole(str(_integer(digits))))
        return value

    def construct_decimal(self, node: Any) -> float:
        digits = self.construct_scalar(node).replace("_", "").lower()
        name = digits.lstrip("+-.")
        value = _at(node, lambda: float(digits if name not in ("inf", "nan") else digits.replace(".", "")))
        checked: float = _at(node, lambda: _finite(value, digits, finite=self.finite))
        return checked


_MERGE = "tag:yaml.org,2002:merge"
_SIGNED = "-+0123456789"
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|\d[\d_]*)$"), [*_SIGNED]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?((\d[\d_]*)(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    [*_SIGNED, "."],
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_decimal)


def _integer(digits: str) -> int:
    """Read an integer of YAML 1.1, where a leading zero means octal."""
    bare = digits.lstrip("+-").lower()
    base = {"0x": 16, "0b": 2}.get(bare[:2], 8 if bare.startswith("0") and len(bare) > 1 else 10)
    return int(digits, base)


def _at(node: Any, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DocumentError as error:
        raise DocumentError(f"{_where(node.start_mark)}{error}") from error
    except ValueError as error:
        raise DocumentError(
            f"{_where(node.start_mark)}{node.value[:40]!r} is no {node.tag.rpartition(':')[2]}"
        ) from error
