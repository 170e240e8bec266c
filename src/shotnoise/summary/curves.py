"""Curves as inline SVG: axes with round numbers, a scale that is logarithmic where that shows more."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shotnoise.htmlpage import text
from shotnoise.summary.record import Curve

__all__ = ["Drawn", "curve", "smoothed", "ticks"]

Values = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 38
_COLUMNS = 400  # of a curve with more points only the extremes in so many columns are drawn
_LOG_FROM = 5.0  # times that the largest value is the smallest, both of the smooth curve
_DOTS = 120  # points of which each gets a dot


@dataclass(frozen=True)
class Drawn:
    """What one picture shows.

    Attributes:
        title: of it.
        unit: of its values, in words.
        raw: the values.
        smooth: what is drawn on top of them, where they are noisy.
        number: how a value is written.
        mark: step and value of a point to name.
        scale: "log" or "linear"; None: what shows more.
    """

    title: str
    unit: str
    raw: Curve
    number: Callable[[float], str]
    smooth: Curve | None = None
    mark: tuple[int, float] | None = None
    scale: str | None = None


def smoothed(raw: Curve) -> Curve:
    """Mean over a fortieth of the curve around each point, of what is finite."""
    good = raw.finite()
    width = max(1, len(good) // 40)
    if width < 2:
        return good
    sums = np.concatenate(([0.0], np.cumsum(good.value)))
    at = np.arange(len(good))
    reach = np.minimum(np.minimum(at, len(good) - 1 - at), width // 2)  # smaller at the ends, so that they stay there
    return Curve(good.step, (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1))


def ticks(low: float, high: float, log: bool, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`.

    >>> ticks(0, 290, False)
    [0.0, 50.0, 100.0, 150.0, 200.0, 250.0]
    >>> ticks(0.02, 0.3, True)
    [0.02, 0.05, 0.1, 0.2]
    """
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for parts in ((1, 2, 5), (1, 3), (1,)):
            found = [part * 10.0**power for power in powers for part in parts]
            found = [
                float(f"{value:.12g}") for value in found if low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9)
            ]
            if len(found) <= count + 1:
                break
        else:
            found = found[:: -(-len(found) // count)]
        if len(found) >= 2:
            return found
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    step = min((size * power for size in (1, 2, 5, 10)), key=lambda step: abs((high - low) / step - count))
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def curve(drawn: Drawn, last: int) -> str:
    """The picture with its title; `last` is the step at the right edge."""
    shown = drawn.smooth if drawn.smooth is not None else drawn.raw.finite()
    if not len(shown):
        return ""
    low, high, log = _range(drawn, shown)
    x = _Scale(0.0, max(float(last), float(shown.step[-1]), 1.0), _LEFT, _WIDTH - _RIGHT, log=False)
    y = _Scale(low, high, _HEIGHT - _BOTTOM, _TOP, log=log)
    parts = _axes(x, y)
    inside: list[str] = []
    if drawn.smooth is not None and len(drawn.raw.finite()) > len(shown) // 2:
        inside.append(_path("faint", drawn.raw.finite(), x, y))
    inside.append(_path("main", shown, x, y))
    if drawn.smooth is None and len(shown) <= _DOTS:
        inside += [
            f'<circle class="dot" cx="{cx:.1f}" cy="{cy:.1f}" r="2.4"><title>step {int(step):,}: '
            f"{text(drawn.number(value))}</title></circle>"
            for step, value, cx, cy in zip(shown.step, shown.value, x(shown.step), y(shown.value), strict=True)
        ]
    bad = drawn.raw.step[~np.isfinite(drawn.raw.value)][:_COLUMNS]
    inside += [f'<path class="bad" d="M{cx:.1f} {_HEIGHT - _BOTTOM}v-9"/>' for cx in x(bad)]
    if drawn.mark is not None:
        inside += _mark(drawn, drawn.mark, x, y)
    box = f'x="{_LEFT}" y="{_TOP - 4}" width="{_WIDTH - _LEFT - _RIGHT + 5}" height="{_HEIGHT - _TOP - _BOTTOM + 5}"'
    name = "".join(sign if sign.isalnum() else "-" for sign in drawn.title)
    unit = ", ".join(part for part in (drawn.unit, "logarithmic" if log else "") if part)
    about = f"{drawn.title}, from {drawn.number(float(shown.value[0]))} to {drawn.number(float(shown.value[-1]))}"
    return (
        f'<figure><h3>{text(drawn.title)} <span class="where">{text(unit)}</span></h3>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(about)}">'
        f'<clipPath id="{name}"><rect {box}/></clipPath>{"".join(parts)}'
        f'<g clip-path="url(#{name})">{"".join(inside)}</g></svg></figure>'
    )


class _Scale:
    """Values -> units of the picture."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool) -> None:
        self.low, self.high, self.log = low, high, log
        self._bounds = tuple(math.log(value) if log else value for value in (low, high))
        self._start, self._end = start, end

    def __call__(self, values: Values) -> Values:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(np.maximum(values, 1e-300)) if self.log else values
        share = (values - self._bounds[0]) / (self._bounds[1] - self._bounds[0])
        return np.asarray(np.clip(self._start + share * (self._end - self._start), -2000, 2000))


def _range(drawn: Drawn, shown: Curve) -> tuple[float, float, bool]:
    """What the axis spans, and whether it is logarithmic."""
    low, high = float(shown.value.min()), float(shown.value.max())
    log = drawn.scale == "log" or (drawn.scale is None and low > 0 and high / low >= _LOG_FROM)
    if drawn.smooth is not None:
        # Most of the single values as well; the few that are far out run out of the picture.
        raw = drawn.raw.finite().value
        likely = raw[raw > 0] if log else raw
        if len(likely):
            low = min(low, max(float(np.quantile(likely, 0.02)), low / 3 if log else -math.inf))
            high = max(high, float(np.quantile(likely, 0.98)))
    elif drawn.mark is not None:
        # A first validation far below all others would press them into a line.
        few, middle = (float(value) for value in np.quantile(shown.value, (0.15, 0.5), method="higher"))
        low = max(low, min(few, middle - 4 * (high - middle) - 0.05 * abs(high)))
    if log:
        room = (high / low) ** 0.05 if high > low else 1.5
        return low / room, high * room, True
    room = 0.06 * (high - low) if high > low else max(0.1 * abs(high), 1e-6)
    below = 0.0 if low >= 0 and low - room < 0 else low - room
    return below, high + room, False


def _axes(x: _Scale, y: _Scale) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    values = ticks(y.low, y.high, y.log)
    words = _labels(values)
    for at, word in zip(y(np.asarray(values)), words, strict=True):
        parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{word}</text>')
    steps = [value for value in ticks(x.low, x.high, False, 4) if value == int(value)]
    for value, at in zip(steps, x(np.asarray(steps)), strict=True):
        parts.append(f'<path class="axis" d="M{at:.1f} {bottom}v4"/>')
        anchor = "end" if at > right - 20 else "middle"
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{int(value):,}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    parts.append(f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">step</text>')
    return parts


def _labels(values: Sequence[float]) -> list[str]:
    """All with as many digits as tell them apart; small ones as powers of ten."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest and largest < 1e-3:
        return [f"{value:.0e}".replace("e-0", "e-") if value else "0" for value in values]
    return [f"{value:.6g}" for value in values]


def _path(kind: str, shown: Curve, x: _Scale, y: _Scale) -> str:
    across, down = x(shown.step), y(shown.value)
    if len(across) > 2 * _COLUMNS:
        edges = np.linspace(0, len(across), _COLUMNS + 1).astype(int)[:-1]
        across = np.repeat(across[edges], 2)
        down = np.stack([np.minimum.reduceat(down, edges), np.maximum.reduceat(down, edges)], axis=1).ravel()
    points = " ".join(f"{a:.1f} {b:.1f}" for a, b in zip(across.tolist(), down.tolist(), strict=True))
    return f'<path class="{kind}" d="M{points}"/>'


def _mark(drawn: Drawn, mark: tuple[int, float], x: _Scale, y: _Scale) -> list[str]:
    """A ring around the point; its words stand where a rising curve is not."""
    across, down = float(x(np.asarray(float(mark[0])))), float(y(np.asarray(mark[1])))
    return [
        f'<circle class="best" cx="{across:.1f}" cy="{down:.1f}" r="5"/>',
        f'<text class="named" x="{_WIDTH - _RIGHT - 6}" y="{_HEIGHT - _BOTTOM - 10}" text-anchor="end">best: '
        f"{text(drawn.number(mark[1]))} at step {mark[0]:,}</text>",
    ]
