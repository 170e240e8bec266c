"""Weights on disk <-> networks: our own checkpoints, and those that other people publish.

What a file holds is read by :mod:`shotnoise.networks.containers`, which executes nothing. Here the network in it is
found: below whatever wrappers (`state_dict`, `params_ema`, ...) and prefixes (`module.`, `net_g.`, ...) the training
left around it, by the names and shapes of the tensors alone.
"""

import logging
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shotnoise.card import CARD_KEY, Card
from shotnoise.errors import ModelError, RecipeError, nearest, require
from shotnoise.networks.containers import read_file
from shotnoise.networks.network import Network
from shotnoise.networks.zoo import NETWORKS

__all__ = ["create", "filled", "load", "load_with_card", "read_state", "save_checkpoint"]

logger = logging.getLogger(__name__)

# The words of which training programs make a name for the network that they save: params_ema, net_g, model_state_dict.
_AROUND = {
    *(
        "averaged",
        "best",
        "checkpoint",
        "denoiser",
        "dict",
        "ema",
        "g",
        "generator",
        "method",
        "mod",
        "model",
        "module",
    ),
    *("net", "netg", "network", "orig", "params", "predictor", "state", "statedict", "swa", "weight", "weights"),
}
_AVERAGED = re.compile("ema|averag|swa", re.IGNORECASE)
_NAMED = 3  # tensors that a message names


def create(name: str, **arguments: Any) -> Network:
    """A fresh network by name, with the published defaults.

    >>> create("dncnn", nb=5, nc=8).channels
    1
    """
    network: Network = NETWORKS.create(name, arguments)
    return network


def load(path: str | os.PathLike[str], *, network: str | None = None) -> Network:
    """Open a checkpoint: ours, or an official one whose architecture is in the zoo.

    Where a file holds the weights of the training and their moving average, the average is taken.

    Args:
        path: a `.safetensors` file, what `torch.save` wrote under any suffix, a `.mat` of MatConvNet, a zip archive
            with one of these, or the folder of a run.
        network: name in the zoo, None to recognise it from the tensors. After a colon, which part of a file that
            holds several networks: "ircnn:12", "nafnet:params", ":params_ema".

    Returns:
        The network in eval mode, on the CPU, in float32.
    """
    return load_with_card(path, network=network)[0]


def load_with_card(path: str | os.PathLike[str], *, network: str | None = None) -> tuple[Network, Card | None]:
    """Like :func:`load`, together with the card if the file carries one."""
    file = Path(path)
    if file.is_dir():
        file = file / "best.safetensors"
        if not file.exists():
            raise ModelError(f"{path}: no best.safetensors in this run folder; has the training validated once?")
    wanted, _, part = (network or "").partition(":")
    if wanted and wanted not in NETWORKS:
        raise ModelError(f"unknown network '{wanted}': {nearest(wanted, NETWORKS)}")
    tensors, metadata = read_file(file)
    card = Card.parse(metadata[CARD_KEY], str(file)) if CARD_KEY in metadata else None
    if card is not None and card.network and wanted in ("", card.network):
        name, arguments, state = card.network, dict(card.arguments), tensors
    else:
        try:
            candidates = list(_search(tensors, wanted or None))
        except ModelError as error:  # a network knows what they are, and that they are not all of it
            raise ModelError(f"{file}: {error}") from None
        found = _choose(candidates, part, file)
        name, arguments = found.only(file) if found else _by_name_alone(wanted, tensors, file)
        state = found.state if found else _nearest_state(tensors, name)
    return filled(name, arguments, state, file), card


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and text metadata of a checkpoint file, names as they are, wrappers included."""
    return read_file(path)


def save_checkpoint(path: str | os.PathLike[str], network: Network, card: Card) -> None:
    """Write weights and card into one `.safetensors` file, atomically."""
    safetensors = require("safetensors.torch", "train", "writing a checkpoint")
    target = Path(path)
    # Copies, since the format refuses tensors that share memory: a parameter that one network uses under many names.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.close(handle)
    try:
        safetensors.save_file(tensors, temporary, metadata={CARD_KEY: card.to_json()})
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


@dataclass(frozen=True)
class _Found:
    """Tensors of a file that look like networks of the zoo.

    Attributes:
        place: names of what is around them.
        state: the tensors under their own names.
        fits: network -> arguments.
    """

    place: tuple[str, ...]
    state: dict[str, Tensor]
    fits: dict[str, dict[str, Any]]

    @property
    def averaged(self) -> bool:
        """Whether this is a moving average of the weights."""
        return any(_AVERAGED.search(name) for name in self.place)

    def only(self, file: Path) -> tuple[str, dict[str, Any]]:
        """The network that it is, if there is no doubt."""
        if len(self.fits) > 1:
            names = list(self.fits)
            raise ModelError(
                f"{file}: its tensors fit the networks {' and '.join(names)}; name one of them as the network: "
                f"--network {names[0]}, or network='{names[0]}'"
            )
        return next(iter(self.fits.items()))


def _groups(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors by the first part of their names, without it; those whose names have no dots are left out."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        first, dot, rest = key.partition(".")
        if dot:
            groups.setdefault(first, {})[rest] = value
    return groups


def _is_around(name: str) -> bool:
    return all(word in _AROUND for word in re.split("[-_]+", name.strip("_").lower()))


def _inside(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Groups that may be a whole network: known names, files of an archive, several numbers, or nothing else there."""
    groups = _groups(tensors)
    if len(groups) > 1 and not all(name.isdigit() for name in groups):
        return {name: group for name, group in groups.items() if name.startswith("/") or _is_around(name)}
    return groups


