"""What a calibration found: numbers with their errors, in counts (DN) above black, and what is wrong with them.

Nothing in here computes a fit. To normalised units, x = (count - black) / (white - black), a gain is divided by
`white - black` and a variance by its square; :meth:`Calibration.noise` does so.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal, NamedTuple

from shotnoise.errors import ProfileError
from shotnoise.sensor.law import NoiseLaw

__all__ = [
    "BiasNoise",
    "Black",
    "Calibration",
    "Emva",
    "Finding",
    "Fit",
    "IsoFit",
    "Law",
    "LawPiece",
    "LogLaw",
    "Point",
    "Roi",
    "Severity",
]

Severity = Literal["note", "warning", "error"]
MONO = ("Y",)  # the plane names of a sensor without colours


class Roi(NamedTuple):
    """A rectangle of the mosaic: first row and column, and the row and column after the last. All are even."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a user should know.

    Attributes:
        severity: "error" (the numbers are wrong until this is settled), "warning" (they may be), "note".
        code: what kind, for machines: "mislabelled-iso", "light-leak", "non-uniform", "clipping", "too-few-levels",
            "curvature", "quantisation", "flicker", "missing", "black", "planes", "scatter", "law".
        text: one line: what was found, what was expected, what to do.
        frame: name of the frame it is about, "" if none.
        iso: the ISO it is about, None if all.
        plane: the plane it is about, "" if all.
    """

    severity: Severity
    code: str
    text: str
    frame: str = ""
    iso: float | None = None
    plane: str = ""


@dataclass(frozen=True, slots=True)
class Black:
    """The counts of one plane without light, at one ISO and exposure.

    Attributes:
        iso: sensitivity; None if nobody said.
        exposure: seconds; None if nobody said.
        plane: name of the plane.
        level: DN; median over frames of their trimmed means.
        level_se: standard error of it.
        source: "frames", "user" or "file"; all that follows is zero unless it is "frames".
        frames: how many frames were used.
        spread: standard deviation between the frames' levels.
        file_level: what the files say, None if they say nothing.
        variance: DN^2 over time from two or more frames, over the plane from one; rounding included.
        variance_dof: pixels' worth of independent information in it: its relative variance is 2 / dof.
        shading: rms of what varies smoothly over the plane, DN (glow, light).
        leak: whether that is too much.
        hot_pixels: how many lie more than 8 robust sigma above the level.
        pixels: how many there are.
        row_std: DN by which whole rows differ beyond what their pixels' noise explains.
        column_std: the same for columns.
        row_profile: mean over frames of the row means minus level, for plots; () unless "frames".
        column_profile: the same for columns.
    """

    iso: float | None
    exposure: float | None
    plane: str
    level: float
    level_se: float = 0.0
    source: Literal["frames", "user", "file"] = "frames"
    frames: int = 0
    spread: float = 0.0
    file_level: float | None = None
    variance: float = 0.0
    variance_dof: float = 0.0
    shading: float = 0.0
    leak: bool = False
    hot_pixels: int = 0
    pixels: int = 0
    row_std: float = 0.0
    column_std: float = 0.0
    row_profile: tuple[float, ...] = ()
    column_profile: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a photon transfer curve.

    Attributes:
        iso: sensitivity; None if nobody said.
        exposure: seconds; None if nobody said.
        plane: name of the plane.
        mean: DN above black.
        variance: DN^2, rounding included.
        dof: independent pixels' worth of information: the variance of `variance` is 2 variance^2 / dof.
        pixels: of the plane in the rectangle.
        frames: 1 (variance over the rectangle around a smooth surface), 2 or more (variance over time).
        roi: where; None for the dark point and for points that were given.
        names: of the frames.
        used: whether the fit used it.
        reason: why not, "" if used.
        uniformity: variance within one frame over the one without structure (between frames, or of second
            differences); 1 for an even patch. nan if unknown.
        tilt: largest difference of the fitted plane over the mean.
    """

    iso: float | None
    exposure: float | None
    plane: str
    mean: float
    variance: float
    dof: float
    pixels: int
    frames: int
    roi: Roi | None = None
    names: tuple[str, ...] = ()
    used: bool = True
    reason: str = ""
    uniformity: float = float("nan")
    tilt: float = 0.0

    @property
    def variance_se(self) -> float:
        """Standard error of the variance."""
        return self.variance * sqrt(2 / self.dof)

    @property
    def dark(self) -> bool:
        """Whether it comes from the black frames."""
        return self.mean == 0 and self.roi is None


