"""What was taken away, in numbers: the residual BEFORE - AFTER, beside the noise that is expected.

z is the residual over the standard deviation of the expected noise at the brightness of AFTER. Of a perfect result it
is the noise itself: variance 1 everywhere, white, and unlike anything in the picture. The first pass looks at every
pixel and sums over blocks; what needs a Fourier transform or a sorting is taken from tiles spread evenly.

Near black and white, where a part of the noise is cut off, the mean and variance of the rest are expected, and the mean
is taken off the residual; within one standard deviation of them nothing is measured.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shotnoise.report.subject import Float, Noise, Subject

__all__ = ["LAG", "Array", "Blocks", "Brightness", "Lines", "Measured", "Sampled", "measure"]

LAG = 8
"""Pixels of a plane up to which the autocorrelation is taken."""

_BINS = 32  # of brightness
_SHADES = 8  # groups of blocks by brightness
_STRIP = 2**20  # values of a plane that are worked on at a time
_TILE = 128
_TILES = 96
_REACH = 6.0  # standard deviations that the histogram shows to both sides
_HISTOGRAM = 96
_SMOOTH = 0.5  # gradient, in standard deviations of the noise, below which a pixel counts as a smooth part

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Sums over square blocks of the planes, each (rows, columns); blocks without usable values hold nan.

    Attributes:
        side: of a block, in pixels of a plane.
        count: values that are usable, of all planes.
        energy: mean of z^2.
        usual: what it would be without structure: 1 where the noise is known; of an estimate, which does not know how
            the noise depends on the brightness, the median of the blocks that are about as bright, at least 1.
        detail: correlation of z with the fine detail of AFTER: what is there minus its surroundings.
        neighbours: correlation of z with the pixels beside and below.
        edges: mean gradient of AFTER, in standard deviations of the noise.
        brightness: mean of AFTER.
        variance: (P, rows, columns), mean square of the residual.
        expected: (P, rows, columns), that of the noise.
        shift: (P, rows, columns), mean residual.
        clipped: values that are at black or white in AFTER and were not in BEFORE, over all.
    """

    side: int
    count: Array
    energy: Array
    usual: Array
    detail: Array
    neighbours: Array
    edges: Array
    brightness: Array
    variance: Array
    expected: Array
    shift: Array
    clipped: Array


@dataclass(frozen=True, slots=True)
class Brightness:
    """The residual by the brightness of AFTER, (P, bins) each.

    Attributes:
        x: mean brightness; nan in empty bins, as in the others.
        count: values.
        variance: mean square of the residual.
        smooth: the same, in smooth parts alone.
        mean: of the residual.
        expected: variance of the expected noise.
        usable: whether the noise is not cut off there.
    """

    x: Array
    count: Array
    variance: Array
    smooth: Array
    mean: Array
    expected: Array
    usable: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Lines:
    """What whole rows, or columns, have in common.

    Attributes:
        removed: standard deviation of the means of z of whole lines, without what neighbouring lines share.
        chance: what it would be for white noise.
        left: typical difference of a line of AFTER from its neighbours, in counts of 255.
        before: the same of BEFORE.
        profile: the mean residual of each line, in counts of 255.
    """

    removed: float
    chance: float
    left: float
    before: float
    profile: Array


