"""What a store is made of, and what it says about itself: the schema record, written last."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shotnoise.errors import StoreError

__all__ = ["DATA_FILE", "FORMAT_VERSION", "SCHEMA_KEY", "SPLITS_FILE", "ArraySchema", "Schema", "checksum"]

DATA_FILE = "data.mdb"  # the name LMDB gives
SPLITS_FILE = "splits.json"
FORMAT_VERSION = 1
SCHEMA_KEY = b"\0schema"  # keys of samples hold no control characters, so nothing can collide with it


class ArraySchema(BaseModel):
    """What is common to one named array over all records; the number of axes always is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtypes: tuple[str, ...] = Field(description="all that occur, sorted; nearly always one")
    smallest: tuple[int, ...] = Field(description="the smallest length of each axis")
    largest: tuple[int, ...] = Field(description="the largest length of each axis")

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The common shape; None for an axis whose length varies.

        >>> ArraySchema(dtypes=("uint8",), smallest=(3, 64, 80), largest=(3, 64, 96)).shape
        (3, 64, None)
        """
        return tuple(low if low == high else None for low, high in zip(self.smallest, self.largest, strict=True))

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> "ArraySchema":
        """The schema of a single array."""
        return cls(dtypes=(array.dtype.name,), smallest=array.shape, largest=array.shape)

    def including(self, array: npt.NDArray[Any]) -> "ArraySchema":
        """The schema after one more array with the same number of axes."""
        if array.shape == self.smallest == self.largest and (array.dtype.name,) == self.dtypes:
            return self
        return ArraySchema(
            dtypes=tuple(sorted({*self.dtypes, array.dtype.name})),
            smallest=tuple(map(min, self.smallest, array.shape)),
            largest=tuple(map(max, self.largest, array.shape)),
        )


class Schema(BaseModel):
    """The schema record of a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["shotnoise-store"] = "shotnoise-store"
    version: Literal[1] = 1
    count: int = Field(ge=1, description="number of records")
    arrays: dict[str, ArraySchema] = Field(description="the arrays that every record has")
    total_bytes: int = Field(description="of all records together")
    checksum: str = Field(description="sha256 over keys and sha256 of values, in key order")
    made_with: str = Field(description="shotnoise version that made the store")
    made_by: dict[str, Any] = Field(default_factory=dict, description="source and options of its making")

    @classmethod
    def parse(cls, text: bytes, source: str) -> "Schema":
        """Read a schema record; `source` names the store in the error message."""
        foreign = StoreError(f"{source}: its schema record is damaged or not made by shotnoise; pack it again")
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError):
            raise foreign from None
        version = raw.get("version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise StoreError(
                f"{source}: the store has format version {version}, this shotnoise reads up to {FORMAT_VERSION}; "
                "upgrade shotnoise or pack it again"
            )
        try:
            return cls.model_validate(raw)
        except ValidationError:
            raise foreign from None


def checksum(digests: Iterable[tuple[str, bytes]] | Mapping[str, bytes]) -> str:
    """One sha256 over (key, sha256 of the value), sorted by key as LMDB sorts."""
    pairs = digests.items() if isinstance(digests, Mapping) else digests
    total = hashlib.sha256()
    for key, digest in sorted((key.encode(), digest) for key, digest in pairs):
        total.update(len(key).to_bytes(4, "little") + key + digest)
    return f"sha256:{total.hexdigest()}"
