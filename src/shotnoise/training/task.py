"""The loop, seen from Lightning: it knows steps, schedule and validation; the method knows the loss."""

import logging
import math
import signal
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from shotnoise.methods import Method
from shotnoise.metrics import SSIM_WINDOW, ssim
from shotnoise.pairs.sample import Batch, Sample, SampleStream, collate, generator_for
from shotnoise.recipe import TrainingOptions
from shotnoise.training.quantised import Quantisation
from shotnoise.training.schedule import first_beta, learning_rate

__all__ = ["Task", "psnrs"]

_log = logging.getLogger("shotnoise.training")


def _pictures(batch: Tensor) -> list[npt.NDArray[np.float32]]:
    """(B, C, H, W) -> (H, W, C) each."""
    return list(batch.permute(0, 2, 3, 1).float().cpu().numpy())


def psnrs(values: Tensor, clean: Tensor) -> list[float]:
    """PSNR of each sample in dB, `values` clamped to 0..1."""
    return _decibels((values.clamp(0, 1) - clean).square().mean((1, 2, 3)))


def _decibels(errors: Tensor) -> list[float]:
    decibels: list[float] = (-10 * errors.clamp_min(1e-10).log10()).tolist()
    return decibels


class _Numbers(Sampler[int]):
    """The numbers of the samples that one training process sees, in order.

    The length is that of the whole training, while the numbers start where the run stands: so Lightning, which counts
    the batches of a resumed run from its beginning, and we agree.
    """

    def __init__(self, options: TrainingOptions, step: int, rank: int, world: int) -> None:
        per_step = options.batch * world
        self.numbers = (
            number
            for first in range(step * per_step + rank * options.batch, options.steps * per_step, per_step)
            for number in range(first, first + options.batch)
        )
        self.length = options.steps * options.batch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return self.numbers


