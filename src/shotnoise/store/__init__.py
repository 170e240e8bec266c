"""Samples on disk: a versioned LMDB store, pictures of a folder with the same reading interface, and packing."""

from shotnoise.store.folders import PictureFolder, planes
from shotnoise.store.packing import PackReport, in_train, pack
from shotnoise.store.reader import Store
from shotnoise.store.record import Record
from shotnoise.store.samples import Samples, open_samples
from shotnoise.store.schema import Schema
from shotnoise.store.writer import StoreWriter

__all__ = [
    "PackReport",
    "PictureFolder",
    "Record",
    "Samples",
    "Schema",
    "Store",
    "StoreWriter",
    "in_train",
    "open_samples",
    "pack",
    "planes",
]