def _search(tensors: dict[str, Tensor], wanted: str | None, place: tuple[str, ...] = ()) -> Iterator[_Found]:
    fits = _fitting(tensors, wanted)
    if fits:
        yield _Found(place, tensors, fits)
        return
    for name, group in _inside(tensors).items():
        yield from _search(group, wanted, (*place, name.removeprefix("/")))


def _fitting(state: Mapping[str, Tensor], wanted: str | None) -> dict[str, dict[str, Any]]:
    """Networks that recognise the tensors, with their arguments."""
    found: dict[str, dict[str, Any]] = {}
    for name in [wanted] if wanted else NETWORKS:
        try:
            arguments = NETWORKS.resolve(name).arguments_from(state)
        except (LookupError, ValueError, ArithmeticError, AttributeError):
            continue  # it has some of the names, and not what belongs to them
        if arguments is not None:
            found[name] = arguments
    # A variant with the tensors of the published network must be asked for.
    kinds = [NETWORKS.resolve(name) for name in found]
    return {
        name: arguments
        for (name, arguments), kind in zip(found.items(), kinds, strict=True)
        if not any(base in kinds for base in kind.__mro__[1:])
    }


def _choose(found: list[_Found], part: str, file: Path) -> _Found | None:
    """The part that was asked for, or the only one, or the only moving average."""
    names = [".".join(one.place) for one in found]
    if part:
        chosen = [one for one in found if part in (".".join(one.place), *one.place)]
        if len(chosen) != 1:
            raise ModelError(
                f"{file}: no part '{part}' with a network: {nearest(part, [name for name in names if name])}"
            )
        return chosen[0]
    if len(found) < 2:
        return found[0] if found else None
    averages = [one for one in found if one.averaged]
    if len(averages) != 1:
        name = next(iter(found[0].fits))
        raise ModelError(
            f"{file}: holds {len(found)} networks, {_listed(names, 30)}; name one of them after a colon: "
            f"--network {name}:{names[0]}, or network='{name}:{names[0]}'"
        )
    taken = ".".join(averages[0].place)
    others = [name for name in names if name != taken]
    logger.warning("%s: took the moving average '%s' and not %s", file, taken, _listed(others, _NAMED))
    return averages[0]


def _by_name_alone(wanted: str, tensors: Mapping[str, Tensor], file: Path) -> tuple[str, dict[str, Any]]:
    """Nothing was recognised: the published configuration of the network that was named, or an error."""
    if wanted:
        return wanted, {}
    sizes = [f"{key} {_size(value)}" for key, value in tensors.items()]
    raise ModelError(
        f"{file}: its {len(tensors)} tensors do not look like any of {', '.join(NETWORKS)} ({_listed(sizes, _NAMED)}); "
        "name one to see what is missing: --network NAME, or network='NAME'"
    )


def _nearest_state(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Of the file and everything in it, what shares most names with a network."""
    with torch.device("meta"):
        expected = create(name).state_dict().keys()

    def everything(inside: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        yield inside
        for group in _inside(inside).values():
            yield from everything(group)

    return max(everything(tensors), key=lambda state: len(expected & state.keys()))


def filled(name: str, arguments: dict[str, Any], state: Mapping[str, Tensor], file: Path) -> Network:
    """The network with these weights. Nothing of its size is allocated before it is known to be that of the file."""
    try:
        with torch.device("meta"):
            outline = create(name, **arguments)
    except (RecipeError, ModelError, LookupError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ModelError(f"{file}: its tensors make no network '{name}' ({error})") from None
    state = _with_aliases(state, outline)
    expected = outline.state_dict()
    # Counts the steps of the training, and files of old versions do not have it.
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    differing = [
        f"{key} {_size(state[key])} instead of {_size(value)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    integers = [
        key
        for key, value in expected.items()
        if key in state and value.is_floating_point() and not state[key].is_floating_point()
    ]
    problems = [
        f"{len(keys)} {what} ({_listed(keys, _NAMED)})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another size", differing),
            ("of whole numbers", integers),
        )
        if keys
    ]
    if problems:
        raise ModelError(f"{file}: its tensors do not fit the network '{name}': {', '.join(problems)}")
    model = create(name, **arguments)
    model.load_state_dict(state, strict=False)  # copies, in the type of the network
    return model.eval()


def _with_aliases(state: Mapping[str, Tensor], model: Network) -> dict[str, Tensor]:
    """Every name of a parameter that the network uses under several; some files keep only one of them."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    full = dict(state)
    for group in names.values():
        known = next((state[name] for name in group if name in state), None)
        if known is not None:
            full |= {name: known for name in group if name not in state}
    return full


def _listed(words: Iterable[str], most: int) -> str:
    first = list(words)
    return ", ".join(first[:most]) + (", ..." if len(first) > most else "")


def _size(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "one number"