@dataclass(frozen=True, slots=True)
class Sampled:
    """From the tiles.

    Attributes:
        share: of all pixels that the tiles hold.
        autocorrelation: (2 LAG + 1, 2 LAG + 1), 1 in the middle.
        chance: standard deviation of its values for white noise.
        frequencies: cycles per pixel of a plane.
        power: of z over them, 1 everywhere for noise that was removed exactly.
        power_before: of BEFORE, in the same units.
        power_after: of AFTER, in the same units.
        histogram: density of z.
        histogram_x: middles of its bins.
        kurtosis: excess, 0 for Gaussian noise.
        beyond: share of values beyond three standard deviations of z; 0.27 % for Gaussian noise.
    """

    share: float
    autocorrelation: Array
    chance: float
    frequencies: Array
    power: Array
    power_before: Array
    power_after: Array
    histogram: Array
    histogram_x: Array
    kurtosis: float
    beyond: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured; levels in units of 0..1 unless they say otherwise.

    Attributes:
        values: of all planes.
        usable: share of them at which the noise is not cut off.
        removed: root mean square of z: 1 if as much was taken away as there is noise.
        removed_counts: root mean square of the residual, in counts of 255.
        expected_counts: that of the expected noise over the same values.
        shift: per plane, mean residual.
        shift_error: per plane, its standard error.
        detail: correlation of z with the fine detail of AFTER.
        picture: correlation of z with AFTER.
        edges: rank correlation, over blocks, of the energy of z over the usual one with the gradient of AFTER.
        clipped_before: share of values of BEFORE at black or white.
        clipped_after: share of values of AFTER there.
        clipped_new: share of values that are there in AFTER alone.
        equal: whether not one value differs.
        blocks: see there.
        brightness: see there.
        rows: see there.
        columns: see there.
        sampled: see there.
    """

    values: int
    usable: float
    removed: float
    removed_counts: float
    expected_counts: float
    shift: Array
    shift_error: Array
    detail: float
    picture: float
    edges: float
    clipped_before: float
    clipped_after: float
    clipped_new: float
    equal: bool
    blocks: Blocks
    brightness: Brightness
    rows: Lines
    columns: Lines
    sampled: Sampled


def measure(subject: Subject, noise: Noise) -> Measured:
    """Look at every pixel once, and at some of them more closely."""
    scan = _Scan(subject, noise)
    step = scan.side * max(1, _STRIP // (subject.width * scan.side))
    for top in range(0, subject.height, step):
        scan.add(top, min(top + step, subject.height))
    return scan.finish(_sampled(subject, noise))


def block_side(height: int, width: int, pixel: int) -> int:
    """Of the blocks: 32 pixels of the file, fewer in small pictures."""
    return min(32 // pixel, max(4, 1 << max(0, int(math.log2(max(1, min(height, width) // 4))))))


class _Scan:
    """Sums over strips of the planes."""

    def __init__(self, subject: Subject, noise: Noise) -> None:
        self.subject, self.noise = subject, noise
        planes = len(subject.planes)
        self.side = block_side(subject.height, subject.width, subject.pixel)
        self.shape = -(-subject.height // self.side), -(-subject.width // self.side)
        sums = ("count", "zz", "zd", "dd", "zn", "nn", "edges", "bright", "new")
        self.over = {name: np.zeros(self.shape) for name in sums}
        self.by_plane = {name: np.zeros((planes, *self.shape)) for name in ("n", "r", "rr", "v")}
        self.bins = {name: np.zeros((planes, _BINS)) for name in ("n", "x", "r", "rr", "v", "u", "sn", "srr")}
        self.moments = dict.fromkeys(("z", "x", "xx", "zx", "before", "after"), 0.0)
        self.row = {name: np.zeros(subject.height) for name in ("r", "z", "n", "left", "before")}
        self.column = {name: np.zeros(subject.width) for name in ("r", "z", "n", "left", "before")}
        self.equal = True

    def add(self, top: int, bottom: int) -> None:
        """One strip of rows."""
        subject = self.subject
        width = slice(0, subject.width)
        reach = slice(max(top - 2, 0), min(bottom + 2, subject.height))
        pad = ((0, 0), (2 - (top - reach.start), 2 - (reach.stop - bottom)), (2, 2))
        wide = np.pad(subject.values("after", reach, width), pad, mode="edge")
        around = np.pad(subject.values("before", reach, width), pad, mode="edge")
        inner = (slice(None), slice(2, -2), slice(2, -2))
        before, after = around[inner], wide[inner]
        r = before - after
        self.equal &= not r.any()
        usable = self.noise.usable(after)
        lift, variance = self.noise.moments(after)
        r -= lift
        deviation = np.sqrt(variance)
        z = np.where(usable, r / deviation, 0)
        detail = np.where(usable, (after - _smoothed(wide)) / deviation, 0)
        across = wide[:, 2:-2, 3:-1] - wide[:, 2:-2, 1:-3]
        down = wide[:, 3:-1, 2:-2] - wide[:, 1:-3, 2:-2]
        gradient = (np.abs(across) + np.abs(down)) / (2 * deviation)
        self._clipping(top, before, after)
        for name, values in (
            ("count", usable), ("zz", z * z), ("zd", z * detail), ("dd", detail * detail), ("edges", gradient * usable),
            ("bright", after),
        ):  # fmt: skip
            self._into(self.over[name], top, values.sum(0, np.float32))
        right, below = z[:, :, :-1] * z[:, :, 1:], z[:, :-1] * z[:, 1:]
        pairs = np.pad(right, ((0, 0), (0, 0), (0, 1))) + np.pad(below, ((0, 0), (0, 1), (0, 0)))
        self._into(self.over["zn"], top, pairs.sum(0))
        squares = np.pad(z[:, :, :-1] ** 2, ((0, 0), (0, 0), (0, 1))) + np.pad(z[:, :-1] ** 2, ((0, 0), (0, 1), (0, 0)))
        self._into(self.over["nn"], top, squares.sum(0))
        for plane in range(len(r)):
            for name, one in (("n", usable[plane]), ("r", r[plane]), ("rr", r[plane] ** 2), ("v", variance[plane])):
                self._into(self.by_plane[name][plane], top, one if name == "n" else one * usable[plane])
        self._brightness(after, r, variance, usable, gradient < _SMOOTH)
        for name, value in (
            ("z", z), ("x", after * usable), ("xx", after**2 * usable), ("zx", z * after)
        ):  # fmt: skip
            self.moments[name] += float(value.sum(dtype=np.float64))
        self._lines(top, bottom, wide, around, r, z, usable)

    def _into(self, target: Array, top: int, values: npt.NDArray[np.generic]) -> None:
        """Sum the blocks of a strip, (h, w), into a map."""
        side = self.side
        rows, columns = -(-values.shape[0] // side), self.shape[1]
        whole = np.zeros((rows * side, columns * side), np.float32)
        whole[: values.shape[0], : values.shape[1]] = values
        first = top // side
        target[first : first + rows] += whole.reshape(rows, side, columns, side).sum((1, 3), np.float64)

    def _clipping(self, top: int, before: Float, after: Float) -> None:
        new = np.zeros(before.shape[1:], np.float32)
        for plane, (low, high) in enumerate(self.subject.limits):
            was = (before[plane] <= low) | (before[plane] >= high)
            now = (after[plane] <= low) | (after[plane] >= high)
            self.moments["before"] += int(was.sum())
            self.moments["after"] += int(now.sum())
            new += now & ~was
        self._into(self.over["new"], top, new)

    def _brightness(
        self, after: Float, r: Float, variance: Float, usable: npt.NDArray[np.bool_], smooth: npt.NDArray[np.bool_]
    ) -> None:
        place = np.sqrt(np.clip(after, 0, 1)) if self.subject.kind == "raw" else np.clip(after, 0, 1)
        index = np.minimum((place * _BINS).astype(np.int32), _BINS - 1)
        for plane in range(len(after)):
            flat = index[plane].ravel()
            quiet = flat[smooth[plane].ravel()]
            for name, weight in (
                ("n", None), ("x", after[plane]), ("r", r[plane]), ("rr", r[plane] ** 2), ("v", variance[plane]),
                ("u", usable[plane]),
            ):  # fmt: skip
                weights = None if weight is None else weight.ravel()
                self.bins[name][plane] += np.bincount(flat, weights, _BINS)
            self.bins["sn"][plane] += np.bincount(quiet, minlength=_BINS)
            self.bins["srr"][plane] += np.bincount(quiet, r[plane][smooth[plane]] ** 2, _BINS)

    def _lines(
        self, top: int, bottom: int, after: Float, before: Float, r: Float, z: Float, usable: npt.NDArray[np.bool_]
    ) -> None:
        """Sums along rows and columns; of the pictures, how each line differs from the two beside it."""
        here = slice(top, bottom)
        for name, values in (("r", r), ("z", z), ("n", usable)):
            self.row[name][here] += values.sum((0, 2), np.float64)
            self.column[name] += values.sum((0, 1), np.float64)
        for name, wide in (("left", after), ("before", before)):
            inner = wide[:, 2:-2, 2:-2]
            bump = inner - (wide[:, 1:-3, 2:-2] + wide[:, 3:-1, 2:-2]) * np.float32(0.5)
            self.row[name][here] += _limited(bump).mean((0, 2), np.float64)
            bump = inner - (wide[:, 2:-2, 1:-3] + wide[:, 2:-2, 3:-1]) * np.float32(0.5)
            self.column[name] += _limited(bump).sum(1).mean(0, np.float64) / self.subject.height

    def finish(self, sampled: "Sampled") -> Measured:
        """From sums to means."""
        over, by_plane, moments = self.over, self.by_plane, self.moments
        values = len(self.subject.planes) * self.subject.height * self.subject.width
        count = over["count"].sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            n = np.where(over["count"] >= self.side**2 / 4, over["count"], np.nan)
            in_plane = np.where(by_plane["n"] >= self.side**2 / 4, by_plane["n"], np.nan)
            size = self._areas() * len(self.subject.planes)
            blocks = Blocks(
                self.side,
                over["count"],
                over["zz"] / n,
                _usual(over["zz"] / n, over["bright"] / size, self.noise.known),
                np.nan_to_num(over["zd"] / np.sqrt(over["zz"] * over["dd"])) + 0 * n,
                np.nan_to_num(over["zn"] / over["nn"]) + 0 * n,
                over["edges"] / n,
                over["bright"] / size,
                by_plane["rr"] / in_plane,
                by_plane["v"] / in_plane,
                by_plane["r"] / in_plane,
                over["new"] / size,
            )
            bins = self.bins
            brightness = Brightness(
                bins["x"] / bins["n"],
                bins["n"],
                bins["rr"] / bins["n"],
                bins["srr"] / np.where(bins["sn"] >= 100, bins["sn"], np.nan),
                bins["r"] / bins["n"],
                bins["v"] / bins["n"],
                bins["u"] > 0.9 * bins["n"],
            )
            plane_n = np.maximum(by_plane["n"].sum((1, 2)), 1)
            shift = by_plane["r"].sum((1, 2)) / plane_n
            error = np.sqrt(np.maximum(by_plane["rr"].sum((1, 2)) / plane_n - shift**2, 0) / plane_n)
        zz, dd = over["zz"].sum(), over["dd"].sum()
        spread = math.sqrt(max(moments["xx"] - moments["x"] ** 2 / max(count, 1), 0))
        covariance = moments["zx"] - moments["z"] * moments["x"] / max(count, 1)
        return Measured(
            values=values,
            usable=float(count / values),
            removed=math.sqrt(zz / max(count, 1)),
            removed_counts=255 * math.sqrt(by_plane["rr"].sum() / max(count, 1)),
            expected_counts=255 * math.sqrt(by_plane["v"].sum() / max(count, 1)),
            shift=shift,
            shift_error=error,
            detail=_ratio(over["zd"].sum(), math.sqrt(zz * dd)),
            picture=_ratio(covariance, spread * math.sqrt(zz)),
            edges=_correlation(blocks.energy / blocks.usual, blocks.edges),
            clipped_before=moments["before"] / values,
            clipped_after=moments["after"] / values,
            clipped_new=float(over["new"].sum() / values),
            equal=self.equal,
            blocks=blocks,
            brightness=brightness,
            rows=_in_common(self.row, self.subject.width),
            columns=_in_common(self.column, self.subject.height),
            sampled=sampled,
        )

    def _areas(self) -> Array:
        """Pixels of each block; those at the end may be smaller."""
        heights, widths = (
            np.minimum(np.arange(1, count + 1) * self.side, length) - np.arange(count) * self.side
            for count, length in zip(self.shape, (self.subject.height, self.subject.width), strict=True)
        )
        return np.multiply.outer(heights, widths).astype(float)


def _usual(energy: Array, brightness: Array, known: bool) -> Array:
    """See :class:`Blocks`."""
    usual = np.ones_like(energy)
    if known:
        return usual
    there = np.isfinite(energy)
    order = np.argsort(brightness[there])
    level = np.ones(len(order))
    for part in np.array_split(order, max(1, min(_SHADES, len(order) // 24))):
        if len(part):
            level[part] = np.median(energy[there][part])
    usual[there] = np.maximum(level, 1.0)
    return usual


def _smoothed(wide: Float) -> Float:
    """(P, h + 4, w + 4) -> (P, h, w): the mean over 5 x 5 pixels with binomial weights."""
    rows = wide[:, :-4] + wide[:, 4:] + 4 * (wide[:, 1:-3] + wide[:, 3:-1]) + 6 * wide[:, 2:-2]
    result = rows[:, :, :-4] + rows[:, :, 4:] + 4 * (rows[:, :, 1:-3] + rows[:, :, 3:-1]) + 6 * rows[:, :, 2:-2]
    result *= np.float32(1 / 256)
    return np.asarray(result)


def _limited(bump: Float) -> Float:
    """So that an edge does not pass for a band: no pixel says more than 8 counts."""
    return np.clip(bump, np.float32(-8 / 255), np.float32(8 / 255), out=bump)


def _in_common(sums: dict[str, Array], across: int) -> Lines:
    n = np.maximum(sums["n"], 1)
    means = sums["z"] / n
    good = sums["n"] > across / 4
    removed = chance = 0.0
    if good.sum() >= 16:
        level = np.convolve(np.pad(means, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
        own = (means - level)[good]
        removed = 1.4826 * float(np.median(np.abs(own - np.median(own)))) / math.sqrt(8 / 9)
        chance = float(np.median(1 / np.sqrt(n[good])))
    left, before = (255 * 1.4826 * float(np.median(np.abs(sums[name]))) / math.sqrt(1.5) for name in ("left", "before"))
    return Lines(removed, chance, left, before, 255 * sums["r"] / n)


def _sampled(subject: Subject, noise: Noise) -> Sampled:
    """From tiles spread evenly over the planes."""
    planes, side = len(subject.planes), min(_TILE, subject.height, subject.width)
    places = _tiles(subject.height, subject.width, side)
    pad = side + LAG
    products, overlaps = np.zeros((2, 2 * LAG + 1, 2 * LAG + 1))
    window = np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1]).astype(np.float32)
    spectra = np.zeros((3, side, side // 2 + 1))
    energy, taken = 0.0, 0.0
    edges = np.linspace(-_REACH, _REACH, _HISTOGRAM + 1)
    counts = np.zeros(_HISTOGRAM)
    fourth = second = 0.0
    total = 0
    parts = []
    for top, left in places:
        rows, columns = slice(top, top + side), slice(left, left + side)
        noisy, clean = (subject.values(role, rows, columns) for role in ("before", "after"))
        lift, variance = noise.moments(clean)
        deviation = np.sqrt(variance)
        usable = noise.usable(clean)
        z = np.where(usable, (noisy - clean - lift) / deviation, 0).astype(np.float32)
        for plane in range(planes):
            inside = z[plane][usable[plane]].astype(np.float64)
            if len(inside) < side * side / 2:
                continue
            parts.append(inside[:: max(1, len(inside) // 4096)])
            counts += np.histogram(inside, edges)[0]
            total += len(inside)
            centred = np.where(usable[plane], z[plane] - inside.mean(), 0)
            second += float((centred**2).sum())
            fourth += float((centred**4).sum())
            transform = np.fft.rfft2(centred, (pad, pad))
            products += _around(np.fft.irfft2(np.abs(transform) ** 2, (pad, pad)))
            mask = np.fft.rfft2(usable[plane], (pad, pad))
            overlaps += _around(np.fft.irfft2(np.abs(mask) ** 2, (pad, pad)))
            for target, picture in enumerate(
                (centred, *(values[plane] / np.median(deviation[plane]) for values in (noisy, clean)))
            ):
                spectra[target] += np.abs(np.fft.rfft2((picture - picture.mean()) * window)) ** 2
            energy += float((window**2).sum())
            taken += len(inside)
    share = len(places) * side**2 / (subject.height * subject.width)
    middle = (edges[1:] + edges[:-1]) / 2
    frequencies = (np.arange(side // 2) + 0.5) / side
    if total == 0 or second == 0:
        flat = np.zeros(side // 2)
        delta = np.zeros((2 * LAG + 1, 2 * LAG + 1))
        delta[LAG, LAG] = 1
        return Sampled(share, delta, 0.0, frequencies, flat, flat, flat, counts, middle, 0.0, 0.0)
    covariance = products / np.maximum(overlaps, 1)
    residual, before, after = (_rings(spectrum, side) / energy for spectrum in spectra)
    deviation_of_z = math.sqrt(second / total)
    return Sampled(
        min(share, 1.0),
        covariance / covariance[LAG, LAG],
        1 / math.sqrt(taken),
        frequencies,
        residual,
        before,
        after,
        counts / (total * (edges[1] - edges[0])),
        middle,
        fourth / total / (second / total) ** 2 - 3,
        float(np.mean(np.abs(np.concatenate(parts)) > 3 * deviation_of_z)),
    )


def _tiles(height: int, width: int, side: int) -> list[tuple[int, int]]:
    """Corners of squares spread evenly, without overlap where the picture is large enough."""
    rows, columns = height // side, width // side
    thin = max(1.0, math.sqrt(rows * columns / _TILES))
    tops = np.linspace(0, height - side, max(1, int(rows / thin))).astype(int)
    lefts = np.linspace(0, width - side, max(1, int(columns / thin))).astype(int)
    return [(int(top), int(left)) for top in tops for left in lefts]


def _around(correlation: Array) -> Array:
    """The part of a cyclic correlation up to the largest lag, zero in the middle."""
    return np.asarray(np.roll(correlation, (LAG, LAG), (0, 1))[: 2 * LAG + 1, : 2 * LAG + 1])


def _rings(spectrum: Array, side: int) -> Array:
    """The mean over rings of one distance from frequency 0."""
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    ring = (np.hypot(down, across) * side).astype(int)
    weight = np.where((across == 0) | (across == 0.5), 1.0, 2.0) * np.ones_like(down)
    inside = ring < side // 2
    sums = np.bincount(ring[inside], (spectrum * weight)[inside], side // 2)
    return np.asarray(sums / np.maximum(np.bincount(ring[inside], weight[inside], side // 2), 1e-9))


def _correlation(first: Array, second: Array) -> float:
    """Of two maps, where both have a value; by rank, because a few blocks must not decide."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 16:
        return 0.0
    a, b = (np.argsort(np.argsort(values[both])).astype(float) for values in (first, second))
    return _ratio(float(np.cov(a, b)[0, 1]), float(a.std(ddof=1) * b.std(ddof=1)))


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else 0.0
