"""The table of protocols."""

from shotnoise.errors import RecipeError, nearest
from shotnoise.evaluation import mri, pairs, pictures, raw, sidd
from shotnoise.evaluation.protocol import Protocol

__all__ = ["PROTOCOLS", "get_protocol"]

PROTOCOLS: dict[str, Protocol] = {
    row.name: row for row in (*pictures.rows(), *raw.rows(), *pairs.rows(), *sidd.rows(), *mri.rows())
}


def get_protocol(name: str) -> Protocol:
    """A protocol by name; the bare name of a set means Gaussian noise of strength 25."""
    full = name if "/" in name else f"{name}/gaussian25"
    if full not in PROTOCOLS:
        raise RecipeError(f"no protocol '{name}': {nearest(full, PROTOCOLS)}")
    return PROTOCOLS[full]
