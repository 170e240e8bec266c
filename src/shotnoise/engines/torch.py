"""torch: runs checkpoints and run folders before they are exported; needs the extra `train`.

The only engine below the line where torch is allowed; nothing imports it but the table of engines, by name.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from shotnoise.card import Card
from shotnoise.engines.engine import Array, OutOfMemoryError, check_inputs
from shotnoise.errors import EngineError, ModelError
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import load_with_card

__all__ = ["TorchEngine"]


class TorchEngine:
    """Runs a network of the zoo.

    Args:
        path: a run folder, one of our checkpoints, or an official one that is recognised.
        threads: CPU threads; None leaves it to torch.
        reason: why this engine was chosen.
        network: the architecture, where it cannot be recognised; see :func:`shotnoise.networks.load`.
    """

    card: Card

    def __init__(
        self, path: Path, *, threads: int | None = None, reason: str = "asked for", network: str | None = None
    ) -> None:
        model, card = load_with_card(path, network=network)
        self.card = card or bare_card(model, path)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = model.to(self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._reason = reason
        if threads is not None:
            torch.set_num_threads(threads)

    def run(self, noisy: Array, level: Array | None = None, latent: Array | None = None) -> Array:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        check_inputs(self.card, self.card.name, level, latent)
        # Copies: torch refuses read-only arrays.
        picture, sigma, z = (
            None if values is None else torch.tensor(np.ascontiguousarray(values), device=self._device)
            for values in (noisy, level, latent)
        )
        try:
            with torch.inference_mode():
                clean: Array = self._network(picture, sigma, z).float().cpu().contiguous().numpy()
        except (torch.OutOfMemoryError, MemoryError) as error:
            size = f"{noisy.shape[-2]}x{noisy.shape[-1]}"
            raise OutOfMemoryError(f"no memory for a window of {size} pixels ({error}); use smaller tiles") from None
        except RuntimeError as error:
            if "allocate memory" in str(error):
                raise OutOfMemoryError("torch ran out of memory; use smaller tiles") from None
            raise EngineError(f"the network failed in torch ({str(error).splitlines()[0]})") from None
        if clean.shape != noisy.shape:
            raise ModelError(f"the network turned {noisy.shape} into {clean.shape}; expected the same shape")
        return clean

    def describe(self) -> dict[str, Any]:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        return {
            "engine": "torch",
            "version": torch.__version__,
            "provider": self._device.type,
            "threads": torch.get_num_threads(),
            "precision": self.card.precision,
            "reason": f"{self._reason}; on the {'GPU' if self._device.type == 'cuda' else 'CPU'}",
        }
