"""A training that does not begin from fresh weights."""

import logging
from pathlib import Path

from shotnoise.bundled import find_model
from shotnoise.card import Card
from shotnoise.errors import ModelError
from shotnoise.networks import Network
from shotnoise.networks.checkpoint import load_with_card

__all__ = ["start_from"]

_log = logging.getLogger("shotnoise.training")


def start_from(network: Network, place: str | Path, name: str) -> Card | None:
    """Put earlier weights into a fresh network: those of one like it, or of a smaller one that it can grow from.

    Args:
        network: to be filled.
        place: the folder of a run, whose best weights are taken, any checkpoint that can be opened, a model that was
            exported by shotnoise, or the name of a bundled one.
        name: of the network in the zoo, by which a checkpoint without a card is recognised.

    Returns:
        The card of the weights, where they have one.
    """
    earlier, card = load_with_card(find_model(place), network=name)
    given, expected = earlier.state_dict(), network.state_dict()
    differing = None
    for key in expected | given:
        sizes = ["x".join(map(str, state[key].shape)) if key in state else "absent" for state in (given, expected)]
        if sizes[0] != sizes[1]:
            differing = f"'{key}' is {sizes[0]} there and {sizes[1]} in the network of the recipe"
            break
    if differing is not None:
        grown = network.grown_from(given) if type(network) is type(earlier) else None
        if grown is None:
            raise ModelError(
                f"{place}: cannot start from these weights: {differing}; give the recipe the same network options, or "
                "name another run"
            )
        _log.info("grows from a smaller network")
        given = grown
    network.load_state_dict(given)
    return card
