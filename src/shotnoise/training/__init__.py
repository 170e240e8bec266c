"""Recipe -> trained network: one loop for all methods, on Lightning's Trainer."""

from shotnoise.training.run import Run, train

__all__ = ["Run", "train"]
