"""What a run leaves on disk while it goes: the metrics, the best weights, and a line for people to read."""

import csv
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from shotnoise.training.interruption import Interruption, Stopped
from shotnoise.training.schedule import learning_rate
from shotnoise.training.task import Task

__all__ = ["Averaging", "Checkpoints", "KeepBest", "MetricsFile", "Narrator"]

_log = logging.getLogger(__name__)


class MetricsFile(Callback):
    """`metrics.csv`: one row per logged step or validation, appended at once; a resumed run cuts off what it redoes.

    Every process has this callback; only the first writes, the means over all.

    Args:
        path: of the file.
        every: steps between rows of training values; validations are always written.
    """

    columns = ("step", "loss", "lr", "psnr", "ssim")

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the file, or drop the rows after the checkpoint."""
        if not trainer.is_global_zero:
            return
        kept: list[list[str]] = []
        if self.path.exists():
            # A machine that lost its power may have left zeros, or half of a row.
            lines = self.path.read_text(errors="replace").replace("\0", "").splitlines()
            rows = [row for row in csv.reader(lines[1:]) if len(row) > 3 and row[0].isdecimal()]
            kept = [row for row in rows if int(row[0]) <= trainer.global_step]
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("w", newline="") as file:
            csv.writer(file).writerows([list(self.columns), *kept])
        os.replace(temporary, self.path)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One row of training values; the learning rate is that of the step just made."""
        step = trainer.global_step
        if step % self.every == 0 and isinstance(pl_module, Task):
            loss = trainer.strategy.reduce(outputs["loss"], reduce_op="mean")  # of all processes, which all must ask
            self._append(trainer, loss=float(loss), lr=learning_rate(step - 1, pl_module.options))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One row of validation values."""
        if isinstance(pl_module, Task) and not trainer.sanity_checking:
            known = {} if math.isnan(pl_module.ssim) else {"ssim": pl_module.ssim}
            self._append(trainer, psnr=pl_module.psnr, **known)

    def _append(self, trainer: Trainer, **values: float) -> None:
        if trainer.is_global_zero:
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow([trainer.global_step, *(values.get(name, "") for name in self.columns[1:])])


class Checkpoints(Callback):
    """`last.ckpt`: everything needed to go on, written now and then, at the end, and when the run is interrupted.

    It is the last of the callbacks, so that all of a step is done when it looks whether to stop. A validation that is
    due belongs to its step: an interrupted run ends after it, and a resumed one has its outcome.

    Args:
        path: of the file.
        every: steps between two validations, before and after which it is written.
        interruption: who asks to stop.
        processes: how many train together.
    """

    def __init__(self, path: Path, every: int, interruption: Interruption, processes: int = 1) -> None:
        self.path, self.every, self.interruption, self.processes = path, every, interruption, processes

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: which samples a step sees depends on it."""
        return {"processes": self.processes}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asked to stop while everything was set up."""
        self.interruption.check()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write when it is time."""
        validates = trainer.global_step % self.every == 0
        if validates or trainer.global_step >= trainer.max_steps:
            self._save(trainer)
        if self.interruption.asked and not validates and trainer.global_step < trainer.max_steps:
            # Several processes write together, and only the first knows of the Ctrl-C: there the last one stays.
            if trainer.world_size == 1:
                self._save(trainer)
            raise Stopped

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write again, with the outcome."""
        if not trainer.sanity_checking:
            self._save(trainer)
        if trainer.global_step < trainer.max_steps:
            self.interruption.check()

    def _save(self, trainer: Trainer) -> None:
        """All processes write together. Lightning copies from the folder of temporary files, which may be cut short."""
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                os.replace(temporary, self.path)
        finally:
            if trainer.is_global_zero:
                temporary.unlink(missing_ok=True)


class Averaging(EMAWeightAveraging):
    """The averaged weights, which are what a run leaves also when it is resumed at its end and has nothing to do."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them into the network."""
        self.on_train_end(trainer, pl_module)


class KeepBest(Callback):
    """`best.safetensors`: the weights that did best on the held-out samples (the averaged ones, where averaging is on).

    Args:
        save: writes the current weights of the task.
        metric: "psnr" or "ssim", which says what is best.

    Attributes:
        psnr: of the best weights.
        ssim: of the best weights.
    """

    def __init__(self, save: Callable[[Task], None], metric: str = "psnr") -> None:
        self.save, self.metric = save, metric
        self.psnr, self.ssim = -math.inf, math.nan

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare and keep."""
        if not isinstance(pl_module, Task) or trainer.sanity_checking:
            return
        score, best = getattr(pl_module, self.metric), getattr(self, self.metric)
        # The first is always kept, but one that was not a number gives way to any that is.
        if self.psnr == -math.inf or score > best or (math.isnan(best) and not math.isnan(score)):
            self.psnr, self.ssim = pl_module.psnr, pl_module.ssim
            if trainer.is_global_zero:
                self.save(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"psnr": self.psnr, "ssim": self.ssim}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.psnr, self.ssim = state_dict["psnr"], state_dict.get("ssim", math.nan)


class Narrator(Callback):
    """Tells the log how the training goes: step, loss, PSNR, samples per second, time to go, and per epoch.

    Args:
        every: steps between lines.
        batch: samples per step.
        report: called with (steps done, steps in all, loss, psnr) after every step, for a progress bar.
        epoch: steps of one, where the schedule knows epochs.
    """

    def __init__(
        self,
        every: int,
        batch: int,
        report: Callable[[int, int, float, float | None], None] | None,
        epoch: float | None = None,
    ) -> None:
        self.every, self.batch, self.report, self.epoch = every, batch, report, epoch
        self._started = (0.0, 0)
        self._loss: float | None = None
        self._psnr: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = (time.monotonic(), trainer.global_step)
        if trainer.global_step:
            _log.info("goes on from step %d", trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report progress; a line now and then."""
        step, total = trainer.global_step, int(trainer.max_steps)
        loss = float(outputs["loss"])
        self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
        if self.report is not None:
            self.report(step, total, self._loss, self._psnr)
        if step % self.every == 0 or step >= total:
            elapsed, done = time.monotonic() - self._started[0], step - self._started[1]
            left = elapsed / max(1, done) * (total - step)
            pace = "" if self.epoch is None else f"  {self.epoch * elapsed / max(1, done):.1f} s/epoch"
            _log.info(
                "step %d/%d  loss %.5f  %.0f samples/s%s  %d min to go",
                step, total, self._loss, done * self.batch / elapsed, pace, round(left / 60),
            )  # fmt: skip

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A line for each validation."""
        if isinstance(pl_module, Task) and not trainer.sanity_checking:
            self._psnr = pl_module.psnr
            ssim = "" if math.isnan(pl_module.ssim) else f"  SSIM {pl_module.ssim:.4f}"
            _log.info("step %d  validation %.3f dB%s", trainer.global_step, self._psnr, ssim)
