import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shotnoise.errors import StoreError
from shotnoise.store.record import decode, encode, encoded_key

DTYPES = ("?", "i1", "<i2", "i4", "i8", "u1", "<u2", ">u2", "u4", "u8", "f2", "f4", ">f4", "f8", "c8", "c16")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('aé☃\n"0'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab☃"), inner, max_size=3),
    max_leaves=5,
)
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))),
    max_size=3,
)


@given(arrays=ARRAYS, meta=st.dictionaries(st.text("ab☃"), JSON, max_size=3))
def test_decode_gives_back_what_encode_was_given(arrays, meta):
    found, found_meta = decode(memoryview(encode(arrays, meta)))
    assert found_meta == meta
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()  # NaN included
        assert not found[name].flags.writeable


@given(shift=st.integers(0, 15))
def test_arrays_are_usable_at_any_address(shift):
    value = encode({"a": np.arange(5, dtype=np.float64)}, {})
    moved = np.zeros(len(value) + 64, np.uint8)
    moved[shift : shift + len(value)] = np.frombuffer(value, np.uint8)
    arrays, _ = decode(memoryview(moved)[shift : shift + len(value)])
    assert arrays["a"].flags.aligned
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4]


def test_non_contiguous_arrays_keep_their_order():
    array = np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    arrays, _ = decode(memoryview(encode({"a": array}, {})))
    np.testing.assert_array_equal(arrays["a"], array)


def test_a_returned_array_keeps_its_owner_alive():
    import weakref

    class Owner:
        pass

    owner = Owner()
    alive = weakref.ref(owner)
    value = encode({"a": np.arange(64, dtype=np.uint8)}, {})
    arrays, _ = decode(memoryview(value), owner=owner)
    part = arrays["a"].reshape(8, 8)[2:, 3]
    del owner, arrays
    assert alive() is not None
    del part
    assert alive() is None


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["text"]), np.array([1], "datetime64[s]")])
def test_only_numbers_are_stored(array):
    with pytest.raises(StoreError, match="cannot hold; convert it to one of"):
        encode({"a": array}, {})


@pytest.mark.parametrize("meta", [{"a": float("nan")}, {"a": object()}, {"a": np.float32(1)}, {"a": "\ud800"}])
def test_meta_must_be_json(meta):
    with pytest.raises(StoreError, match="must be plain JSON"):
        encode({}, meta)


@given(data=st.data())
def test_damaged_bytes_are_refused_or_read_but_never_trusted(data):
    value = bytearray(encode({"a": np.arange(6, dtype=np.uint16).reshape(2, 3)}, {"k": 1}))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(value)))
    try:
        arrays, _ = decode(memoryview(bytes(value[:cut])))
    except StoreError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offset": -16}, "impossible array"),
        ({"offset": 16}, "beyond its end"),
        ({"shape": [2**62, 2**62]}, "beyond its end"),
        ({"shape": [-1]}, "impossible array"),
        ({"shape": "12"}, "impossible array"),
        ({"shape": [True]}, "impossible array"),
        ({"shape": [0, 2**70]}, "impossible array"),
        ({"shape": [1] * 100}, "impossible array"),
        ({"dtype": "object"}, "impossible array"),
        ({"dtype": ["uint8"]}, "impossible array"),
    ],
)
def test_a_lying_header_is_refused(change, words):
    value = encode({"a": np.zeros(16, np.uint8)}, {})
    length = int.from_bytes(value[4:8], "little")
    header = json.loads(value[16 : 16 + length])
    header["arrays"][0] |= change
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 16)
    total = 16 + len(text) + 16
    forged = b"SNRC" + len(text).to_bytes(4, "little") + total.to_bytes(8, "little") + text + bytes(16)
    with pytest.raises(StoreError, match=words):
        decode(memoryview(forged))


@pytest.mark.parametrize("key", ["", "a\nb", "\0schema", "x" * 512, "\udcff", "é" * 256])
def test_keys_that_cannot_be_used(key):
    with pytest.raises(StoreError, match=r"cannot be used|not valid Unicode"):
        encoded_key(key)


def test_the_longest_key():
    assert encoded_key("é" * 255 + "x") == ("é" * 255 + "x").encode()
