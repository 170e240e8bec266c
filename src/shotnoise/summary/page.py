"""The page about a run: what came out, the curves, a few samples, how to go on, and what it was made from."""

import math
from collections.abc import Mapping
from typing import Any

from shotnoise import __version__, htmlpage
from shotnoise.htmlpage import text
from shotnoise.summary.curves import Drawn, curve, smoothed
from shotnoise.summary.judge import Finding, judge, verdict
from shotnoise.summary.onward import commands
from shotnoise.summary.record import RunRecord

__all__ = ["outcome", "page", "to_json"]


def page(run: RunRecord) -> str:
    """The whole document."""
    found = judge(run)
    name = str(run.recipe.get("name") or run.folder.name)
    title = str((run.card.title if run.card else "") or run.recipe.get("title") or name)
    lines = [htmlpage.finding(one.severity, one.text, code=one.code) for one in found]
    parts = [
        f"<h1>{text(title)}</h1>",
        f'<p class="names">recipe <b>{text(name)}</b>, run <b>{text(str(run.folder))}</b></p>',
        htmlpage.verdict(
            verdict(found),
            _headline(run, found),
            (f"<p>{text(outcome(run))}</p>", htmlpage.findings(lines, "Nothing to warn about.")),
        ),
        "<h2>Curves</h2>",
        _curves(run),
        "<h2>Samples that were held out</h2>",
        _samples(run),
        "<h2>Going on</h2>",
        _onward(run),
        "<h2>Recipe</h2>",
        htmlpage.facts(_recipe(run)),
        f"<details><summary>all of it, as it was resolved</summary><pre>{_lines(run.yaml)}</pre></details>",
        "<h2>Data</h2>",
        htmlpage.facts(_data(run)),
        "<h2>What the model says about itself</h2>",
        htmlpage.facts(_card(run)) if run.card else "<p>There are no weights yet.</p>",
        f'<p class="small">Made by shotnoise {text(__version__)} from the files in the run folder; '
        f"<code>shotnoise report {text(str(run.folder))}</code> makes it again.</p>",
    ]
    return htmlpage.document(f"{name}: a training", parts)


def outcome(run: RunRecord) -> str:
    """One line: best validation, at which step, how long, how fast, on what."""
    best, metric = run.best, "SSIM" if run.metric == "ssim" else ""
    words = "No validation yet"
    if best is not None:
        value = f"SSIM {best[1]:.4f}" if metric else f"{best[1]:.2f} dB"
        words = f"Best validation {value} at step {best[0]:,} of {run.steps:,}"
        if not metric and not run.truthless and run.noisy_psnr is not None and math.isfinite(run.noisy_psnr):
            gain = best[1] - run.noisy_psnr
            words += f", {abs(gain):.1f} dB {'above' if gain >= 0 else 'below'} the noisy input"
    log = run.log
    how = [
        duration(log.seconds) if log.seconds >= 1 else "",
        f"in {log.sittings} sittings" if log.sittings > 1 else "",
        f"{log.pace:,.0f} samples/s" if log.pace else "",
        log.device,
        f"torch {log.torch}" if log.torch else "",
    ]
    told = ", ".join(part for part in how if part)
    return f"{words}; {told}" if told else words


def to_json(run: RunRecord) -> dict[str, Any]:
    """What the page says, as plain values."""
    best, found = run.best, judge(run)
    step, value = best if best is not None else (None, None)
    at = [] if step is None else [float(v) for s, v in zip(run.psnr.step, run.psnr.value, strict=True) if s == step]
    alike = [] if step is None else [float(v) for s, v in zip(run.ssim.step, run.ssim.value, strict=True) if s == step]
    log = run.log
    return {
        "run": str(run.folder),
        "recipe": run.recipe.get("name"),
        "kind": run.kind or None,
        "ended": log.ended or None,
        "step": run.step,
        "steps": run.steps,
        "best": {
            "step": step,
            "by": run.metric,
            "value": value,
            "psnr": _finite(at[-1]) if at else None,
            "ssim": _finite(alike[-1]) if alike else None,
        },
        "noisy_psnr": _finite(run.noisy_psnr),
        "validation_is_loss": run.truthless,
        "seconds": round(log.seconds, 3),
        "sittings": log.sittings,
        "samples_per_second": log.pace,
        "device": log.device or None,
        "torch": log.torch or None,
        "pictures": None if log.pictures is None else {"training": log.pictures[0], "held_out": log.pictures[1]},
        "verdict": verdict(found),
        "findings": [{"severity": one.severity, "code": one.code, "text": one.text} for one in found],
    }


