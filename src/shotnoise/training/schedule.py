"""Learning-rate schedules as plain functions of the step."""

import math

from shotnoise.recipe import TrainingOptions

__all__ = ["learning_rate"]


def learning_rate(step: int, options: TrainingOptions) -> float:
    """The learning rate of step number `step`, counted from 0.

    Linear warm-up to `lr`, then constant, a half cosine down to `final_lr`, or a drop by `factor` at each milestone.
    """
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    if options.schedule == "cosine":
        progress = (step - options.warmup) / max(1, options.steps - options.warmup)
        return options.final_lr + (options.lr - options.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    drops = sum(step >= share * options.steps for share in options.milestones)
    return options.lr * float(options.factor) ** drops
