"""Weights on disk <-> networks: our own checkpoints, and those that other people publish.

Nothing in a file is ever executed: `.safetensors` holds only tensors, and `.pth`-like files pass torch's restricted
reader, which refuses everything but tensors and plain containers.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shotnoise.card import CARD_KEY, Card
from shotnoise.errors import ModelError, nearest, require
from shotnoise.networks.network import Network
from shotnoise.networks.zoo import NETWORKS

__all__ = ["create", "load", "load_with_card", "read_state", "save_checkpoint"]

_WRAPPERS = ("state_dict", "params_ema", "params", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "netG.")


def create(name: str, **arguments: Any) -> Network:
    """A fresh network by name, with the published defaults.

    >>> create("dncnn", nb=5, nc=8).channels
    1
    """
    network: Network = NETWORKS.create(name, arguments)
    return network


def load(path: str | os.PathLike[str], *, network: str | None = None) -> Network:
    """Open a checkpoint: ours, or an official one whose architecture is in the zoo.

    Args:
        path: a `.safetensors` or `.pth` / `.pt` / `.ckpt` / `.bin` file, or the folder of a run.
        network: name in the zoo; None to recognise it from the tensors.

    Returns:
        The network in eval mode, on the CPU.
    """
    return load_with_card(path, network=network)[0]


def load_with_card(path: str | os.PathLike[str], *, network: str | None = None) -> tuple[Network, Card | None]:
    """Like :func:`load`, together with the card if the file carries one."""
    file = Path(path)
    if file.is_dir():
        file = file / "best.safetensors"
        if not file.exists():
            raise ModelError(f"{path}: no best.safetensors in this run folder; has the training validated once?")
    state, metadata = read_state(file)
    card = Card.parse(metadata[CARD_KEY], str(file)) if CARD_KEY in metadata else None
    if card is not None and card.network and network in (None, card.network):
        name, arguments = card.network, dict(card.arguments)
    else:
        name, arguments = _recognise(state, file, network)
    model = create(name, **arguments)
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(f"{file}: its tensors do not fit the network '{name}' ({detail})") from None
    return model.eval(), card


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and text metadata of a checkpoint file, wrappers and common prefixes removed."""
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint file")
    with path.open("rb") as stream:
        magic = stream.read(9)
    if magic[8:9] == b"{":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted reader and the zip reader raise a dozen kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "weights_only" in str(error) or "Weights only" in str(error):
            reason = "it holds more than tensors and plain containers, and nothing from a file is ever executed"
        raise ModelError(f"{path}: not a usable checkpoint ({reason}); expected a state dict or .safetensors") from None
    return _strip(_unwrap(content, path)), {}


def save_checkpoint(path: str | os.PathLike[str], network: Network, card: Card) -> None:
    """Write weights and card into one `.safetensors` file, atomically."""
    safetensors = require("safetensors.torch", "train", "writing a checkpoint")
    target = Path(path)
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.close(handle)
    try:
        safetensors.save_file(tensors, temporary, metadata={CARD_KEY: card.to_json()})
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    safetensors = require("safetensors", "train", "reading a checkpoint")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            metadata = dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path}: not a usable .safetensors file ({error})") from None
    return _strip(state), metadata


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path}: holds no state dict; expected a mapping from names to tensors")
    return {str(key): value for key, value in content.items()}


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            return {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _recognise(state: Mapping[str, Tensor], path: Path, wanted: str | None) -> tuple[str, dict[str, Any]]:
    if wanted is not None and wanted not in NETWORKS:
        raise ModelError(f"unknown network '{wanted}': {nearest(wanted, NETWORKS)}")
    candidates = [wanted] if wanted else list(NETWORKS)
    for name in candidates:
        arguments = NETWORKS.resolve(name).arguments_from(state)
        if arguments is not None:
            return name, arguments
    tried = f"the network '{wanted}'" if wanted else f"any of {', '.join(NETWORKS)}"
    raise ModelError(f"{path}: its {len(state)} tensors do not look like {tried}")
