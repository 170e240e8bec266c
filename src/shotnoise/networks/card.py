"""The card of a network: what can be said by measuring it."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from shotnoise.card import Card, Latent, Transform
from shotnoise.errors import ModelError
from shotnoise.networks.field import halo_of
from shotnoise.networks.network import Network
from shotnoise.networks.zoo import NETWORKS

__all__ = ["bare_card", "measured"]

_KINDS: dict[int, Literal["gray", "rgb", "raw"]] = {1: "gray", 3: "rgb", 4: "raw"}


def measured(network: Network) -> dict[str, Any]:
    """The fields of a card that follow from the network itself."""
    if network.channels not in _KINDS:
        raise ModelError(f"a network of {network.channels} channels; expected 1 (gray), 3 (RGB) or 4 (packed RAW)")
    shape = network.latent_shape
    return {
        "kind": _KINDS[network.channels],
        "channels": network.channels,
        "level": network.level,
        "latent": None if shape is None else Latent(channels=shape[0], reduction=shape[1]),
        "multiple": network.multiple,
        "halo": halo_of(network),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def bare_card(network: Network, source: str | os.PathLike[str]) -> Card:
    """A card for a checkpoint that brought none: only what can be measured, nothing claimed."""
    return Card(
        name=Path(source).stem,
        network=next(name for name in NETWORKS if NETWORKS.resolve(name) is type(network)),
        arguments=type(network).arguments_from(network.state_dict()) or {},
        k_sigma=None if network.k_sigma is None else Transform(**asdict(network.k_sigma)),
        limits=["made from a checkpoint without a card: training data, noise range and licence are unknown"],
        **measured(network),
    )
