"""Reading protocol buffers without their library: just enough for ONNX files and TFRecord examples.

A message is a sequence of (field number, value); what a value means, the reader must know. Everything raises
ValueError or IndexError on data that is no message, and nothing is ever allocated for what a length field claims.
"""

from collections.abc import Iterator

__all__ = ["fields", "messages", "varint"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_SKIPPED = {_FIXED64: 8, _FIXED32: 4}


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one message: integers, or the bytes of strings and nested messages; fixed-size numbers left out.

    >>> [(number, bytes(value)) for number, value in fields(memoryview(bytes([0x0A, 2]) + b"hi"))]
    [(1, b'hi')]
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = varint(data, at)
            yield key >> 3, value
        elif kind == _BYTES:
            size, at = varint(data, at)
            if at + size > len(data):
                raise ValueError("truncated")
            yield key >> 3, data[at : at + size]
            at += size
        elif kind in _SKIPPED:
            at += _SKIPPED[kind]
        else:
            raise ValueError("not protobuf")
    if at > len(data):
        raise ValueError("truncated")


def messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The strings and nested messages in the field `number`."""
    return (value for field, value in fields(data) if field == number and isinstance(value, memoryview))


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The integer that begins at `at`, and where the next thing begins."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("not protobuf")
