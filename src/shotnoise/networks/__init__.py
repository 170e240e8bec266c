"""The zoo: one file per architecture, a literal table, checkpoints of others open safely."""

from shotnoise.networks.checkpoint import create, load
from shotnoise.networks.network import Network
from shotnoise.networks.zoo import NETWORKS

__all__ = ["NETWORKS", "Network", "create", "load"]
