import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from shotnoise.errors import StoreError
from shotnoise.store import Store, TFRecordPictures, open_samples, pack, write_tfrecord


def pictures(*sizes, channels=3):
    rng = np.random.default_rng(len(sizes))
    return [rng.integers(0, 256, (channels, *size), np.uint8) for size in sizes]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "set.tfrecords"
    assert write_tfrecord(path, pictures((20, 30), (40, 50), (33, 21))) == 3
    return path


def test_pictures_come_back_in_any_order(tmp_path):
    given = pictures((20, 30), (1, 1), (300, 200))
    write_tfrecord(tmp_path / "a.tfrecord", given)
    samples = TFRecordPictures(tmp_path / "a.tfrecord")
    assert len(samples) == 3
    assert samples.keys() == ("00000000", "00000001", "00000002")
    for index in (2, 0, 1, -1):
        np.testing.assert_array_equal(samples[index].arrays["clean"], given[index])
        assert not samples[index].arrays["clean"].flags.writeable
    assert [record.key for record in samples] == list(samples.keys())
    assert samples[1].meta == {"picture": "00000001"}
    assert open_samples(tmp_path / "a.tfrecord").keys() == samples.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tfrecord"]


@given(
    picture=hnp.arrays(np.uint8, st.tuples(st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 300))),
)
def test_any_picture_survives(tmp_path_factory, picture):
    path = tmp_path_factory.mktemp("records") / "a.tfrecords"
    write_tfrecord(path, [picture])
    np.testing.assert_array_equal(TFRecordPictures(path, channels=len(picture))[0].arrays["clean"], picture)


def test_the_file_is_what_tensorflow_reads(file):
    """Tensorboard brings TensorFlow's reader of records, protobuf its messages; neither is ours."""
    loader = pytest.importorskip("tensorboard.compat.tensorflow_stub.pywrap_tensorflow")
    reader = loader.PyRecordReader_New(str(file))
    for expected in pictures((20, 30), (40, 50), (33, 21)):
        reader.GetNext()
        example = _example().FromString(reader.record())
        assert list(example.features.feature["shape"].int64_list.value) == list(expected.shape)
        assert example.features.feature["data"].bytes_list.value == [expected.tobytes()]


def test_a_file_of_other_hands_is_read(tmp_path):
    """Features in the other order, one feature more, as protobuf itself lays them out, and shape not packed."""
    (picture,) = pictures((5, 7))
    example = _example()()
    example.features.feature["label"].int64_list.value.append(-3)
    example.features.feature["data"].bytes_list.value.append(picture.tobytes())
    example.features.feature["shape"].int64_list.value.extend(picture.shape)
    loader = pytest.importorskip("tensorboard.compat.tensorflow_stub.pywrap_tensorflow")
    text = example.SerializeToString()
    length = struct.pack("<Q", len(text))
    parts = [
        length,
        struct.pack("<I", loader.masked_crc32c(length)),
        text,
        struct.pack("<I", loader.masked_crc32c(text)),
    ]
    (tmp_path / "a.tfrecords").write_bytes(b"".join(parts))
    np.testing.assert_array_equal(TFRecordPictures(tmp_path / "a.tfrecords")[0].arrays["clean"], picture)


