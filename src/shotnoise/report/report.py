"""Two pictures in, a report out: numbers, findings, a page, a picture."""

import math
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise import __version__
from shotnoise.errors import PictureError, RecipeError
from shotnoise.images import Image, open_image
from shotnoise.images._disk import shown, target, write
from shotnoise.images.raw import HeaderlessLayout, RawFrame, is_raw, open_raw
from shotnoise.metrics import SSIM_WINDOW, psnr, ssim
from shotnoise.report.judge import STRUCTURE, Finding, Severity, judge, neighbour_correlation, structure, verdict
from shotnoise.report.measure import Measured, measure
from shotnoise.report.subject import Noise, PictureSubject, RawSubject, Role, Subject
from shotnoise.report.sure import ErrorEstimate, Restore, from_residual, stein
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.profile import NoiseProfile
from shotnoise.sensor.published import open_profile

__all__ = ["Report", "Source", "Truth", "compare"]

Source = str | os.PathLike[str] | Image | RawFrame | npt.NDArray[Any]
"""A file, or what it holds."""

_SMALLEST = 16  # pixels of a side of a plane
_STRIP = 512  # rows for which SSIM is taken at a time


@dataclass(frozen=True, slots=True)
class Truth:
    """How far BEFORE and AFTER are from the clean reference: dB, and structural similarity (None if too small)."""

    psnr_before: float
    psnr_after: float
    ssim_before: float | None
    ssim_after: float | None


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        names: of BEFORE, AFTER and the reference, for the reader.
        subject: what was compared.
        noise: the noise that was expected.
        measured: the numbers.
        findings: what speaks against the result, the worst first.
        estimates: of the error without the truth.
        truth: the error, where a reference was given.
        made: date and time.
        how: the denoiser in words, where it is known.
        seconds: that the comparison took.
    """

    names: dict[Role, str]
    subject: Subject
    noise: Noise
    measured: Measured
    findings: tuple[Finding, ...]
    estimates: tuple[ErrorEstimate, ...]
    truth: Truth | None
    made: str
    how: str
    seconds: float

    @cached_property
    def structure(self) -> npt.NDArray[np.float64]:
        """Structure in what was taken away, block by block; see :func:`~shotnoise.report.judge.structure`."""
        return structure(self.measured)

    @property
    def verdict(self) -> Severity:
        """error, warning or note: the worst finding."""
        return verdict(self.findings)

    def to_json(self) -> dict[str, Any]:
        """All numbers and findings as plain values."""
        m, noise = self.measured, self.noise
        bins = m.brightness
        planes = self.subject.planes
        return {
            "files": dict(self.names),
            "made": self.made,
            "shotnoise": __version__,
            "denoiser": self.how,
            "kind": self.subject.kind,
            "size": [self.subject.height * self.subject.pixel, self.subject.width * self.subject.pixel],
            "planes": list(planes),
            "notes": list(self.subject.notes),
            "verdict": self.verdict,
            "findings": [finding.to_json() for finding in self.findings],
            "noise": {
                "source": noise.source,
                "known": noise.known,
                "k": list(noise.k),
                "s2": list(noise.s2),
                "counts_255": m.expected_counts,
            },
            "removed": {"counts_255": m.removed_counts, "of_noise": m.removed},
            "left_counts_255": self.left,
            "residual": {
                "neighbours": neighbour_correlation(m),
                "largest_correlation": _largest(m),
                "detail": m.detail,
                "picture": m.picture,
                "edges": m.edges,
                "structure_share": _share(self.structure),
                "kurtosis": m.sampled.kurtosis,
                "beyond_three_sigma": m.sampled.beyond,
                "autocorrelation": m.sampled.autocorrelation.round(5).tolist(),
                "frequencies": m.sampled.frequencies.round(5).tolist(),
                "power": m.sampled.power.round(6).tolist(),
                "sampled_share": m.sampled.share,
            },
            "shift_counts_255": {name: -255 * float(value) for name, value in zip(planes, m.shift, strict=True)},
            "clipped": {"before": m.clipped_before, "after": m.clipped_after, "new": m.clipped_new},
            "usable_share": m.usable,
            "bands": {
                name: {"removed": lines.removed, "chance": lines.chance, "left": lines.left, "before": lines.before}
                for name, lines in (("rows", m.rows), ("columns", m.columns))
            },
            "brightness": {
                name: {
                    "x": _numbers(bins.x[plane]),
                    "values": bins.count[plane].astype(int).tolist(),
                    "variance": _numbers(bins.variance[plane]),
                    "smooth": _numbers(bins.smooth[plane]),
                    "expected": _numbers(bins.expected[plane]),
                    "mean": _numbers(bins.mean[plane]),
                }
                for plane, name in enumerate(planes)
            },
            "estimates": [
                {
                    "method": estimate.method,
                    "psnr": estimate.psnr,
                    "psnr_before": _finite(estimate.before),
                    "share": estimate.share,
                    "error_median": None if estimate.error is None else estimate.error[0],
                    "error_90": None if estimate.error is None else estimate.error[1],
                    "why": estimate.why,
                }
                for estimate in self.estimates
            ],
            "reference": None
            if self.truth is None
            else {
                "psnr_before": _finite(self.truth.psnr_before),
                "psnr_after": _finite(self.truth.psnr_after),
                "ssim_before": self.truth.ssim_before,
                "ssim_after": self.truth.ssim_after,
            },
            "seconds": round(self.seconds, 3),
        }

    @property
    def best_estimate(self) -> ErrorEstimate | None:
        """The estimate of the error that may stand on its own: that of Stein, where there is one."""
        return next((one for one in self.estimates if one.method == "stein" and one.psnr is not None), None)

    @cached_property
    def left(self) -> float:
        """Noise that the blind estimate sees in AFTER, in counts of 255."""
        return self.subject.left()

    def to_html(self) -> str:
        """One page that needs nothing else."""
        from shotnoise.report.page import page

        return page(self)

    def to_png(self) -> bytes:
        """A summary in one picture."""
        from shotnoise.report.draw import png, summary

        return png(summary(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page (.html) or the summary (.png), as the name ends; completely or not at all.

        Raises:
            PictureError: the name ends otherwise, or the place cannot be written.
        """
        makers = {
            ".html": lambda: self.to_html().encode(),
            ".htm": lambda: self.to_html().encode(),
            ".png": self.to_png,
        }
        make = makers.get(os.path.splitext(path)[1].lower())
        if make is None:
            raise PictureError(f"{shown(path)}: a report ends in .html, or in .png for the summary; choose such a name")
        try:
            place = target(path, overwrite=True)
            write(place, partial(_put, make()))
        except PictureError as error:
            raise PictureError(f"{shown(path)}: {error}") from None
        except OSError as error:
            raise PictureError(f"{shown(path)}: cannot be written ({error.strerror}); choose another place") from None


