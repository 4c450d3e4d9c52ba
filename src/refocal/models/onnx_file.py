"""ONNX files of others, looked at before a runtime is given them; needs no onnx package.

A tensor of an ONNX file may lie in another file, which the file names. Runtimes look for it in the working directory,
and no hash covers it. Models are whole in one file, so such files are refused.
"""

from collections.abc import Iterator

from refocal.core.errors import BadModelError

# Where tensors and graphs lie within a message, by field number: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MOST_DEPTH = 100


def refuse_external(content: bytes, name: str) -> None:
    """Refuse an ONNX file that keeps tensors in other files.

    Raises
    ------
    BadModelError
        If it does, or is no ONNX file.
    """
    waiting = [(memoryview(content), "model", 0)]
    while waiting:
        message, kind, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            raise BadModelError(f"{name} has graphs within graphs, more than {_MOST_DEPTH} deep")
        for number, value in _fields(message, name):
            if kind == "tensor":
                if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
                    raise BadModelError(f"{name} keeps weights in other files: ask for one with all weights inside")
            elif number in _INSIDE[kind] and isinstance(value, memoryview):
                waiting.append((value, _INSIDE[kind][number], depth + 1))


def _fields(message: memoryview, name: str) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field of a protobuf message."""
    at = 0
    try:
        while at < len(message):
            key, at = _varint(message, at)
            number, wire = key >> 3, key & 7
            value: int | memoryview = 0
            if wire == 0:
                value, at = _varint(message, at)
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            elif wire == 2:
                size, at = _varint(message, at)
                value, at = message[at : at + size], at + size
            else:
                raise ValueError(f"wire type {wire}")
            if at > len(message):
                raise ValueError("cut off")
            yield number, value
    except (IndexError, ValueError) as error:
        raise BadModelError(f"{name} is no ONNX file, or is damaged: get the model again") from error


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")
