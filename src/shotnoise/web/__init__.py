"""The denoisers in a browser and over HTTP: a page, a queue, and nothing that leaves the machine."""

from shotnoise.web.limits import Limits, RefusedError
from shotnoise.web.settings import Offer

__all__ = ["Limits", "Offer", "RefusedError"]
