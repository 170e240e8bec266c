"""The files in which weights are published: what is inside, as tensors with names. Nothing in a file is ever executed.

A file is known by its first bytes, not by its suffix: `.safetensors`; what `torch.save` writes, as a zip archive or as
the stream of versions before 1.6, read by torch's restricted reader only; MATLAB files of version 7.3
(:mod:`shotnoise.networks.matconvnet`); zip archives that hold any of these; and the `.onnx` that `shotnoise export`
makes, the bundled models among them.

Dictionaries in dictionaries become names with dots: `{"params": {"head.weight": t}}` is `params.head.weight`. Which of
them is a network is for :mod:`shotnoise.networks.checkpoint` to find out.
"""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from shotnoise.card import CARD_KEY
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import ModelError, require
from shotnoise.networks.matconvnet import read_matconvnet

__all__ = ["SUFFIXES", "read_file"]

# What files of weights are called, for archives that hold other things too.
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".ckp", ".bin", ".pkl", ".mat", ".tar")

_EXPANSION = 30  # times that an archive may grow; weights hardly shrink
_ONNX = b"\x08"  # the number of its first field
_PREFIX = "network."  # of the weights in an exported graph
_SMALL = 2**24  # bytes below which that is of no interest
# Left by the training beside the weights, often as large: states of optimisers and the like.
_BOOKKEEPING = re.compile("optim|sched|scaler|callback|loops|rng|hyper", re.IGNORECASE)
# Left by tools that count operations, and by torch's own averaging.
_COUNTERS = ("total_ops", "total_params", "n_averaged")


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a file, and its text metadata."""
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint file")
    with path.open("rb") as stream:
        start = stream.peek(9)
        # Of .safetensors it is the length of the header, which may begin with any byte.
        if start[:1] == _ONNX and start[8:9] != b"{":
            return _exported(path)
        content, metadata = _content(stream, str(path))
    tensors: dict[str, Tensor] = {}
    if isinstance(content, Mapping):
        _collect(content, "", tensors, set(), str(path))
    if not tensors:
        raise ModelError(f"{path}: holds no state dict; expected a mapping from names to tensors")
    return tensors, metadata


def _content(stream: BinaryIO, name: str, *, nested: bool = False) -> tuple[Any, dict[str, str]]:
    magic = stream.read(16)
    stream.seek(0)
    if magic[8:9] == b"{":
        return _safetensors(stream, name)
    if magic.startswith((b"MATLAB 7.3", b"\x89HDF\r\n")):
        return read_matconvnet(stream, name), {}
    if magic.startswith(b"MATLAB 5.0"):
        raise ModelError(f"{name}: a MATLAB file of version 5; expected version 7.3, save it again with '-v7.3'")
    if magic.startswith(b"PK\x03\x04") and (members := _members(stream, name, nested)):
        return members, {}
    stream.seek(0)
    return _torch(stream, name), {}


def _exported(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights and the card of a model that was exported by shotnoise."""
    model = read_onnx(path)
    if model.card.precision == "int8":
        raise ModelError(f"{path}: its weights are rounded to int8; take the model that it was made of")
    tensors = {
        name.removeprefix(_PREFIX): torch.from_numpy(value)
        for name, value in model.weights().items()
        if name.startswith(_PREFIX)
    }
    if not tensors:
        raise ModelError(f"{path}: holds no weights under the names of a network; take the run or file it was made of")
    return tensors, {CARD_KEY: model.card.to_json()}


def _safetensors(stream: BinaryIO, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    safetensors = require("safetensors.torch", "train", "reading a checkpoint")
    data = stream.read()
    try:
        tensors: dict[str, Tensor] = safetensors.load(data)
    except Exception as error:  # the reader is not Python and raises of its own kind
        raise ModelError(f"{name}: not a usable .safetensors file ({error})") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, dict(header.get("__metadata__") or {})


def _members(stream: BinaryIO, name: str, nested: bool) -> dict[str, Any] | None:
    """The checkpoints in an archive by their names; None when the archive itself is one."""
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            packed = sum(entry.compress_size for entry in entries)
            if sum(entry.file_size for entry in entries) > max(_SMALL, _EXPANSION * packed):
                raise ModelError(f"{name}: refused, the archive would grow to more than {_EXPANSION} times its size")
            if any(entry.filename.endswith("/data.pkl") for entry in entries):
                return None  # written by torch.save
            members = [
                entry
                for entry in entries
                if Path(entry.filename).suffix.lower() in SUFFIXES and not entry.filename.startswith("__MACOSX/")
            ]
            if nested:
                raise ModelError(f"{name}: refused, an archive in an archive; unpack it first")
            if not members:
                raise ModelError(f"{name}: the archive holds no checkpoint; expected one of {', '.join(SUFFIXES)}")
            # A slash, which no name of a tensor begins with, and no dots, as they stand between names here.
            return {
                f"/{Path(entry.filename).stem.replace('.', '_')}": _content(
                    io.BytesIO(archive.read(entry)), f"{name}/{entry.filename}", nested=True
                )[0]
                for entry in members
            }
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ModelError(f"{name}: not a usable checkpoint (damaged archive: {error})") from None


def _torch(stream: BinaryIO, name: str) -> Any:
    """What `torch.save` wrote, if it is made of tensors, numbers and plain containers."""
    multiarray = np._core.multiarray  # type: ignore[attr-defined]  # where NumPy's numbers and arrays are rebuilt
    numeric = [type(np.dtype(kind)) for kind in "?bhilqBHILQefd"]
    plain: list[Any] = [np.ndarray, np.dtype, *numeric]
    for function in (multiarray.scalar, multiarray._reconstruct):
        plain += [(function, f"numpy.{core}.multiarray.{function.__name__}") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(plain), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on formats of old versions, which is what these files are
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted reader and the zip reader raise a dozen kinds
        text = str(error)
        stream.seek(0)
        pickled = stream.read(2).startswith((b"\x80", b"PK"))
        if (found := re.search(r"GLOBAL ([\w.]+)", text)) is not None:
            what = f"it holds '{found[1]}', more than tensors and plain containers"
            reason = f"{what}, and nothing from a file is ever executed; ask for its state dict alone"
        elif "TorchScript" in text:
            reason = "a TorchScript program, and nothing from a file is ever executed; ask for its state dict"
        elif pickled and ("weights_only" in text or "Weights only" in text):
            reason = "it holds more than tensors and plain containers, and nothing from a file is ever executed"
        else:
            reason = "damaged, or of another kind"
        raise ModelError(f"{name}: not a usable checkpoint ({reason}); expected a state dict or .safetensors") from None


def _collect(content: Mapping[Any, Any], prefix: str, into: dict[str, Tensor], seen: set[int], name: str) -> None:
    """Add all tensors below `content` with their names; each dictionary once, however often it is referred to."""
    if id(content) in seen:
        return
    seen.add(id(content))
    for key, value in content.items():
        full = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if not _BOOKKEEPING.search(str(key)):
                _collect(value, f"{full}.", into, seen, name)
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            value = torch.tensor(value)
        if not isinstance(value, Tensor) or full.rpartition(".")[2] in _COUNTERS:
            continue
        if value.layout is not torch.strided or value.is_quantized:
            raise ModelError(f"{name}: '{full}' is a sparse or quantised tensor; expected plain ones")
        if not value.numel() or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ModelError(f"{name}: '{full}' says {_size(value)}, and the file does not hold as much")
        into[full] = value


def _size(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape)
