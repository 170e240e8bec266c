"""A few held-out samples beside each other, as TensorBoard shows them after every validation."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from shotnoise.training.task import Task

__all__ = ["Pictures", "grid"]

_SIDE = 96  # pixels of a sample that are shown
_SAMPLES = 3
_GAMMA = 1 / 2.2


class Pictures(Callback):
    """Noisy, result and, where it is known, clean: one row per sample, the middle of each."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand them to TensorBoard."""
        if isinstance(pl_module, Task) and not trainer.sanity_checking and trainer.logger is not None:
            writer = trainer.logger.experiment  # type: ignore[attr-defined]  # TensorBoard's
            writer.add_image("noisy, result, clean", grid(pl_module.shown), trainer.global_step)


def grid(columns: tuple[Tensor, ...]) -> Tensor:
    """(B, C, H, W) each -> one (3, height, width) picture for display.

    Four channels are the planes of a RGGB mosaic and become RGB of half its size: white balanced to gray, as bright as
    a camera would show it, with a display gamma; all columns alike, by what the last one says.
    """
    columns = tuple(_middle(column[:_SAMPLES].detach().float().cpu()) for column in columns)
    if columns[-1].shape[1] == 4:
        columns = _developed(columns)
    shown = [column if column.shape[1] == 3 else column[:, :1].expand(-1, 3, -1, -1) for column in columns]
    rows = torch.cat(shown, dim=3)  # (B, 3, H, W of all)
    return torch.cat(list(rows), dim=1).clamp(0, 1)


def _middle(batch: Tensor) -> Tensor:
    height, width = (min(_SIDE, side) for side in batch.shape[2:])
    top, left = (batch.shape[2] - height) // 2, (batch.shape[3] - width) // 2
    return batch[:, :, top : top + height, left : left + width]


def _developed(columns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    rgb = tuple(torch.stack((p[:, 0], (p[:, 1] + p[:, 2]) / 2, p[:, 3]), dim=1) for p in columns)
    truth = rgb[-1].clamp(min=0)
    means = truth.mean((2, 3), keepdim=True).clamp(min=1e-6)  # (B, 3, 1, 1)
    gains = means[:, 1:2] / means
    brightest = (truth * gains).flatten(1).quantile(0.99, dim=1).clamp(min=1e-6)
    return tuple((column * gains / brightest.view(-1, 1, 1, 1)).clamp(0, 1) ** _GAMMA for column in rgb)
