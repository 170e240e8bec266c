"""A camera of which everything is known: for tests, benchmarks, demonstrations, and to try a workflow without one.

Light falls on a Bayer sensor: electrons arrive by a Poisson law, each pixel a little more or less sensitive than its
neighbour; dark current adds more. The amplifier's gain is proportional to ISO. Noise enters before it (and grows with
it) and after it (and does not). Rows differ a little. The converter rounds to whole counts and stops at white.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.images.raw.bayer import Pattern, sites
from shotnoise.images.raw.frame import RawFrame
from shotnoise.sensor.law import NoiseLaw

__all__ = ["SimulatedSensor"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SimulatedSensor:
    """A Bayer camera in software.

    >>> camera = SimulatedSensor(height=8, width=8)
    >>> frame = camera.flat(0.5, iso=800, rng=np.random.default_rng(0))
    >>> frame.pattern, frame.iso, frame.mosaic.dtype
    ('RGGB', 800, dtype('uint16'))

    Attributes:
        height: rows, even.
        width: columns, even.
        pattern: of the mosaic.
        bits: of the converter; white is its largest value.
        black: counts without light, per plane or for all.
        gain: DN per electron at ISO 100; proportional to ISO.
        read_before: noise that enters before the amplifier, electrons.
        read_after: noise that enters behind it, DN, without that of rounding.
        dual_gain: ISO from which a second conversion gain is used; None: never.
        dual_read_before: `read_before` from there on.
        dual_factor: factor on `gain` from there on; 1: ISO stays true.
        row_noise: standard deviation of whole rows, electrons before the amplifier.
        responsivity: electrons per unit of light of R, G and B.
        light: electrons per second that white paper gives a green pixel.
        dark_current: electrons per second.
        prnu: standard deviation of the pixels' sensitivity, relative.
        dsnu: standard deviation of the pixels' offset, electrons.
        hot_pixels: share of pixels with a hundred times the dark current and 50 electrons more.
        serial: number of the camera: which of its pixels are hot or sensitive.
    """

    height: int = 480
    width: int = 640
    pattern: Pattern = "RGGB"
    bits: int = 12
    black: float | tuple[float, float, float, float] = 256.0
    gain: float = 0.2
    read_before: float = 2.5
    read_after: float = 1.2
    dual_gain: float | None = None
    dual_read_before: float = 1.2
    dual_factor: float = 1.0
    row_noise: float = 0.0
    responsivity: tuple[float, float, float] = (0.55, 1.0, 0.65)
    light: float = 20000.0
    dark_current: float = 0.0
    prnu: float = 0.0
    dsnu: float = 0.0
    hot_pixels: float = 0.0
    serial: int = 1

    def __post_init__(self) -> None:
        if self.height % 2 or self.width % 2 or min(self.height, self.width) < 2 or not 8 <= self.bits <= 16:
            raise ProfileError(
                f"a simulated sensor of {self.width} x {self.height} pixels and {self.bits} bits; expected even sides "
                "and 8 to 16 bits"
            )

    @property
    def blacks(self) -> tuple[float, float, float, float]:
        """Black level per plane."""
        return self.black if isinstance(self.black, tuple) else (self.black,) * 4

    @property
    def white(self) -> float:
        """Largest count."""
        return float(2**self.bits - 1)

    def k(self, iso: float) -> float:
        """Gain in DN per electron."""
        return self.gain * iso / 100 * (self.dual_factor if self._second(iso) else 1.0)

    def s2(self, iso: float, exposure: float = 0.0) -> float:
        """Variance without light in DN^2: before, behind, rows, dark current and rounding."""
        electrons = self._read(iso) ** 2 + self.row_noise**2 + self.dark_current * exposure
        return self.k(iso) ** 2 * electrons + self.read_after**2 + 1 / 12

    def noise(self, iso: float) -> NoiseLaw:
        """The truth that a calibration should find, in normalised units."""
        scales = [self.white - black for black in self.blacks]
        k, s2 = self.k(iso), self.s2(iso)
        return NoiseLaw(
            tuple(k / scale for scale in scales), tuple(s2 / scale**2 for scale in scales), "simulated sensor"
        )

    def exposure_for(self, level: float, iso: float) -> float:
        """Seconds after which white paper fills a share `level` of the range of green."""
        return level * (self.white - self.blacks[1]) / (self.k(iso) * self.light)

    def expose(
        self,
        scene: Array,
        *,
        iso: float,
        exposure: float,
        rng: np.random.Generator,
        leak: float = 0.0,
        noisy: bool = True,
    ) -> RawFrame:
        """A picture of a scene.

        Args:
            scene: light per pixel, linear, 1 = white paper: (H, W) gray or (H, W, 3) colours.
            iso: sensitivity.
            exposure: seconds.
            rng: where chance comes from.
            leak: stray light that grows towards the lower right corner, DN there.
            noisy: False: what an average of very many exposures would be, rounded.
        """
        if scene.shape[:2] != (self.height, self.width) or scene.shape[2:] not in ((), (3,)):
            raise ProfileError(
                f"a scene of shape {scene.shape} for a sensor of {self.height} x {self.width}; expected (H, W) or "
                "(H, W, 3)"
            )
        k = self.k(iso)
        light = np.empty((self.height, self.width))
        offset = np.empty((self.height, self.width))
        for plane, (row, col) in enumerate(sites(self.pattern)):
            colour = (0, 1, 1, 2)[plane]
            part = scene[row::2, col::2]
            seen = part[..., colour] if scene.ndim == 3 else part
            light[row::2, col::2] = seen * (self.light * exposure * self.responsivity[colour])
            offset[row::2, col::2] = self.blacks[plane]
        sensitivity, dark, extra = self._defects()
        electrons = np.maximum(light, 0) * sensitivity + dark * exposure
        electrons += leak / k * _glow(self.height, self.width)
        if noisy:
            electrons = rng.poisson(electrons) + rng.normal(0, self._read(iso), electrons.shape)
            electrons += rng.normal(0, self.row_noise, (self.height, 1)) if self.row_noise else 0.0
        counts = k * (electrons + extra) + offset
        if noisy:
            counts += rng.normal(0, self.read_after, counts.shape)
        mosaic = np.clip(np.rint(counts), 0, self.white).astype(np.uint16)
        return RawFrame(
            mosaic,
            self.pattern,
            self.blacks,
            self.white,
            make="Shotnoise",
            model="Simulated",
            iso=iso,
            exposure=exposure,
            white_balance=(
                self.responsivity[1] / self.responsivity[0],
                1.0,
                self.responsivity[1] / self.responsivity[2],
            ),
        )

    def dark(self, *, iso: float, rng: np.random.Generator, exposure: float = 1 / 1000, leak: float = 0.0) -> RawFrame:
        """A frame with the cap on; `leak` as in :meth:`expose`."""
        return self.expose(np.zeros((self.height, self.width)), iso=iso, exposure=exposure, rng=rng, leak=leak)

    def flat(
        self,
        level: float,
        *,
        iso: float,
        rng: np.random.Generator,
        tilt: float = 0.0,
        vignette: float = 0.0,
        flicker: float = 1.0,
    ) -> RawFrame:
        """White paper, exposed so that green fills a share `level` of its range.

        Args:
            level: 0..1, in the middle of the picture.
            iso: sensitivity.
            rng: where chance comes from.
            tilt: difference of the light between left and right, relative to the mean.
            vignette: loss of light in the corners, relative.
            flicker: factor on the light that the exposure meter does not know of.
        """
        rows, cols = _grid(self.height, self.width)
        scene = flicker * (1 + tilt / 2 * cols) * (1 - vignette / 2 * (rows**2 + cols**2))
        return self.expose(scene, iso=iso, exposure=self.exposure_for(level, iso), rng=rng)

    def wedge(
        self,
        level: float,
        *,
        iso: float,
        rng: np.random.Generator,
        steps: int = 12,
        darkest: float = 0.03,
        tilt: float = 0.0,
    ) -> RawFrame:
        """A gray wedge of `steps` bars on a gray table: the brightest fills `level`, the first `darkest` of that."""
        scene = np.full((self.height, self.width), 0.2)
        edges = np.linspace(0.05 * self.width, 0.95 * self.width, steps + 1).astype(int)
        rows = slice(self.height // 4, 3 * self.height // 4)
        for step, shade in enumerate(np.geomspace(darkest, 1, steps)):
            scene[rows, edges[step] : edges[step + 1]] = shade
        scene *= 1 + tilt / 2 * _grid(self.height, self.width)[1]
        return self.expose(scene, iso=iso, exposure=self.exposure_for(level, iso), rng=rng)

    def calibration_set(
        self,
        isos: tuple[float, ...] = (100, 400, 1600, 6400),
        *,
        rng: np.random.Generator,
        levels: tuple[float, ...] = (0.03, 0.06, 0.1, 0.16, 0.24, 0.34, 0.46, 0.6),
        frames: int = 2,
        darks: int = 4,
        tilt: float = 0.05,
        vignette: float = 0.2,
    ) -> tuple[dict[str, RawFrame], dict[str, RawFrame]]:
        """What a careful photographer would bring home: black frames and flat ones, by name.

        Args:
            isos: sensitivities.
            rng: where chance comes from.
            levels: shares of the range, per ISO.
            frames: per level.
            darks: black frames per ISO.
            tilt: of the light on the paper.
            vignette: of the lens.
        """
        black = {f"black_{number}_ISO_{iso:g}": self.dark(iso=iso, rng=rng) for iso in isos for number in range(darks)}
        flat = {
            f"flat_{step}_{number}_ISO_{iso:g}": self.flat(level, iso=iso, rng=rng, tilt=tilt, vignette=vignette)
            for iso in isos
            for step, level in enumerate(levels)
            for number in range(frames)
        }
        return black, flat

    def _second(self, iso: float) -> bool:
        return self.dual_gain is not None and iso >= self.dual_gain

    def _read(self, iso: float) -> float:
        return self.dual_read_before if self._second(iso) else self.read_before

    def _defects(self) -> tuple[Any, Any, Any]:
        """Sensitivity, dark current and offset of each pixel: the same at every exposure of this camera."""
        if not (self.prnu or self.dsnu or self.hot_pixels):
            return 1.0, self.dark_current, 0.0
        rng = np.random.default_rng(self.serial)
        shape = self.height, self.width
        sensitivity = 1 + self.prnu * rng.standard_normal(shape)
        offset = self.dsnu * rng.standard_normal(shape)
        hot = rng.random(shape) < self.hot_pixels
        return sensitivity, np.where(hot, 100, 1) * self.dark_current, offset + 50.0 * hot


def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Rows and columns from -1 to 1."""
    return np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]


def _glow(height: int, width: int) -> Array:
    """1 in the lower right corner, falling off smoothly."""
    rows, cols = _grid(height, width)
    result: Array = np.exp(-((1 - rows) ** 2 + (1 - cols) ** 2))
    return result
