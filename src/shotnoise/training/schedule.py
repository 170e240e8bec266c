"""Learning-rate schedules as plain functions of the step."""

import math

from shotnoise.errors import RecipeError
from shotnoise.recipe import TrainingOptions

__all__ = ["first_beta", "learning_rate", "neighbor2neighbor_milestones"]


def learning_rate(step: int, options: TrainingOptions) -> float:
    """The learning rate of step number `step`, counted from 0.

    Linear warm-up to `lr`, from the share `warmup_from` of it or else from 1 / `warmup`; then constant, a half cosine
    down to `final_lr`, a drop by `factor` at each milestone, or constant until the last share `ramp` of the training
    and then down to zero as a squared half cosine. With "epochs" it is constant inside an epoch: see :func:`_ramps`.
    """
    if step < options.warmup:
        if options.warmup_from is not None:
            return options.lr * (options.warmup_from + (1 - options.warmup_from) * step / options.warmup)
        return options.lr * (step + 1) / options.warmup
    if options.schedule == "cosine":
        progress = (step - options.warmup) / max(1, options.steps - options.warmup)
        return options.final_lr + (options.lr - options.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    if options.schedule == "rampdown" and options.ramp is not None:
        start = options.steps * (1 - options.ramp)
        progress = max(0.0, (step - start) / (options.steps - start))
        return options.lr * (0.5 + math.cos(math.pi * min(1.0, progress)) / 2) ** 2
    if options.schedule == "epochs":
        up, down = _ramps(step, options)
        return options.lr * up * down
    # Rounded, so that a share of n / epochs falls on the first step of an epoch.
    drops = sum(step >= round(share * options.steps) for share in options.milestones)
    return options.lr * float(options.factor) ** drops


def first_beta(step: int, options: TrainingOptions) -> float:
    """The first beta of Adam at a step: it goes to `final_beta1` as the rate of the schedule "epochs" falls."""
    if options.final_beta1 is None:
        return options.betas[0]
    _, down = _ramps(step, options)
    return down * options.betas[0] + (1 - down) * options.final_beta1


def _ramps(step: int, options: TrainingOptions) -> tuple[float, float]:
    """Up over the first `rise` epochs, exp(-5 (1 - e / rise)^2), and down over the last `fall`, exp(-(d / 2)^2 / fall).

    Here e is the number of the epoch, from 0, and d how far it is into the fall. The rule is that of the published
    code for the MRI experiment of Noise2Noise.
    """
    epochs, rise, fall = options.epochs or 1, options.rise, options.fall
    epoch = step * epochs // options.steps
    up = math.exp(-5 * (1 - epoch / rise) ** 2) if epoch < rise else 1.0
    down = math.exp(-(((epoch - (epochs - fall)) / 2) ** 2) / fall) if fall and epoch >= epochs - fall else 1.0
    return up, down


def neighbor2neighbor_milestones(epochs: int) -> tuple[float, ...]:
    """The shares of a training of `epochs` epochs at which Neighbor2Neighbor halves its learning rate.

    Its rule is int(20 r) - 1, int(40 r) - 1, int(60 r) - 1 and int(80 r) - 1 finished epochs with r = epochs / 100, so
    of 100 epochs counted from 1, number 20 is the first with half the rate.

    >>> neighbor2neighbor_milestones(100)
    (0.19, 0.39, 0.59, 0.79)
    """
    if epochs < 10:
        raise RecipeError(
            f"{epochs} epochs: the rule of Neighbor2Neighbor needs at least 10; state milestones yourself"
        )
    return tuple((int(percent * (epochs / 100)) - 1) / epochs for percent in (20, 40, 60, 80))
