"""What should be said about a training, read off its curves and its log."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from shotnoise.summary.record import RunRecord

__all__ = ["Finding", "Severity", "judge", "verdict"]

Severity = Literal["error", "warning", "note"]

_FEW = 5  # validations below which nothing is said about their course
_FAR = 0.25  # share of the run for which the best validation lies behind
_WORSE = {"psnr": 0.1, "ssim": 0.002}  # than the best one: more than validations of weights that stand still differ
_STILL = {"psnr": 0.03, "ssim": 0.0005}  # gained in the last third: as good as nothing
_RISING = {"psnr": 0.1, "ssim": 0.002}  # gained in the last fifth: more steps would bring more
_HARDLY = 0.1  # dB above the noisy input: a denoiser for little noise gains as much
_UNITS = {"psnr": "{:.2f} dB", "ssim": "{:.4f}"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that should be known: how much it matters, its name, the sentence."""

    severity: Severity
    code: str
    text: str


def judge(run: RunRecord) -> list[Finding]:
    """Everything worth a word, the worst first."""
    found = [*_broken(run), *_course(run), *_ending(run), *_told(run)]
    order: tuple[Severity, ...] = ("error", "warning", "note")
    return sorted(found, key=lambda one: order.index(one.severity))


def verdict(findings: list[Finding]) -> Severity:
    """The worst of them; a note if there are none."""
    return findings[0].severity if findings else "note"


def _broken(run: RunRecord) -> list[Finding]:
    found: list[Finding] = []
    advice = "try a lower training.lr, training.clip: 1, or precision: fp32"
    bad = ~np.isfinite(run.loss.value)
    if bad.any():
        first = int(run.loss.step[bad][0])
        stayed = bool(bad[-max(1, len(bad) // 10) :].all())
        found.append(
            Finding(
                "error" if stayed else "warning",
                "loss-not-finite",
                f"the loss was not a number in {int(bad.sum())} of {len(bad)} logged steps, first at step {first:,}"
                f"{' and to the end' if stayed else ''}; {advice}",
            )
        )
    if run.log.skipped:
        share = run.log.skipped / max(1, run.step)
        found.append(
            Finding(
                "warning" if share >= 0.001 else "note",
                "updates-skipped",
                f"at least {run.log.skipped} updates were skipped, as their gradients were not finite; "
                + (advice if share >= 0.001 else "single ones do no harm"),
            )
        )
    values = run.chosen.value
    if len(values) and not np.isfinite(values).any():
        found.append(
            Finding("error", "validation-not-finite", f"no validation gave a number, so the weights are lost; {advice}")
        )
    elif run.metric == "psnr" and run.best is not None and run.noisy_psnr is not None and not run.truthless:
        gain = run.best[1] - run.noisy_psnr
        if gain < _HARDLY:
            found.append(
                Finding(
                    "error" if gain <= 0 else "warning",
                    "no-gain",
                    f"the best validation, {run.best[1]:.2f} dB, is {'hardly' if gain > 0 else 'no'} better than its "
                    f"noisy input, {run.noisy_psnr:.2f} dB: too few steps, a wrong learning rate, or noise that is "
                    "not the one of the pictures",
                )
            )
    return found


def _course(run: RunRecord) -> list[Finding]:
    curve, best = run.chosen.finite(), run.best
    if best is None or len(curve) < _FEW:
        return []
    steps, values = curve.step, curve.value
    unit, end = _UNITS[run.metric], float(steps[-1])
    behind = (end - best[0]) / end
    lost = best[1] - float(values[-1])
    if behind >= _FAR and lost >= _WORSE[run.metric]:
        return [
            Finding(
                "warning",
                "best-long-ago",
                f"the best validation is that of step {best[0]:,}, {behind:.0%} of the run before its end, and the "
                f"last one is {unit.format(lost)} worse: best.safetensors has the better weights; more data or a lower "
                "training.lr help against this",
            )
        ]
    early = values[steps <= end * 2 / 3]
    if len(early) and len(early) < len(values) and best[1] - float(early.max()) < _STILL[run.metric]:
        return [
            Finding(
                "note",
                "no-more-gain",
                f"validation gained {unit.format(best[1] - float(early.max()))} in the last third of the run: more "
                "steps of this kind would bring little",
            )
        ]
    before = values[steps <= end * 0.8]
    finished = run.log.ended == "done" and run.step >= run.steps
    if finished and len(before) and best[0] == int(end) and best[1] - float(before.max()) >= _RISING[run.metric]:
        gained = unit.format(best[1] - float(before.max()))
        return [
            Finding(
                "note",
                "still-rising",
                f"validation was still rising when the schedule ended, by {gained} in the last fifth: a longer "
                "training.steps would bring more",
            )
        ]
    return []


def _ending(run: RunRecord) -> list[Finding]:
    found: list[Finding] = []
    if run.log.ended == "failed":
        found.append(Finding("error", "failed", f"the training failed at step {run.log.step:,}: {run.log.error}"))
    if run.step < run.steps and run.log.ended:
        rate = run.lr.finite()
        left = f", with a learning rate that was still {rate.value[-1]:.2g}" if len(rate) else ""
        how = {"stopped": "was stopped", "failed": "ended", "done": "was told to end"}[run.log.ended]
        found.append(
            Finding(
                "note",
                "before-its-schedule",
                f"it {how} at step {run.step:,} of {run.steps:,}{left}: weights are better at the end of a schedule, "
                "and --resume goes on to it",
            )
        )
    if not run.log.ended and run.step < run.steps:
        found.append(
            Finding(
                "note",
                "no-end",
                "the log has no end: the training still goes on, or was killed; --resume goes on from its last "
                "checkpoint",
            )
        )
    if run.best is None and not len(run.chosen):
        found.append(
            Finding("warning", "no-validation", "it ended before its first validation, so there are no best weights")
        )
    return found


def _told(run: RunRecord) -> list[Finding]:
    found = [Finding("note", "setting", remark) for remark in run.log.remarks]
    if run.truthless:
        words = "no clean pictures are known: validation shows the loss on held-out samples in dB, and not a PSNR"
        found.append(Finding("note", "no-truth", words))
    return found