def duration(seconds: float) -> str:
    """In words.

    >>> duration(65.2), duration(4000)
    ('1 min 5 s', '1 h 7 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {round(whole % 3600 / 60)} min"


def _headline(run: RunRecord, found: list[Finding]) -> str:
    broken = any(one.severity == "error" for one in found)
    words = {
        "": "Still going on, or killed",
        "done": "Finished" if run.step >= run.steps else "Ended early, as it was told",
        "stopped": "Stopped",
        "failed": "Failed",
    }[run.log.ended]
    if run.log.ended != "failed" and run.step >= run.steps:
        words = "Finished"  # also where Ctrl-C came too late, or the log is lost
    return f"{words}: it did not learn" if broken and run.log.ended != "failed" else words


def _curves(run: RunRecord) -> str:
    last = max(run.step, 1)
    validation = "Validation loss, held-out samples" if run.truthless else "Validation PSNR"
    mark = run.best
    drawn = [
        Drawn("Loss", "", run.loss, _six, smooth=smoothed(run.loss)),
        Drawn(validation, "dB, higher is better", run.psnr, "{:.2f} dB".format, scale="linear",
              mark=mark if run.metric == "psnr" else None),
        Drawn("Validation SSIM", "", run.ssim, "{:.4f}".format, scale="linear",
              mark=mark if run.metric == "ssim" else None),
        Drawn("Learning rate", "", run.lr, _six, smooth=run.lr,
              scale="log" if run.section("training").get("schedule") == "multistep" else "linear"),
    ]  # fmt: skip
    shown = "".join(curve(one, last) for one in drawn)
    if not shown:
        return "<p>There are no numbers yet.</p>"
    return (
        f'<div class="curves">{shown}</div><p class="small">Loss: the mean over a fortieth of the run, single steps '
        "faint behind it. Numbers: metrics.csv.</p>"
    )


def _samples(run: RunRecord) -> str:
    if run.samples is None:
        return "<p>The run folder holds no samples.png: it has not validated yet, or is of an earlier version.</p>"
    samples, cells = run.samples
    told = {
        "raw": " RAW is shown developed: white balanced, brightened and with a display gamma, all columns alike.",
        "mri": " Slices are shown in 0..1.",
    }.get(run.kind, "")
    # The pixels that are looked at are the middle of each sample, the numbers those of the whole.
    rows = []
    for number, row in enumerate(cells):
        scores = samples.psnr[number] if number < len(samples.psnr) else ()
        figures = []
        for place, (name, cell) in enumerate(zip(samples.columns, row, strict=True)):
            score = f" {scores[place]:.2f} dB" if place < len(scores) and math.isfinite(scores[place]) else ""
            figures.append(htmlpage.figure(cell, f"sample {number + 1}, {name}", caption=f"{name}{score}", pixels=True))
        rows.append(f'<div class="closeup {"two" if len(row) == 2 else "three"}">{"".join(figures)}</div>')
    if samples.psnr:
        mean = "" if samples.noisy_psnr is None else f"; {samples.noisy_psnr:.2f} dB is the noisy mean over all of them"
        numbers = f" PSNR is of the whole sample against clean{mean}."
    else:
        numbers = " No clean pictures are known, so there is no PSNR."
    return f"<p>The middle of the first ones, as of step {samples.step:,}.{numbers}{told}</p>{''.join(rows)}"


def _onward(run: RunRecord) -> str:
    finished = run.steps > 0 and run.step >= run.steps
    blocks = [
        f'<p class="small">{text(one.purpose)}</p><pre>{text(one.line)}</pre>'
        for one in commands(run.folder, run.kind, run.recipe, finished=finished, processes=run.log.processes)
        if one.verb == "train" or run.card is not None
    ]
    return "".join(blocks) or "<p>Nothing to go on with.</p>"


def _recipe(run: RunRecord) -> list[tuple[str, str]]:
    training, validation = run.section("training"), run.section("validation")
    schedule = str(training.get("schedule", ""))
    lr = f"{_number(training.get('lr'))}, {schedule}"
    if training.get("warmup"):
        lr += f" after {training['warmup']:,} steps of warm-up"
    extras = [f"{name} {_number(training[name])}" for name in ("ema", "clip", "quantise") if training.get(name)]
    return [
        ("network", _choice(run.recipe.get("network"))),
        ("noise", _choice(run.recipe.get("noise")) or "as found in the pictures"),
        ("pairs", _choice(run.recipe.get("pairs"))),
        ("method", _choice(run.recipe.get("method"))),
        ("steps", f"{run.steps:,} of {training.get('batch', '?')} samples and process"),
        ("learning rate", f"{lr}; {training.get('optimizer', '')}{''.join(f', {one}' for one in extras)}"),
        ("precision", str(training.get("precision", ""))),
        ("validation", f"every {_number(validation.get('every'))} steps, {_number(validation.get('samples'))} samples"),
        ("seed", _number(run.recipe.get("seed"))),
    ]


def _data(run: RunRecord) -> list[tuple[str, str]]:
    rows = [("from", ", ".join(map(str, run.recipe.get("data") or ())) or "not said")]
    if run.log.pictures is not None:
        rows.append(("pictures", f"{run.log.pictures[0]:,} to train on, {run.log.pictures[1]:,} held out"))
    start = run.log.start_from or run.recipe.get("start_from")
    if start:
        rows.append(("first weights", str(start)))
    return rows


def _card(run: RunRecord) -> list[tuple[str, str]]:
    card = run.card
    if card is None:
        return []
    sigma = card.sigma_range
    rows = [
        ("name", card.name),
        ("kind", f"{card.kind}, {card.channels} channels, {card.parameters:,} parameters"),
        ("noise", card.noise),
        ("told the noise level", {"none": "no", "sigma": "yes"}[card.level]),
        ("noise levels seen", "" if sigma is None else f"{255 * sigma[0]:g} to {255 * sigma[1]:g} of 255"),
        ("sizes", f"multiples of {card.multiple}; sees {'all' if card.halo is None else f'{card.halo} pixels'} around"),
        ("trained on", "; ".join(card.trained_on)),
        ("limits", "; ".join(card.limits)),
        ("licence", card.licence),
        ("fingerprint of the recipe", card.recipe_sha256[:16]),
        ("made with", card.made_with),
    ]
    return [(name, said) for name, said in rows if said]


def _choice(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    options = ", ".join(f"{key} {_number(part)}" for key, part in value.items() if key != "name")
    name = str(value.get("name", ""))
    return _short(f"{name}: {options}" if options else name)


def _short(words: str, most: int = 240) -> str:
    return words if len(words) <= most else f"{words[:most]} ..."


def _number(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _six(value: float) -> str:
    return f"{value:.4g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _lines(words: str) -> str:
    return "\n".join(text(line) for line in words.split("\n"))
