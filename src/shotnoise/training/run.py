"""`train`: a recipe and pictures in, a run folder out.

The run folder holds the resolved `recipe.yaml`, `train.log`, `metrics.csv`, TensorBoard events, `last.ckpt` to resume
from, `best.safetensors` / `last.safetensors`, each carrying its card, and, for people, `samples.png` and
`summary.html`.
"""

import contextlib
import hashlib
import logging
import math
import os
import pickle  # for the name of an error
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

import shotnoise
from shotnoise.card import Card, Transform
from shotnoise.engines.machine import processor
from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS, Method
from shotnoise.metrics import SSIM_WINDOW
from shotnoise.networks import Network, create
from shotnoise.networks.card import measured
from shotnoise.networks.checkpoint import save_checkpoint
from shotnoise.noise import NOISE
from shotnoise.pairs import PAIRS, PairSource, SampleStream, collate
from shotnoise.pairs.sample import Batch, generator_for
from shotnoise.pairs.stored import Stacked
from shotnoise.recipe import Choice, Recipe
from shotnoise.store import open_samples
from shotnoise.summary import PAGE, write_summary
from shotnoise.training.callbacks import Averaging, Checkpoints, KeepBest, MetricsFile, Narrator
from shotnoise.training.interruption import Interruption
from shotnoise.training.pictures import Pictures
from shotnoise.training.processes import Place, joined_by_helpers
from shotnoise.training.quantised import Quantisation
from shotnoise.training.start import start_from
from shotnoise.training.task import Task

__all__ = ["Run", "train"]

_log = logging.getLogger("shotnoise.training")
_VALIDATION_SEED = 20_211_203  # any constant; the held-out samples must be the same for every run
_CHECKPOINT = "last.ckpt"
_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}

Picture = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Run:
    """What a training left behind; the scores are those of its best validation."""

    folder: Path
    kind: str
    step: int
    psnr: float
    ssim: float

    @property
    def best(self) -> Path:
        """The checkpoint to evaluate and export."""
        return self.folder / "best.safetensors"

    @property
    def summary(self) -> Path | None:
        """The page about the run; None where it could not be written."""
        page = self.folder / PAGE
        return page if page.exists() else None


def train(
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    stop_at: int | None = None,
    report: Callable[[int, int, float, float | None], None] | None = None,
    accelerator: str = "auto",
    devices: int = 1,
) -> Run:
    """Train a recipe.

    Args:
        recipe: what to do; `recipe.data` says on which pictures, `recipe.start_from` from which weights.
        folder: the run folder; made if missing.
        resume: continue from `last.ckpt` in the folder; the loss curve goes on as if it had never stopped.
        stop_at: end after this step of the schedule, to be resumed later.
        report: called with (step, steps, loss, psnr) after every step.
        accelerator: as Lightning names them: auto, cpu, gpu.
        devices: number of processes, one device each. A step then sees `training.batch` samples per process: those
            that one process with the whole batch would see, with the same gradient. Only the first process writes.
    """
    run = Path(folder)
    checkpoint = run / _CHECKPOINT
    if devices < 1:
        raise RecipeError(f"devices is {devices}; expected the number of processes, 1 or more")
    if resume and not checkpoint.exists():
        raise RecipeError(f"{run}: nothing to resume here, there is no last.ckpt")
    if not resume and checkpoint.exists():
        raise RecipeError(f"{run}: already holds a run; resume it, or name another folder")
    if not recipe.data:
        raise RecipeError("no training pictures given: --data DIR names a folder of pictures or a packed store")
    if stop_at is not None and stop_at < 1:
        raise RecipeError(f"stop_at is {stop_at}; expected a step of the schedule, 1 or more")
    if resume:
        _refuse_other_processes(checkpoint, devices)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(f"{run}: cannot be made a folder ({error.strerror}); choose another place") from None
    with _logging_to(run / "train.log"), _summarised(run):
        if devices == 1:
            return _fit(None, recipe, run, resume, stop_at, accelerator, report)
        with joined_by_helpers(devices, _help, recipe, run, resume, stop_at, accelerator) as place:
            return _fit(place, recipe, run, resume, stop_at, accelerator, report)


