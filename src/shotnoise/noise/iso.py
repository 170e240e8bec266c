"""At which ISO the next sample is taken."""

from collections.abc import Sequence

from shotnoise.errors import RecipeError
from shotnoise.noise.model import check_range
from shotnoise.sensor.profile import NoiseProfile

__all__ = ["IsoDraw"]


class IsoDraw:
    """A distribution of ISOs that a profile knows.

    Args:
        profile: of the camera; an ISO it does not know is refused here, not in the middle of a training.
        iso: one ISO, a range [low, high], or a list of more than two; None: the range that was calibrated.
        spacing: "log" for equally likely octaves of a range, "uniform" for equally likely ISOs.
    """

    def __init__(self, profile: NoiseProfile, iso: float | Sequence[float] | None, spacing: str) -> None:
        if spacing not in ("log", "uniform"):
            raise RecipeError(f"noise.iso_draw is '{spacing}'; expected 'log' or 'uniform'")
        self.log = spacing == "log"
        self.listed: list[float] | None = None
        self.bounds: tuple[float, float] | None = None
        if isinstance(iso, list | tuple) and len(iso) > 2:
            self.listed = sorted(check_range("iso", value, positive=True)[0] for value in iso)
        elif iso is not None:
            self.bounds = check_range("iso", iso, positive=True)
        elif profile.isos:
            self.bounds = profile.isos[0], profile.isos[-1]
        for known in self.listed or self.bounds or (None,):
            profile.at(known)

    def at(self, share: float) -> float | None:
        """The ISO that a draw from 0 to 1 stands for; None for a profile that knows none."""
        if self.listed is not None:
            return self.listed[min(int(share * len(self.listed)), len(self.listed) - 1)]
        if self.bounds is None:
            return None
        low, high = self.bounds
        return low * (high / low) ** share if self.log else low + share * (high - low)

    def spread(self, count: int = 512) -> Sequence[float | None]:
        """So many ISOs, as even as the distribution is; every one of a list equally often."""
        if self.listed is not None:
            return self.listed
        return [self.at((i + 0.5) / count) for i in range(count)]