@dataclass(frozen=True, slots=True)
class Fit:
    """variance = k mean + s2 of one plane (or all together) at one ISO, in DN above black.

    Attributes:
        iso: sensitivity; None if nobody said.
        plane: name of the plane; "all" if fitted to all planes together.
        k: gain, DN per electron.
        k_se: standard error.
        s2: variance without light, DN^2, rounding included; never below 0.
        s2_se: standard error.
        covariance: of k and s2.
        k_interval: 95 %.
        s2_interval: 95 %.
        s2_free: what s2 would be if it were allowed below 0.
        chi2: weighted sum of squared residuals.
        dof: points minus parameters.
        r2: share of the variance of the points that the line explains (weighted).
        points: how many were used.
        rejected: how many were not.
        scatter: rms of what the variances have beyond the errors of measurement, relative; 0 if chance explains all.
        curvature: c of an added term c mean^2.
        curvature_t: c over its standard error.
        k_curved: k when that term is in.
        flags: "curvature", "negative-s2", "scatter", "too-few-levels", "one-frame", "no-dark".
    """

    iso: float | None
    plane: str
    k: float
    k_se: float
    s2: float
    s2_se: float
    covariance: float
    k_interval: tuple[float, float]
    s2_interval: tuple[float, float]
    s2_free: float
    chi2: float
    dof: int
    r2: float
    points: int
    rejected: int
    scatter: float = 0.0
    curvature: float = 0.0
    curvature_t: float = 0.0
    k_curved: float = 0.0
    flags: tuple[str, ...] = ()

    def variance(self, mean: float) -> float:
        """Of the line."""
        return self.k * mean + self.s2

    def variance_se(self, mean: float) -> float:
        """Standard error of the line at a mean: the half-width of its 95 % band is 1.96 times this."""
        return sqrt(max(self.k_se**2 * mean**2 + 2 * self.covariance * mean + self.s2_se**2, 0.0))

    def read_electrons(self, step: float = 1.0) -> float:
        """Noise without light in electrons, without that of rounding to `step` DN."""
        return sqrt(max(self.s2 - step**2 / 12, 0.0)) / self.k


@dataclass(frozen=True, slots=True)
class IsoFit:
    """All planes at one ISO.

    Attributes:
        iso: sensitivity; None if nobody said.
        planes: one fit per plane.
        pooled: the fit to all planes together, used where they agree; None if they do not, or there is one plane.
        chi2: of the hypothesis that all planes share k and s2.
        dof: of it.
        p: probability of a chi2 this large if they do.
    """

    iso: float | None
    planes: tuple[Fit, ...]
    pooled: Fit | None = None
    chi2: float = 0.0
    dof: int = 0
    p: float = 1.0

    @property
    def best(self) -> tuple[Fit, ...]:
        """Per plane the fit to be used: the pooled one for all, or each its own."""
        return self.planes if self.pooled is None else (self.pooled,) * len(self.planes)


@dataclass(frozen=True, slots=True)
class LawPiece:
    """The parameters of a law up to a certain ISO: (a,) for k = a ISO; (p, q) for s2 = (p ISO)^2 + q^2.

    Attributes:
        below: the piece holds for ISOs below this one; inf for the last.
        params: values.
        se: standard errors.
        intervals: 95 %, one pair per parameter.
    """

    params: tuple[float, ...]
    se: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    below: float = inf


@dataclass(frozen=True, slots=True)
class Law:
    """k or s2 as a function of ISO, in DN above black.

    Attributes:
        quantity: "k": a ISO; "s2": (p ISO)^2 + q^2.
        planes: names of the planes that it holds for.
        pieces: one, or two with a break between them (a sensor with two conversion gains).
        isos: where it was measured.
        residuals: measured / law - 1 at these.
        scatter: rms of what the residuals have beyond the errors of measurement, relative.
        chi2: of the fit, with the errors of measurement alone.
        dof: of the fit.
        accepted: whether it may be used between and beside the measured ISOs.
        reason: why not, or what to keep in mind; "" if all is well.
    """

    quantity: Literal["k", "s2"]
    planes: tuple[str, ...]
    pieces: tuple[LawPiece, ...]
    isos: tuple[float, ...]
    residuals: tuple[float, ...]
    scatter: float
    chi2: float
    dof: int
    accepted: bool
    reason: str = ""

    def at(self, iso: float) -> float:
        """The value at an ISO; whether that is too far away is for the caller to decide."""
        params = next(piece.params for piece in self.pieces if iso < piece.below)
        if self.quantity == "k":
            return params[0] * iso
        return (params[0] * iso) ** 2 + params[1] ** 2


@dataclass(frozen=True, slots=True)
class BiasNoise:
    """The shape of the noise without light, of one plane at one ISO, for the physics model (ELD).

    Attributes:
        iso: sensitivity; None if nobody said.
        plane: name of the plane.
        lam: shape parameter of the Tukey-lambda distribution; 0.14 is nearly Gaussian, below is heavier tails.
        scale: of it in DN (not a standard deviation), rounding removed.
        sigma: standard deviation of the pixels, DN, rows and rounding removed.
        row: standard deviation of whole sensor rows over time, DN, shared by the planes of a row.
        ppcc: correlation of the probability plot at `lam`.
    """

    iso: float | None
    plane: str
    lam: float
    scale: float
    sigma: float
    row: float
    ppcc: float