def _refuse_other_processes(checkpoint: Path, devices: int) -> None:
    """Another number of them would see samples that were seen already, or never see some."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise RecipeError(
            f"{checkpoint}: is damaged ({type(error).__name__}), so the run cannot go on; begin a new one with its "
            f"best weights: --start-from {checkpoint.parent}"
        ) from None
    before = state.get("callbacks", {}).get("Checkpoints", {}).get("processes", devices)
    if before != devices:
        raise RecipeError(
            f"{checkpoint.parent}: is a training in {before} process{'es' if before > 1 else ''}, not in {devices}; it "
            f"sees what it would have seen with as many only: resume it with --devices {before}"
        )


def _help(place: Place, recipe: Recipe, run: Path, resume: bool, stop_at: int | None, accelerator: str) -> None:
    _fit(place, recipe, run, resume, stop_at, accelerator, None)


def _fit(
    place: Place | None,
    recipe: Recipe,
    run: Path,
    resume: bool,
    stop_at: int | None,
    accelerator: str,
    report: Callable[[int, int, float, float | None], None] | None,
) -> Run:
    """The training of one process; `place` says which of several it is. Only the first writes files."""
    options, devices, first = recipe.training, place.world if place else 1, place is None or place.rank == 0
    torch.manual_seed(recipe.seed)
    network = create(recipe.network.name, **recipe.network.options)
    if recipe.start_from is not None and not resume:
        earlier = start_from(network, recipe.start_from, recipe.network.name)
        # The model has seen what those weights have seen, and its card must say so, also after a resumption.
        before = earlier.trained_on if earlier else [f"whatever {Path(recipe.start_from).name} was trained on"]
        seen = tuple(dict.fromkeys((*before, *(recipe.card.trained_on or recipe.data))))
        recipe = recipe.model_copy(update={"card": recipe.card.model_copy(update={"trained_on": seen})})
    method: Method = METHODS.create(recipe.method.name, recipe.method.options, network=network)
    kind: type[PairSource] = PAIRS.resolve(recipe.pairs.name)
    pictures = _load(recipe.data, kind.picture_channels or network.channels, kind.wants(recipe.pairs.options), kind)
    training, held_out = _split(pictures, recipe.validation.share)
    source = _source(recipe.pairs, recipe.noise, training)
    validation = _validation_batches(recipe, held_out, network.multiple)
    if (found := validation[0]["noisy"].shape[1]) != network.channels:
        raise RecipeError(
            f"samples of pairs '{recipe.pairs.name}' have {found} channels and the network '{recipe.network.name}' "
            f"{network.channels}; expected the same, choose other pairs or other channels for the network"
        )
    if recipe.validation.best == "ssim" and (
        "clean" not in validation[0] or min(validation[0]["noisy"].shape[2:]) < SSIM_WINDOW
    ):
        raise RecipeError(
            f"validation.best: ssim needs held-out samples whose truth is known, at least {SSIM_WINDOW} pixels wide; "
            "choose psnr, which is the loss where there is no truth, or raise validation.crop"
        )
    card = _card(recipe, network, source)
    # After the card, for which the network is run as it will be exported.
    quantisation = None if options.quantise is None else Quantisation(method.predictor(), options.float_layers)
    precision = options.precision
    if precision != "fp32" and not _is_fast(accelerator):
        precision = "fp32"
        if first:
            _log.info(
                "trains in fp32 instead of %s: this CPU has no instructions for bf16, and would take many times as "
                "long with it",
                options.precision,
            )
    if first:
        _log.info("%s: %d pictures to train on, %d held out", recipe.name, len(training), len(held_out))
        if recipe.start_from is not None and not resume:
            _log.info("starts from the weights of %s", recipe.start_from)
        if "clean" not in validation[0]:
            _log.info("no clean pictures: validation shows the loss on held-out samples, in dB")
        _write_text(run / "recipe.yaml", recipe.to_yaml())
    interruption, interval = Interruption(), min(recipe.validation.every, options.steps)
    metric = recipe.validation.best
    keeper = KeepBest(lambda task: save_checkpoint(run / "best.safetensors", task.method.predictor(), card), metric)
    callbacks: list[Callback] = [
        keeper,
        MetricsFile(run / "metrics.csv", every=max(1, min(10, options.steps // 100))),
        Checkpoints(run / _CHECKPOINT, every=interval, interruption=interruption, processes=devices),
    ]
    if first:
        every = max(1, recipe.validation.every // 5)
        epoch = None if options.epochs is None else options.steps / options.epochs
        narrator = Narrator(every=every, batch=options.batch * devices, report=report, epoch=epoch)
        callbacks[2:2] = [narrator, Pictures(run)]
    if options.ema is not None:
        # After the keeper, which must see the averaged weights before they are swapped out again; before the
        # checkpoints, which must hold the average of the step they are named for.
        callbacks.insert(1, Averaging(decay=options.ema))
    with _quiet():
        trainer = _trainer(
            accelerator=accelerator,
            devices=devices,
            strategy=DDPStrategy(cluster_environment=place) if place else "auto",
            max_steps=options.steps if stop_at is None else min(stop_at, options.steps),
            max_epochs=-1,
            precision=_PRECISION[precision],
            val_check_interval=interval,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=2,
            log_every_n_steps=10,
            logger=TensorBoardLogger(run, name="", version="tensorboard") if first else False,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=run,
        )
        task = Task(method, options, SampleStream(source, seed=recipe.seed), validation, quantisation)
        if first:
            many = f"{devices} x " if devices > 1 else ""
            _log.info("runs on %s%s, torch %s", many, _device(trainer), torch.__version__)
        with _told(trainer, first), interruption:
            trainer.fit(task, ckpt_path=run / _CHECKPOINT if resume else None, weights_only=True)
            if first:
                save_checkpoint(run / "last.safetensors", method.predictor(), card)
    if first:
        known = f"best validation {keeper.psnr:.3f} dB" if keeper.psnr > -math.inf else "before its first validation"
        _log.info("done at step %d, %s", trainer.global_step, known)
    return Run(run, card.kind, trainer.global_step, keeper.psnr, keeper.ssim)


def _trainer(*, accelerator: str, devices: int, **settings: Any) -> Trainer:
    """Lightning's, on devices that this machine has."""
    try:
        return Trainer(accelerator=accelerator, devices=devices, **settings)
    except (MisconfigurationException, ValueError, ModuleNotFoundError) as error:
        words = " ".join(str(error).split())
        raise RecipeError(
            f"cannot train on {devices} x {accelerator} ({words}); expected devices of this machine: auto, cpu or gpu"
        ) from None


