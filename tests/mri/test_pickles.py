"""The pickles of the published code: read without running what they ask for."""

import io
import os
import pickle

import numpy as np
import pytest

from shotnoise.errors import PictureError
from shotnoise.mri import odd, spectrum_of, to_signal
from shotnoise.mri.pickles import read_pickle, write_pickle


def slices(count=3, side=16):
    return np.random.default_rng(0).integers(0, 256, (count, side, side)).astype(np.uint8)


@pytest.mark.parametrize(("protocol", "order"), [(3, "C"), (3, "F"), (4, "C"), (4, "F"), (5, "C")])
def test_slices_are_read(tmp_path, protocol, order):
    images = np.asarray(slices(), order=order)
    spectra = np.stack([spectrum_of(to_signal(odd(image))).astype(np.complex64) for image in images])
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps((images, spectra), protocol=protocol))
    np.testing.assert_array_equal(read_pickle(path), images)


def test_names_of_older_arrays_are_known(tmp_path):
    """NumPy has moved the function that arrays are rebuilt by."""
    content = pickle.dumps((slices(), slices().astype(np.complex64)), protocol=3)
    assert b"numpy._core.multiarray" in content
    (tmp_path / "a.pkl").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    np.testing.assert_array_equal(read_pickle(tmp_path / "a.pkl"), slices())


def test_what_is_written_is_what_the_published_code_reads(tmp_path):
    write_pickle(tmp_path / "a.pkl", slices())
    np.testing.assert_array_equal(read_pickle(tmp_path / "a.pkl"), slices())
    images, spectra = pickle.loads((tmp_path / "a.pkl").read_bytes())  # noqa: S301  # written a moment ago
    assert (images.dtype, images.shape) == (np.uint8, (3, 16, 16))
    assert (spectra.dtype, spectra.shape) == (np.complex64, (3, 15, 15))
    back = np.fft.ifft2(np.fft.ifftshift(spectra, axes=(1, 2)))
    np.testing.assert_allclose(back.real, to_signal(images[:, :15, :15]), atol=1e-6)


class Payload:
    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


def hostile(kind, marker):
    """Pickles that would make a file, by way of a system call, of what builds arrays, or of an array of objects."""
    write = Payload(os.system, f"touch {marker}")
    if kind == "call":
        return pickle.dumps(write)
    if kind == "beside arrays":
        return pickle.dumps((slices(), write))
    if kind == "open":
        return pickle.dumps((slices(), Payload(io.open, str(marker), "w")))
    if kind == "objects":
        return pickle.dumps((np.array([write, None], dtype=object), slices()))
    if kind == "eval":
        return b'cbuiltins\neval\n(S\'open("%s", "w")\'\ntR.' % str(marker).encode()
    return b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93\x8c\x05posix\x8c\x06system\x93\x86R."


@pytest.mark.parametrize("kind", ["call", "beside arrays", "open", "objects", "eval", "smuggled"])
def test_nothing_in_a_file_runs(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    marker, path = tmp_path / "MARKER", tmp_path / "hostile.pkl"
    path.write_bytes(hostile(kind, marker))
    with pytest.raises(PictureError, match="refused, it asks for") as caught:
        read_pickle(path)
    assert not marker.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def described(**changes):
    """The bytes of a pickle whose array is described otherwise than it is."""
    content = pickle.dumps((slices(2, 4), slices(2, 4)), protocol=3)
    for before, after in changes.values():
        assert before in content
        content = content.replace(before, after)
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps((slices().astype(np.float32), slices())), "no array of 8-bit slices"),
        (pickle.dumps((slices()[0], slices())), "no array of 8-bit slices"),
        (pickle.dumps([slices(), slices()]), "expected a pair of slices and spectra"),
        (pickle.dumps({"a": 1}), "expected a pair of slices and spectra"),
        (pickle.dumps((1, 2)), "no array of 8-bit slices"),
        (described(shape=(b"K\x02K\x04K\x04\x87", b"K\xffK\xffK\xff\x87")), "does not hold as many numbers"),
        (described(kind=(b"u1", b"O8")), "no array of 8-bit slices"),
        (pickle.dumps((slices(), slices()))[:-100], "is no pickle, or a damaged one"),
        (b"a text", "is no pickle, or a damaged one"),
    ],
    ids=["type", "axes", "list", "dictionary", "numbers", "shape", "objects", "short", "text"],
)
def test_what_is_something_else_is_named(tmp_path, content, words):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=words):
        read_pickle(path)


@pytest.mark.parametrize("put", [b"r" + (2**31).to_bytes(4, "little"), b"p2147483648\n"])
def test_a_list_of_what_was_read_is_no_longer_than_the_file(tmp_path, put):
    """The reader would make one of 32 GB."""
    (tmp_path / "a.pkl").write_bytes(b"\x80\x03N" + put + b".")
    with pytest.raises(PictureError, match=r"a\.pkl: is a damaged pickle; expected a pair of arrays"):
        read_pickle(tmp_path / "a.pkl")
