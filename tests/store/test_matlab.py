"""MATLAB files: both kinds read alike, written whole, and hostile ones refused in one line."""

import os
import struct
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shotnoise.errors import StoreError
from shotnoise.store import matlab
from shotnoise.store.matlab import mat_names, read_mat, write_mat

VALUES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)


def write_73(path, arrays, *, header=512, **attributes):
    """As MATLAB 7.3 lays it out: HDF5 behind a header, axes in reverse, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=header) as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=np.asarray(array).T)
            kind = {"float64": "double", "float32": "single", "bool": "logical"}.get(array.dtype.name, array.dtype.name)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            for key, value in attributes.items():
                dataset.attrs[key] = value
    if header:
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int64", "float32", "float64", "bool"])
@pytest.mark.parametrize("compress", [False, True])
def test_what_is_written_comes_back(tmp_path, dtype, compress):
    path = tmp_path / "a.mat"
    values = (VALUES % 7).astype(dtype)
    write_mat(path, {"blocks": values, "time": 0.25, "row": [1.0, 2.0, 3.0]}, compress=compress)
    assert mat_names(path) == {"blocks": (2, 3, 4, 5), "time": (1, 1), "row": (1, 3)}
    back = read_mat(path, "blocks")
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(scipy.io.loadmat(path)["blocks"], values)  # what others see
    assert os.listdir(tmp_path) == ["a.mat"]


@pytest.mark.parametrize("header", [512, 0])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bool"])
def test_version_73_has_the_axes_of_matlab(tmp_path, header, dtype):
    values = (VALUES % 5).astype(dtype)
    path = write_73(tmp_path / "b.mat", {"blocks": values}, header=header)
    assert mat_names(path) == {"blocks": (2, 3, 4, 5)}
    back = read_mat(path, "blocks")
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


def test_other_byte_order_and_values_in_a_smaller_type(tmp_path):
    """What MATLAB itself writes, put together by hand: a double stored as bytes, short elements, big-endian."""
    path = tmp_path / "x.mat"
    flags = struct.pack(">IIII", 6, 8, 6, 0)  # class double
    shape = struct.pack(">IIii", 5, 8, 2, 3)
    name = struct.pack(">HH4s", 2, 1, b"ab\0\0")
    values = struct.pack(">II8s", 2, 6, bytes([1, 2, 3, 4, 5, 6, 0, 0]))
    content = flags + shape + name + values
    for pieces in (content, None):
        element = struct.pack(">II", 14, len(content)) + content
        if pieces is None:
            packed = zlib.compress(element)
            element = struct.pack(">II", 15, len(packed)) + packed
        path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">HH", 0x0100, 0x4D49) + element * 2)
        assert mat_names(path) == {"ab": (2, 3)}
        np.testing.assert_array_equal(read_mat(path, "ab"), [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])
        assert read_mat(path, "ab").dtype == np.float64
        np.testing.assert_array_equal(read_mat(path, "ab"), scipy.io.loadmat(path, variable_names=["ab"])["ab"])


def test_what_is_no_array_of_numbers_is_left_out(tmp_path):
    path = tmp_path / "c.mat"
    cells = np.empty(2, object)
    cells[:] = [np.ones(3), "text"]
    scipy.io.savemat(path, {"x": np.ones((2, 2)), "cells": cells, "text": "hello", "part": {"a": 1}, "z": np.array(1j)})
    assert mat_names(path) == {"x": (2, 2)}
    for name, words in (("cells", "'cell'"), ("text", "'char'"), ("part", "'struct'"), ("z", "complex")):
        with pytest.raises(StoreError, match=rf"{words}.*expected an array of real numbers"):
            read_mat(path, name)
    path = tmp_path / "d.mat"
    with h5py.File(path, "w") as file:
        file["x"] = np.ones((2, 3))
        file["text"] = np.array([104, 105], np.uint16)
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        file["part/a"] = 1.0
        file["elsewhere"] = h5py.ExternalLink("/etc/hostname", "x")
        file["nowhere"] = h5py.SoftLink("/gone")
        file["empty"] = np.array([0, 3], np.uint64)
        file["empty"].attrs["MATLAB_empty"] = 1
        file.create_dataset("bomb", (10**7, 10**7), np.uint8, chunks=(1000, 1000))
    assert mat_names(path) == {"x": (3, 2), "empty": (0, 3)}
    assert read_mat(path, "empty").shape == (0, 3)
    for name, words in (
        ("text", "char"),
        ("part", "struct"),
        ("elsewhere", "link"),
        ("nowhere", "link"),
        ("bomb", "10000000 x 10000000"),
    ):
        with pytest.raises(StoreError, match=words):
            read_mat(path, name)


def test_errors_name_file_and_way_out(tmp_path):
    path = tmp_path / "e.mat"
    with pytest.raises(StoreError, match=r"e\.mat: does not exist; expected a MATLAB file"):
        mat_names(path)
    with pytest.raises(StoreError, match="is not a file"):
        mat_names(tmp_path)
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 400, b"MATLAB 5.0" + b" " * 500):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"e\.mat: .*MATLAB file"):
            mat_names(path)
    write_mat(path, {"NoisyBlocks": VALUES})
    with pytest.raises(StoreError, match="has no variable 'NoisyBlock'; did you mean 'NoisyBlocks'"):
        read_mat(path, "NoisyBlock")
    with pytest.raises(StoreError, match="'2x' cannot name a variable"):
        write_mat(path, {"2x": VALUES})
    with pytest.raises(StoreError, match="has type complex128; convert it"):
        write_mat(path, {"x": VALUES * 1j})
    with pytest.raises(StoreError, match="has type float16"):
        write_mat(path, {"x": VALUES.astype(np.float16)})
    with pytest.raises(StoreError, match="no arrays"):
        write_mat(path, {})
    with pytest.raises(StoreError, match=r"cannot be written .*choose another place"):
        write_mat(tmp_path / "nowhere" / "x.mat", {"x": VALUES})
    assert os.listdir(tmp_path) == ["e.mat"]
    assert mat_names(path) == {"NoisyBlocks": (2, 3, 4, 5)}  # what failed has not touched it


def test_an_array_cannot_claim_more_than_the_file_explains(tmp_path):
    path = tmp_path / "f.mat"
    write_mat(path, {"x": np.ones((5, 7))}, compress=False)
    content = bytearray(path.read_bytes())
    at = content.index(b"\5\0\0\0\7\0\0\0")
    content[at : at + 8] = b"\xff\xff\xff\x7f" * 2
    path.write_bytes(content)
    assert mat_names(path) == {}
    with pytest.raises(StoreError, match=r"claims 2147483647 x 2147483647 values in a file of .* bytes and is refused"):
        read_mat(path, "x")


def test_what_an_array_claims_is_counted_in_bytes(tmp_path, monkeypatch):
    """Ten thousand zeros shrink to a few bytes; numbers of eight bytes are eight times as much as their count."""
    monkeypatch.setattr(matlab, "_SMALL", 1000)
    write_mat(tmp_path / "a.mat", {"x": np.zeros((100, 100))})
    assert mat_names(tmp_path / "a.mat") == {}
    with pytest.raises(StoreError, match=r"'x' claims 100 x 100 values in a file of .* bytes and is refused"):
        read_mat(tmp_path / "a.mat", "x")
    write_mat(tmp_path / "b.mat", {"x": np.zeros((100, 100), np.uint8)})
    assert mat_names(tmp_path / "b.mat") == {"x": (100, 100)}
    assert not read_mat(tmp_path / "b.mat", "x").any()


def test_values_in_a_larger_type_than_their_class_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab, "_SMALL", 1000)
    head = struct.pack("<IIII", 6, 8, 9, 0) + struct.pack("<IIii", 5, 8, 100, 100) + struct.pack("<HH4s", 1, 1, b"x")
    content = head + struct.pack("<II", 9, 80_000) + bytes(80_000)  # uint8, stored as double
    packed = zlib.compress(struct.pack("<II", 14, len(content)) + content)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    assert mat_names(tmp_path / "a.mat") == {"x": (100, 100)}
    with pytest.raises(StoreError, match="'x' claims 100 x 100 values"):
        read_mat(tmp_path / "a.mat", "x")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_mat(folder / "plain.mat", {"x": VALUES}, compress=False)
    write_mat(folder / "packed.mat", {"x": VALUES})
    write_73(folder / "hdf.mat", {"x": VALUES})
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 2), cut=st.floats(0, 1), at=st.floats(0, 0.999), value=st.integers(0, 255))
def test_damage_is_a_store_error_or_nothing(samples, tmp_path, which, cut, at, value):
    """Whatever is cut off or changed, the answer is an array or one line."""
    content = bytearray(samples[which])
    content[int(at * len(content))] = value
    path = tmp_path / "g.mat"
    for damaged in (content, content[: int(cut * len(content))]):
        path.write_bytes(damaged)
        problem = f"{path}: all went well"
        try:
            for name in mat_names(path):
                read_mat(path, name)
        except StoreError as error:
            problem = str(error)
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem
