"""Samples on disk: a versioned LMDB store; folders and TFRecord files that read the same way; packing, unpacking."""

from shotnoise.store.folders import PictureFolder
from shotnoise.store.packing import PackReport, in_train, pack
from shotnoise.store.raw import raw_planes
from shotnoise.store.reader import Store
from shotnoise.store.record import Record
from shotnoise.store.samples import Samples, open_samples
from shotnoise.store.schema import Schema
from shotnoise.store.selection import planes
from shotnoise.store.tfrecord import TFRecordPictures, write_tfrecord
from shotnoise.store.unpacking import unpack
from shotnoise.store.writer import StoreWriter

__all__ = [
    "PackReport",
    "PictureFolder",
    "Record",
    "Samples",
    "Schema",
    "Store",
    "StoreWriter",
    "TFRecordPictures",
    "in_train",
    "open_samples",
    "pack",
    "planes",
    "raw_planes",
    "unpack",
    "write_tfrecord",
]
