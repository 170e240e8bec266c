"""A training that does not begin from fresh weights."""

from pathlib import Path

from shotnoise.card import Card
from shotnoise.errors import ModelError
from shotnoise.networks import Network
from shotnoise.networks.checkpoint import load_with_card

__all__ = ["start_from"]


def start_from(network: Network, place: str | Path, name: str) -> Card | None:
    """Put the weights of a run or a file into a fresh network; all of them must fit.

    Args:
        network: to be filled.
        place: the folder of a run, whose best weights are taken, or any checkpoint that can be opened.
        name: of the network in the zoo, by which a checkpoint without a card is recognised.

    Returns:
        The card of the weights, where they have one.
    """
    earlier, card = load_with_card(place, network=name)
    given, expected = earlier.state_dict(), network.state_dict()
    for key in expected | given:
        sizes = ["x".join(map(str, state[key].shape)) if key in state else "absent" for state in (given, expected)]
        if sizes[0] != sizes[1]:
            raise ModelError(
                f"{place}: cannot start from these weights: '{key}' is {sizes[0]} there and {sizes[1]} in the network "
                "of the recipe; give the recipe the same network options, or name another run"
            )
    network.load_state_dict(given)
    return card