@dataclass(frozen=True, slots=True)
class LogLaw:
    """log(noise) = slope log(k) + intercept, natural logarithms, DN: the form in which ELD publishes cameras.

    Attributes:
        quantity: "tukey-lambda" (scale), "row" or "gaussian" (standard deviations).
        slope: of log k.
        intercept: at k = 1.
        residual: standard deviation around it.
        isos: how many ISOs.
    """

    quantity: Literal["tukey-lambda", "row", "gaussian"]
    slope: float
    intercept: float
    residual: float
    isos: int


@dataclass(frozen=True, slots=True)
class Emva:
    """What the EMVA 1288 standard asks for beyond the noise, of a sensor without colours.

    A value is nan where nothing was measured.

    Attributes:
        gain: K, DN per electron.
        dark_noise: temporal, DN, rounding included.
        dark_electrons: temporal, electrons, without rounding.
        responsivity: DN per photon.
        quantum_efficiency: electrons per photon, 0..1.
        saturation_photons: per pixel.
        saturation_electrons: per pixel.
        dark_current_mean: electrons per second, from the rise of the dark level.
        dark_current_variance: electrons per second, from the rise of the dark variance.
        dsnu: standard deviation between pixels in the dark, electrons.
        prnu: standard deviation of the pixels' responses, relative, 0..1.
        bits: of the sensor, as the description says.
    """

    gain: float
    dark_noise: float
    dark_electrons: float
    responsivity: float
    quantum_efficiency: float
    saturation_photons: float
    saturation_electrons: float
    dark_current_mean: float
    dark_current_variance: float
    dsnu: float
    prnu: float
    bits: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything that was found. All values are in DN above black.

    Attributes:
        camera: make and model, "" if unknown.
        pattern: of the mosaic as in the frames; None for a sensor without colours.
        planes: names of the planes, in the order of all tuples per plane: R, Gr, Gb, B, or Y.
        black: DN per plane, for all ISOs (the median of `blacks`).
        white: DN at which the sensor is full.
        step: DN between neighbouring codes.
        blacks: per ISO, exposure and plane.
        points: all that was measured, used or not.
        fits: per ISO, rising.
        laws: over ISO; one for each quantity where planes agree, else one per plane. Empty without ISOs.
        bias: shape of the dark noise per ISO and plane.
        log_laws: of the dark noise over k.
        findings: worst first.
        max_signal: share of full scale above which points are not used.
        rois: the rectangles used, per ISO.
        emva: what an EMVA 1288 series told beyond that; None for other captures.
    """

    camera: str
    pattern: str | None
    planes: tuple[str, ...]
    black: tuple[float, ...]
    white: float
    step: float
    blacks: tuple[Black, ...]
    points: tuple[Point, ...]
    fits: tuple[IsoFit, ...]
    laws: tuple[Law, ...]
    bias: tuple[BiasNoise, ...]
    log_laws: tuple[LogLaw, ...]
    findings: tuple[Finding, ...]
    max_signal: float
    rois: tuple[tuple[float | None, tuple[Roi, ...]], ...]
    emva: Emva | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that must be settled before the numbers are used."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def isos(self) -> tuple[float | None, ...]:
        """The ISOs with a fit."""
        return tuple(fit.iso for fit in self.fits)

    def scale(self, plane: int) -> float:
        """DN between black and white of a plane: what divides counts to normalise them."""
        return self.white - self.black[plane]

    def law(self, quantity: Literal["k", "s2"], plane: str) -> Law | None:
        """The law of a quantity for a plane, None if there is none."""
        return next((law for law in self.laws if law.quantity == quantity and plane in law.planes), None)

    def noise(self, iso: float | None, *, measured: bool = True) -> NoiseLaw:
        """The noise at an ISO in normalised units.

        Args:
            iso: sensitivity; None for a calibration without ISOs.
            measured: take the fit where this ISO was measured; False: always the laws.
        """
        fit = next((fit for fit in self.fits if fit.iso == iso), None) if measured or iso is None else None
        scales = [self.scale(index) for index in range(len(self.planes))]
        if fit is not None:
            return NoiseLaw(
                tuple(best.k / scale for best, scale in zip(fit.best, scales, strict=True)),
                tuple(best.s2 / scale**2 for best, scale in zip(fit.best, scales, strict=True)),
                "calibration",
            )
        values = []
        for quantity in ("k", "s2"):
            laws = [self.law(quantity, plane) for plane in self.planes]
            values.append([law.at(iso) if law is not None and iso is not None else None for law in laws])
        gains, variances = values
        if any(value is None for value in (*gains, *variances)):
            known = ", ".join(f"{known:g}" for known in self.isos if known is not None) or "none"
            raise ProfileError(f"no noise for ISO {iso} in this calibration; it was measured at ISO {known}")
        return NoiseLaw(
            tuple(k / scale for k, scale in zip(gains, scales, strict=True) if k is not None),
            tuple(s2 / scale**2 for s2, scale in zip(variances, scales, strict=True) if s2 is not None),
            "calibration, law over ISO",
        )