def _is_fast(accelerator: str) -> bool:
    """Whether half precision is worth it where this accelerator, as Lightning names it, lets the training run.

    On a CPU both kinds are bf16, which without instructions for it takes about ten times as long as fp32.
    """
    if accelerator != "cpu" and (accelerator != "auto" or torch.accelerator.is_available()):
        return True
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # Torch itself is content with AVX-512 of any kind, on which bf16 is emulated.
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _device(trainer: Trainer) -> str:
    """What it runs on, by its name."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' if threads > 1 else ''}" if device.type == "cpu" else str(device)


def _load(
    paths: Sequence[str], channels: int, arrays: Sequence[str], kind: type[PairSource] = PairSource
) -> dict[str, list[Picture]]:
    """All samples of all folders and stores, under the names of the pictures they were cut from."""
    pictures: dict[str, list[Picture]] = {}
    for path in paths:
        opened = kind.open(Path(path))
        if opened is not None:
            for name, picture in opened.items():
                pictures.setdefault(f"{Path(path).name}/{name}", []).append(picture)
            continue
        samples = open_samples(path, channels=channels, arrays=arrays)
        for index, key in enumerate(samples.keys()):
            record = samples[index]
            parts = [record.arrays[name] for name in arrays]
            picture = parts[0] if len(parts) == 1 else cast(Picture, Stacked(parts, record.arrays.get("low")))
            pictures.setdefault(f"{Path(path).name}/{record.meta.get('picture', key)}", []).append(picture)
    return pictures


def _split(pictures: dict[str, list[Picture]], share: float) -> tuple[list[Picture], list[Picture]]:
    """Hold out a share of the pictures, all patches of each; which ones depends on their names alone."""
    if len(pictures) < 2:
        raise RecipeError(f"{len(pictures)} training picture(s) found; expected at least 2, as some are held out")
    names = sorted(pictures, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = min(max(1, round(share * len(names))), len(names) - 1)
    return (
        [patch for name in names[count:] for patch in pictures[name]],
        [patch for name in names[:count] for patch in pictures[name]],
    )


def _source(pairs: Choice, noise: Choice | None, pictures: Sequence[Picture], **replaced: Any) -> PairSource:
    model = None if noise is None else NOISE.create(noise.name, noise.options)
    source: PairSource = PAIRS.create(pairs.name, {**pairs.options, **replaced}, pictures=pictures, noise=model)
    return source


def _validation_batches(recipe: Recipe, held_out: Sequence[Picture], multiple: int) -> list[Batch]:
    """The same held-out samples at every validation of every run of this recipe."""
    options = recipe.validation
    fits = PAIRS.resolve(recipe.pairs.name).largest_crop
    crop = min(options.crop, *(fits(picture.shape, recipe.pairs.options) for picture in held_out))
    if crop > 2 * multiple:
        crop -= crop % (2 * multiple)  # methods run networks on whole samples or on halves of them, without padding
    changes = PAIRS.resolve(recipe.pairs.name).held_out(crop)
    source = _source(recipe.pairs, options.noise or recipe.noise, held_out, **changes)
    samples = [source.draw(generator_for(_VALIDATION_SEED, number)) for number in range(options.samples)]
    return [collate(samples[first : first + 4]) for first in range(0, len(samples), 4)]


def _card(recipe: Recipe, network: Network, source: PairSource) -> Card:
    noise = recipe.noise or Choice(name="as found in the pictures")
    sigma = noise.options.get("sigma") if noise.name == "gaussian" else None
    low, high = (sigma, sigma) if isinstance(sigma, int | float) else (sigma or (None, None))
    return Card(
        name=recipe.name,
        title=recipe.card.title or recipe.title,
        noise=recipe.card.noise or " ".join([noise.name, *(f"{key} {value}" for key, value in noise.options.items())]),
        k_sigma=None if source.k_sigma is None else Transform(**asdict(source.k_sigma)),
        sigma_range=None if low is None or high is None else (low / 255, high / 255),
        network=recipe.network.name,
        arguments=recipe.network.options,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256(),
        trained_on=list(recipe.card.trained_on or recipe.data),
        limits=list(recipe.card.limits),
        licence=recipe.card.licence,
        made_with=f"shotnoise {shotnoise.__version__}",
        **(measured(network) | ({} if source.kind is None else {"kind": source.kind})),
    )


@contextlib.contextmanager
def _told(trainer: Trainer, first: bool) -> Iterator[None]:
    """The log says why a training ended before its end."""
    try:
        yield
    except KeyboardInterrupt:
        if first:
            _log.info("stopped by Ctrl-C at step %d", trainer.global_step)
        raise
    except Exception as error:
        if first:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            _log.info("failed at step %d: %s", trainer.global_step, words)
        raise


@contextlib.contextmanager
def _summarised(run: Path) -> Iterator[None]:
    """However the training ends, once it has begun there is a page about it; without the page nothing is lost."""
    try:
        yield
    finally:
        if (run / "metrics.csv").exists():
            try:
                write_summary(run)
            except Exception as error:  # whatever it is, it must not hide or undo the training
                _log.warning("no %s: %s", PAGE, " ".join(f"{type(error).__name__}: {error}".split()))


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Append what shotnoise logs to a file while training."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root = logging.getLogger("shotnoise")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and advice about loader processes off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", module=r"torch\..*", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
