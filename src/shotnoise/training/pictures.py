"""A few held-out samples beside each other, for TensorBoard and for the summary, after every validation."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from shotnoise.summary.samples import Samples, write_samples
from shotnoise.training.task import Task, psnrs

__all__ = ["Pictures", "grid"]

_SIDE = 96  # pixels of a sample that are shown
_COLUMNS = ("noisy", "result", "clean")
_SAMPLES = 3
_GAMMA = 1 / 2.2


class Pictures(Callback):
    """Noisy, result and, where it is known, clean: one row per sample, the middle of each.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand them to TensorBoard, and leave them in the run folder with their scores."""
        if not isinstance(pl_module, Task) or trainer.sanity_checking:
            return
        picture = grid(pl_module.shown)
        if trainer.logger is not None:
            writer = trainer.logger.experiment  # type: ignore[attr-defined]  # TensorBoard's
            writer.add_image("noisy, result, clean", picture, trainer.global_step)
        columns = pl_module.shown
        write_samples(
            self.folder,
            (255 * picture).round().byte().permute(1, 2, 0).numpy(),
            Samples(
                step=trainer.global_step,
                rows=min(_SAMPLES, len(columns[0])),
                columns=_COLUMNS[: len(columns)],
                psnr=_scores(columns) if len(columns) == len(_COLUMNS) else (),
                noisy_psnr=pl_module.noisy_psnr,
            ),
        )


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
    return torch.cat(list(rows), dim=1).nan_to_num(0.0).clamp(0, 1)


def _scores(columns: tuple[Tensor, ...]) -> tuple[tuple[float, ...], ...]:
    """PSNR of noisy and result in dB, of whole samples, for each row."""
    clean = columns[-1][:_SAMPLES].detach().float()
    scores = [psnrs(column[:_SAMPLES].detach().float(), clean) for column in columns[:-1]]
    return tuple(zip(*scores, strict=True))


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