def compare(
    before: Source,
    after: Source,
    reference: Source | None = None,
    *,
    noise: float | str | os.PathLike[str] | NoiseLaw | NoiseProfile | None = None,
    iso: float | None = None,
    layout: HeaderlessLayout | None = None,
    restore: Restore | None = None,
    how: str = "",
    names: dict[Role, str] | None = None,
) -> Report:
    """Compare a noisy picture with what a denoiser made of it.

    Args:
        before: the noisy picture: a file, an :class:`Image`, an array, or a RAW frame.
        after: the denoised one, of the same size and kind.
        reference: a clean one, where there is one.
        noise: of pictures, the standard deviation in counts of 255, or a law; of RAW, a profile, its file or name, or
            a law. None: what the file says, or a blind estimate from BEFORE.
        iso: at which a profile is asked; None: that of the frame.
        layout: of RAW without a header.
        restore: the denoiser as it was applied, if it can be run again: for Stein's estimate of the error.
        how: the denoiser in words.
        names: instead of the names of the files.

    Raises:
        PictureError: a file cannot be read, or the pictures differ in size or kind.
        RecipeError: the noise is not of the kind that the pictures need.
        ProfileError: the profile cannot be read, or does not cover the ISO.

    Example:
        >>> noisy = np.random.default_rng(0).normal(0.5, 0.1, (64, 64))
        >>> report = compare(noisy, np.full((64, 64), 0.5), noise=25.5)
        >>> report.verdict, f"{report.measured.removed:.1f}"
        ('note', '1.0')
    """
    started = time.perf_counter()
    given: dict[Role, Source] = {"before": before, "after": after}
    if reference is not None:
        given["reference"] = reference
    called = {role: _name(source, role) for role, source in given.items()} | (names or {})
    opened = {role: _opened(source, layout) for role, source in given.items()}
    subject = _subject(opened, noise, iso)
    if min(subject.height, subject.width) < _SMALLEST:
        raise PictureError(
            f"{called['before']}: too small to say anything about ({subject.describe()}); expected at least "
            f"{_SMALLEST * subject.pixel} pixels along each side"
        )
    expected = subject.noise()
    measured = measure(subject, expected)
    estimates = []
    if not measured.equal:
        if restore is not None:
            estimates.append(stein(subject, expected, restore, opened["before"]))
        estimates.append(from_residual(subject, expected, measured))
    return Report(
        names=called,
        subject=subject,
        noise=expected,
        measured=measured,
        findings=judge(subject, expected, measured),
        estimates=tuple(estimates),
        truth=_truth(subject) if reference is not None else None,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        how=how,
        seconds=time.perf_counter() - started,
    )


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _name(source: Source, role: Role) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else role.upper()