def _leave_ctrl_c_to_the_first(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; a loader that ended on its own would fail the training."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Task(LightningModule):
    """A method under training.

    Args:
        method: network and loss.
        options: of the recipe.
        stream: training samples by number.
        validation: the held-out batches.
        quantisation: rounds the network of the method to int8, or None.
    """

    def __init__(
        self,
        method: Method,
        options: TrainingOptions,
        stream: SampleStream,
        validation: Sequence[Batch],
        quantisation: Quantisation | None = None,
    ) -> None:
        super().__init__()
        if options.channels_last:
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.method = method
        self.options = options
        self.stream = stream
        self.validation = validation
        self.quantisation = quantisation
        self.psnrs: list[float] = []
        self.noisy_psnrs: list[float] = []
        self.ssims: list[float] = []
        self.shown: tuple[Tensor, ...] = ()
        self.skipped = 0

    def train_dataloader(self) -> DataLoader[Sample]:
        """Batches from the step the run stands at, each process its own."""
        options = self.options
        return DataLoader(
            self.stream,
            batch_size=options.batch,
            sampler=_Numbers(options, self.global_step, self.global_rank, self.trainer.world_size),
            collate_fn=collate,
            num_workers=options.workers,
            worker_init_fn=_leave_ctrl_c_to_the_first,
            persistent_workers=options.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The held-out batches; every process sees all of them, so all agree on the best."""
        return DataLoader(self.validation, batch_size=None)  # type: ignore[arg-type]  # a list is a data set

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Put pictures into the memory layout of the network."""
        if not self.options.channels_last:
            return batch
        return {
            name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
            for name, value in batch.items()
        }

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The first beta of Adam follows the schedule, as the rate does; the ranges of int8 hold still at the end."""
        if self.quantisation is not None:
            self.quantisation.freeze(self.global_step >= (1 - self.options.frozen_ranges) * self.options.steps)
        if self.options.final_beta1 is not None:
            for group in self.trainer.optimizers[0].param_groups:
                group["betas"] = (first_beta(self.global_step, self.options), group["betas"][1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step."""
        # Samples have the numbers from 0 up, so the negative ones are free for what the method draws.
        number = -1 - (self.global_step * self.trainer.world_size + self.global_rank)
        generator = generator_for(self.stream.seed, number, self.device)
        outcome = self.method.loss(batch, self.global_step / self.options.steps, generator)
        parts = {f"loss/{name}": value.detach() for name, value in outcome["parts"].items()}
        self.log_dict({"loss": outcome["loss"].detach(), **parts}, batch_size=len(batch["noisy"]))
        self.log("lr", learning_rate(self.global_step, self.options))
        return outcome["loss"]

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """The end of the schedule, where weights are best, is validated wherever it falls."""
        if self.global_step >= self.options.steps:
            self.trainer.should_stop = True  # before it stops, Lightning validates

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Skip the update when any gradient is not finite: the step counts, weights and moments stay as they are.

        A draw of noise far out in its tail, or a value too large for half precision, then costs one step instead of
        the run. All processes see the same averaged gradient, so all of them skip.
        """
        gradients = [parameter.grad for parameter in self.method.parameters() if parameter.grad is not None]
        if bool(torch.stack([gradient.isfinite().all() for gradient in gradients]).all()):
            return
        optimizer.zero_grad(set_to_none=True)
        self.skipped += 1
        if self.skipped & (self.skipped - 1) == 0:  # 1, 2, 4, 8 ...: a hint, not a flood
            _log.warning(
                "step %d: a gradient is not finite, update skipped (%d so far)", self.global_step + 1, self.skipped
            )

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Shorten a gradient longer than `clip`: as a whole, or each tensor by itself."""
        if self.options.clip is None:
            return
        parameters = [parameter for parameter in self.method.parameters() if parameter.grad is not None]
        for group in [parameters] if self.options.clip_by == "all" else [[parameter] for parameter in parameters]:
            torch.nn.utils.clip_grad_norm_(group, self.options.clip)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.psnrs, self.ssims, self.noisy_psnrs = [], [], []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """PSNR and SSIM of each held-out sample against the truth, in 0..1 and clamped.

        Where no truth exists it is the loss on the batch, in dB: no PSNR to quote, but the best weights are those where
        it is highest. Loss ramps are held at their middle, so that all validations of a run are comparable.
        """
        noisy, clean = batch["noisy"], batch.get("clean")
        if clean is not None or batch_idx == 0:
            result = self.method.restore(batch)
            unit = self.stream.source.to_unit(result.float(), batch).clamp(0, 1)
            seen = self.stream.source.to_unit(noisy.float(), batch)
            if batch_idx == 0:
                self.shown = (seen, unit) if clean is None else (seen, unit, clean)
        if clean is None:
            generator = generator_for(self.stream.seed, -1 - batch_idx, self.device)
            self.psnrs += _decibels(self.method.loss(batch, 0.5, generator)["loss"].expand(len(noisy)))
        else:
            self.psnrs += psnrs(unit, clean)
            self.noisy_psnrs += psnrs(seen, clean)
            if min(clean.shape[2:]) >= SSIM_WINDOW:
                pairs = zip(_pictures(unit), _pictures(clean), strict=True)
                self.ssims += [ssim(first, second, 1.0) for first, second in pairs]

    def on_validation_epoch_end(self) -> None:
        """Tell the logger."""
        self.log("psnr", self.psnr)
        if self.ssims:
            self.log("ssim", self.ssim)

    @property
    def psnr(self) -> float:
        """Mean over the held-out samples seen in this validation."""
        return sum(self.psnrs) / max(1, len(self.psnrs))

    @property
    def noisy_psnr(self) -> float | None:
        """Of the same samples before denoising; None where there is no truth."""
        return sum(self.noisy_psnrs) / len(self.noisy_psnrs) if self.noisy_psnrs else None

    @property
    def ssim(self) -> float:
        """Likewise; NaN where there is no truth, or samples are smaller than the window of SSIM."""
        return sum(self.ssims) / len(self.ssims) if self.ssims else math.nan

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam or AdamW with the schedule of the recipe."""
        options = self.options
        kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
        optimizer = kind(
            self.method.parameters(),
            lr=options.lr,
            betas=options.betas,
            eps=options.eps,
            weight_decay=options.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, options) / options.lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