def _example():
    """The message class of tf.train.Example, made from its published definition."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    definition = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")

    def message(name, *fields):
        made = definition.message_type.add(name=name)
        for number, (field, kind, label, type_name) in enumerate(fields, 1):
            made.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
        return made

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BytesList", ("value", kinds.TYPE_BYTES, many, None))
    message("FloatList", ("value", kinds.TYPE_FLOAT, many, None))
    message("Int64List", ("value", kinds.TYPE_INT64, many, None))
    lists = [(n, kinds.TYPE_MESSAGE, one, f".t.{t}") for n, t in
             (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))]  # fmt: skip
    message("Feature", *lists)
    features = message("Features", ("feature", kinds.TYPE_MESSAGE, many, ".t.Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=one)
    entry.field.add(name="value", number=2, type=kinds.TYPE_MESSAGE, label=one, type_name=".t.Feature")
    message("Example", ("features", kinds.TYPE_MESSAGE, one, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(definition)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


def test_sizes_and_channels(tmp_path, file):
    samples = TFRecordPictures(file, min_size=21, max_size=40, channels=1)
    assert samples.keys() == ("00000002",)
    assert samples[0].arrays["clean"].shape == (1, 33, 21)
    assert samples.converted == 1
    assert [(small.name, small.reason) for small in samples.unsuited] == [
        ("00000000", "20 x 30 pixels: a side is shorter than 21"),
        ("00000001", "40 x 50 pixels: a side is longer than 40"),
    ]
    with pytest.raises(
        StoreError, match=r"none of its pictures can be used: 3 are not wanted \(the first: 00000000, 20"
    ):
        TFRecordPictures(file, min_size=100)
    with pytest.raises(StoreError, match="channels is 4; expected 3"):
        TFRecordPictures(file, channels=4)


def test_other_processes_open_it_again(file):
    samples = TFRecordPictures(file, min_size=21)
    again = pickle.loads(pickle.dumps(samples))  # noqa: S301
    assert again.keys() == samples.keys()
    np.testing.assert_array_equal(again[1].arrays["clean"], samples[1].arrays["clean"])


@given(at=st.integers(1, 10_000))
def test_a_truncated_file_is_refused(tmp_path_factory, at):
    path = tmp_path_factory.mktemp("cut") / "a.tfrecords"
    write_tfrecord(path, pictures((20, 30), (25, 25)))
    whole = path.read_bytes()
    first = 12 + struct.unpack("<Q", whole[:8])[0] + 4
    cut = at % len(whole)
    path.write_bytes(whole[:cut])
    if cut == first:  # a shorter file, but a sound one
        assert len(TFRecordPictures(path)) == 1
    else:
        with pytest.raises(
            StoreError, match=r"a\.tfrecords: the file is (truncated in record \d; copy it again|empty)"
        ):
            TFRecordPictures(path)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_damage_goes_unseen(tmp_path_factory, at, bit):
    path = tmp_path_factory.mktemp("damaged") / "a.tfrecords"
    write_tfrecord(path, pictures((20, 30), (25, 25)))
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.tfrecords: .*(checksum|truncated|no picture|not a TFRecord file)"):
        list(TFRecordPictures(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty; expected a TFRecord file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "wrong checksum; this is not a TFRecord file"),
        (b"short", "truncated in record 0"),
    ],
)
def test_foreign_files(tmp_path, content, words):
    (tmp_path / "a.tfrecords").write_bytes(content)
    with pytest.raises(StoreError, match=words):
        TFRecordPictures(tmp_path / "a.tfrecords")
    with pytest.raises(StoreError, match=r"missing\.tfrecords: cannot be read \(No such file"):
        TFRecordPictures(tmp_path / "missing.tfrecords")


def test_records_that_are_no_pictures(tmp_path):
    from shotnoise.store.crc32c import crc32c

    def masked(data):
        crc = crc32c(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    for text in (b"", b"\n\x03abc", b"\xff" * 40, b"\n\x00"):
        length = struct.pack("<Q", len(text))
        (tmp_path / "a.tfrecords").write_bytes(length + masked(length) + text + masked(text))
        with pytest.raises(StoreError, match="record 0 is no picture; expected the features 'shape'"):
            TFRecordPictures(tmp_path / "a.tfrecords")


def test_packing(tmp_path, file):
    report = pack(file, tmp_path / "s", min_size=21)
    assert (report.pictures, report.records, len(report.unsuited)) == (2, 2, 1)
    store = Store(tmp_path / "s")
    assert store.schema.made_by["source"] == "set.tfrecords"
    for record, expected in zip(store, pictures((20, 30), (40, 50), (33, 21))[1:], strict=True):
        np.testing.assert_array_equal(record.arrays["clean"], expected)


def test_a_damaged_record_does_not_stop_packing(tmp_path, file):
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)
    report = pack(file, tmp_path / "s")
    assert report.records == 2
    (failed,) = report.failed
    assert failed.name == "00000000"
    assert "the checksum of record 0 is wrong" in failed.reason


def test_what_cannot_be_written(tmp_path):
    path = tmp_path / "a.tfrecords"
    with pytest.raises(StoreError, match=r"picture 2 is float32 of shape \(3, 4, 4\); expected uint8"):
        write_tfrecord(path, [*pictures((4, 4)), np.zeros((3, 4, 4), np.float32)])
    with pytest.raises(StoreError, match="there is no picture to write"):
        write_tfrecord(path, [])
    with pytest.raises(StoreError, match="cannot be written"):
        write_tfrecord(tmp_path / "missing" / "a.tfrecords", pictures((4, 4)))
    assert not list(tmp_path.iterdir())


def test_a_folder_can_be_written_as_one(tmp_path):
    (tmp_path / "p").mkdir()
    Image.fromarray(np.full((8, 9, 3), 7, np.uint8)).save(tmp_path / "p" / "a.png")
    write_tfrecord(tmp_path / "a.tfrecords", (record.arrays["clean"] for record in open_samples(tmp_path / "p")))
    assert TFRecordPictures(tmp_path / "a.tfrecords")[0].arrays["clean"].shape == (3, 8, 9)


def test_a_file_is_no_folder_to_write_into(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot be written \(Not a directory\); choose another place"):
        write_tfrecord(tmp_path / "file" / "a.tfrecords", [np.zeros((3, 4, 4), np.uint8)])