def _opened(source: Source, layout: HeaderlessLayout | None) -> Image | RawFrame:
    if isinstance(source, Image | RawFrame):
        return source
    if isinstance(source, str | os.PathLike):
        return open_raw(source, layout) if is_raw(source) else open_image(source)
    return Image.from_array(np.asarray(source))


def _subject(
    opened: dict[Role, Image | RawFrame],
    noise: float | str | os.PathLike[str] | NoiseLaw | NoiseProfile | None,
    iso: float | None,
) -> Subject:
    before, after, reference = opened["before"], opened["after"], opened.get("reference")
    if iso is not None and isinstance(noise, float | int | NoiseLaw | None):
        raise RecipeError(f"ISO {iso:g} is given without a noise profile, and nothing else depends on it")
    if isinstance(before, RawFrame) and isinstance(after, RawFrame) and not isinstance(reference, Image):
        if isinstance(noise, float | int):
            raise RecipeError(f"a noise level of {noise:g} for RAW; expected a noise profile or a law")
        law = open_profile(noise) if isinstance(noise, str | os.PathLike) else noise
        return RawSubject(before, after, reference, law, iso)
    if isinstance(before, Image) and isinstance(after, Image) and not isinstance(reference, RawFrame):
        if isinstance(noise, str | os.PathLike | NoiseProfile):
            raise RecipeError("a noise profile for pictures; expected a level, 0 to 255: profiles are of RAW files")
        if isinstance(noise, float | int) and not 0 < noise <= 255:
            raise RecipeError(f"a noise level of {noise:g}; expected a standard deviation in counts, above 0 to 255")
        return PictureSubject(before, after, reference, noise)
    kinds = ", ".join(
        f"{role.upper()} is {'RAW' if isinstance(one, RawFrame) else 'a picture'}" for role, one in opened.items()
    )
    raise PictureError(
        f"{kinds}; expected files of one kind: give the RAW file and the denoised DNG, or both developed alike"
    )


def _truth(subject: Subject) -> Truth:
    """In strips: the metrics make many copies in double precision."""
    rows = subject.height - SSIM_WINDOW + 1
    similar = min(rows, subject.width - SSIM_WINDOW + 1) > 0
    error, similarity = {"before": 0.0, "after": 0.0}, {"before": 0.0, "after": 0.0}
    roles: tuple[Role, Role] = ("before", "after")
    for top in range(0, subject.height, _STRIP):
        strip = slice(top, min(top + _STRIP, subject.height))
        # So many rows more that each place of the window lies in one strip.
        wide = slice(top, min(top + _STRIP + SSIM_WINDOW - 1, subject.height))
        for role in roles:
            first, second = (subject.compared(one, strip) for one in ("reference", role))
            error[role] += (strip.stop - strip.start) * 10 ** (-psnr(first, second, 1.0) / 10)
            if similar and wide.stop - wide.start >= SSIM_WINDOW:
                first, second = (subject.compared(one, wide) for one in ("reference", role))
                similarity[role] += (wide.stop - wide.start - SSIM_WINDOW + 1) * ssim(first, second, 1.0)
    scores = [-10 * math.log10(error[role] / subject.height) if error[role] else math.inf for role in roles]
    alike = [similarity[role] / rows if similar else None for role in roles]
    return Truth(scores[0], scores[1], alike[0], alike[1])


def _largest(measured: Measured) -> float:
    """The autocorrelation that is farthest from 0, the middle apart."""
    table = measured.sampled.autocorrelation.copy()
    table[table.shape[0] // 2, table.shape[1] // 2] = 0
    return float(table.ravel()[np.argmax(np.abs(table))])


def _share(where: npt.NDArray[np.float64]) -> float:
    known = np.isfinite(where)
    return float((where[known] > STRUCTURE).mean()) if known.any() else 0.0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
