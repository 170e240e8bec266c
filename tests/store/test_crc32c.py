import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotnoise.store.crc32c import crc32c


def bit_by_bit(data):
    """The definition: polynomial 0x1EDC6F41 reflected, started from and ended with all ones flipped."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_values(data, expected):
    assert crc32c(data) == expected


@given(
    length=st.one_of(st.integers(0, 140), st.sampled_from([511, 512, 513, 1024, 1536, 2561, 4096])),
    seed=st.randoms(use_true_random=False),
)
def test_any_length_by_the_definition(length, seed):
    data = seed.randbytes(length)
    assert crc32c(data) == bit_by_bit(data)
    assert crc32c(memoryview(data)) == crc32c(data)
