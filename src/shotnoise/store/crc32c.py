"""CRC-32C (Castagnoli), the checksum of TFRecord files, fast enough in NumPy.

A CRC is linear: that of two pieces is the first one's, advanced over as many zero bytes as the second is long, xor the
second one's. So the data is cut into pieces of one length, all are run through the usual table side by side, and
neighbours are joined until one is left.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["crc32c"]

_POLYNOMIAL = 0x82F63B78  # bits in the order of the checksum: the lowest is the highest power
_PIECE = 512  # bytes, a power of two
_SHORT = 64  # bytes up to which plain Python is faster

_Words = npt.NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of some bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if len(data) <= _SHORT:
        crc = 0xFFFFFFFF
        table = _table()
        for byte in data:
            crc = int(table[(crc ^ byte) & 255]) ^ crc >> 8
        return crc ^ 0xFFFFFFFF
    # Zeros in front do not change a CRC that starts from zero; to start from all ones is to flip the first 32 bits.
    padded = np.zeros(-(-len(data) // _PIECE) * _PIECE, np.uint8)
    padded[-len(data) :] = np.frombuffer(data, np.uint8)
    padded[len(padded) - len(data) :][:4] ^= 255
    columns = np.ascontiguousarray(padded.reshape(-1, _PIECE).T).astype(np.uint32)
    table, pieces = _table(), np.zeros(columns.shape[1], np.uint32)
    for column in columns:
        pieces = table[(pieces ^ column) & 255] ^ pieces >> 8
    length = _PIECE
    while len(pieces) > 1:
        if len(pieces) % 2:
            pieces = np.concatenate([np.zeros(1, np.uint32), pieces])
        pieces = _apply(_advance(length), pieces[0::2]) ^ pieces[1::2]
        length *= 2
    return int(pieces[0]) ^ 0xFFFFFFFF


@cache
def _table() -> _Words:
    """What a byte becomes after its eight bits were shifted out."""
    words: _Words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        words = words >> np.uint32(1) ^ (words & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return words


@cache
def _advance(length: int) -> _Words:
    """The linear map of `length` (a power of two) zero bytes: what becomes of each of the 32 bits."""
    if length == 1:
        bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
        images: _Words = _table()[bits & 255] ^ bits >> 8
        return images
    half = _advance(length // 2)
    return _apply(half, half)


def _apply(images: _Words, words: _Words) -> _Words:
    """A linear map, given by the images of the 32 bits, of each word."""
    result = np.zeros_like(words)
    for bit, image in enumerate(images):
        result ^= (words >> np.uint32(bit) & 1) * image
    return result
