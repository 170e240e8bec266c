"""What a run leaves on disk while it goes: the metrics, the best weights, and a line for people to read."""

import csv
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from shotnoise.training.schedule import learning_rate
from shotnoise.training.task import Task

__all__ = ["Checkpoints", "KeepBest", "MetricsFile", "Narrator"]

_log = logging.getLogger(__name__)


class MetricsFile(Callback):
    """`metrics.csv`: one row per logged step or validation, appended at once; a resumed run cuts off what it redoes.

    Every process has this callback; only the first writes, the means over all.

    Args:
        path: of the file.
        every: steps between rows of training values; validations are always written.
    """

    columns = ("step", "loss", "lr", "psnr")

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the file, or drop the rows after the checkpoint."""
        if not trainer.is_global_zero:
            return
        kept: list[list[str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                kept = [row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= trainer.global_step]
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([list(self.columns), *kept])

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
            self._append(trainer, psnr=pl_module.psnr)

    def _append(self, trainer: Trainer, **values: float) -> None:
        if trainer.is_global_zero:
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow([trainer.global_step, *(values.get(name, "") for name in self.columns[1:])])


class Checkpoints(Callback):
    """`last.ckpt`: everything needed to go on, written now and then, at the end, and when the run is interrupted.

    Args:
        path: of the file.
        every: steps between two writes.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write when it is time."""
        if trainer.global_step % self.every == 0 or trainer.global_step >= trainer.max_steps:
            trainer.save_checkpoint(self.path)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what was learned until Ctrl-C.

        After any other failure the last regular checkpoint is the safe one, and also with several processes: they
        write together, and only the first knows of the Ctrl-C.
        """
        if isinstance(exception, KeyboardInterrupt) and trainer.global_step > 0 and trainer.world_size == 1:
            trainer.save_checkpoint(self.path)


class KeepBest(Callback):
    """`best.safetensors`: the weights that did best on the held-out samples (the averaged ones, where averaging is on).

    Args:
        save: writes the current weights of the task.
    """

    def __init__(self, save: Callable[[Task], None]) -> None:
        self.save = save
        self.psnr = float("-inf")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare and keep."""
        if isinstance(pl_module, Task) and not trainer.sanity_checking and pl_module.psnr > self.psnr:
            self.psnr = pl_module.psnr
            if trainer.is_global_zero:
                self.save(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"psnr": self.psnr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.psnr = state_dict["psnr"]


class Narrator(Callback):
    """Tells the log how the training goes: step, loss, PSNR, samples per second, time to go.

    Args:
        every: steps between lines.
        batch: samples per step.
        report: called with (steps done, steps in all, loss, psnr) after every step, for a progress bar.
    """

    def __init__(self, every: int, batch: int, report: Callable[[int, int, float, float | None], None] | None) -> None:
        self.every, self.batch, self.report = every, batch, report
        self._started = (0.0, 0)
        self._loss: float | None = None
        self._psnr: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = (time.monotonic(), trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report progress; a line now and then."""
        step, total = trainer.global_step, int(trainer.max_steps)
        loss = float(outputs["loss"])
        self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
        if self.report is not None:
            self.report(step, total, self._loss, self._psnr)
        if step % self.every == 0:
            elapsed, done = time.monotonic() - self._started[0], step - self._started[1]
            left = elapsed / max(1, done) * (total - step)
            _log.info(
                "step %d/%d  loss %.5f  %.0f samples/s  %d min to go",
                step, total, self._loss, done * self.batch / elapsed, round(left / 60),
            )  # fmt: skip

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A line for each validation."""
        if isinstance(pl_module, Task) and not trainer.sanity_checking:
            self._psnr = pl_module.psnr
            _log.info("step %d  validation %.3f dB", trainer.global_step, self._psnr)
