"""Recipe YAML <-> checked values <-> objects. The only place that knows what a recipe looks like.

A recipe names one entry of each table (network, noise, pairs, method) with its options, and says how to train.
Unknown keys are refused with the nearest known one, so that a misspelt option can never be silently ignored.
"""

import hashlib
import importlib.resources
import os
import re
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shotnoise.errors import RecipeError, nearest
from shotnoise.sensor.profile import PlainLoader

__all__ = [
    "Choice", "Recipe", "load_recipe", "packaged_recipes", "parse_override", "plain_yaml", "recipe_text", "scaled",
]  # fmt: skip


# Pairs that come with their noise, or have none.
_WITHOUT_NOISE = ("camera-pairs", "invented-cameras", "kspace", "mixed", "stored")


class _Loader(PlainLoader):
    """Plain values, for which 1e-4 is a number, as in every other language, and not a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(BaseModel):
    """An entry of a table and its options: ``{name: gaussian, sigma: 25}``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class TrainingOptions(_Strict):
    """How long, how fast, how precise."""

    steps: int = Field(gt=0, description="optimiser steps in all")
    batch: int = Field(default=16, gt=0, description="samples per step and process")
    optimizer: Literal["adam", "adamw"] = Field(default="adamw", description="the second keeps weight decay apart")
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="of Adam: how long its means remember")
    eps: float = Field(default=1e-8, gt=0, description="what Adam adds to the root of its second moment")
    weight_decay: float = Field(default=0.0, ge=0, description="adam: added to the gradient; adamw: apart from it")
    schedule: Literal["constant", "cosine", "multistep", "rampdown", "epochs"] = Field(
        default="cosine", description="how the rate falls; the keys below say for which of them they are"
    )
    warmup: int = Field(default=0, ge=0, description="steps of linear rise to lr, the first of them already above zero")
    warmup_from: float | None = Field(
        default=None, gt=0, lt=1, description="share of lr at the first step, lr being that of step `warmup`"
    )
    final_lr: float = Field(default=0.0, ge=0, description="where the cosine ends")
    milestones: tuple[float, ...] = Field(default=(), description="multistep: shares of the training where lr drops")
    factor: float = Field(default=0.5, gt=0, lt=1, description="multistep: what lr is multiplied with")
    ramp: float | None = Field(default=None, gt=0, le=1, description="rampdown: share of the training that it takes")
    epochs: int | None = Field(default=None, gt=0, description="epochs: equal parts with a constant rate")
    rise: int = Field(default=0, ge=0, description="epochs: how many of the first ones have a rising rate")
    fall: int = Field(default=0, ge=0, description="epochs: how many of the last ones have a falling rate")
    final_beta1: float | None = Field(default=None, ge=0, lt=1, description="where the first beta goes in the fall")
    clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    clip_by: Literal["all", "tensor"] = Field(
        default="all", description="whether that is the norm over all weights, or over each tensor of weights by itself"
    )
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of the averaged weights, which are kept")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="of convolutions and products; always fp32 on a CPU without instructions for bf16"
    )
    quantise: Literal["int8"] | None = Field(
        default=None, description="int8: train with weights and inputs of convolutions rounded as int8 will round them"
    )
    float_layers: tuple[str, ...] = Field(
        default=(), description="quantise: convolutions, or modules with all theirs, that are not rounded"
    )
    frozen_ranges: float = Field(
        default=0.25, ge=0, lt=1, description="quantise: last share of the training, in which ranges stay as they are"
    )
    channels_last: bool = Field(default=True, description="memory layout; faster on CPUs and on tensor cores")
    workers: int = Field(default=0, ge=0, description="processes that prepare samples; 0: the training process does")

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingOptions":
        if self.milestones and self.schedule != "multistep":
            raise ValueError(f"milestones need schedule: multistep, but schedule is {self.schedule}")
        if self.schedule == "multistep" and not self.milestones:
            raise ValueError("schedule: multistep needs milestones, for instance [0.5, 0.75]")
        if any(not 0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones {list(self.milestones)} are shares of the training, each between 0 and 1")
        if self.final_lr and self.schedule != "cosine":
            raise ValueError(f"final_lr needs schedule: cosine, but schedule is {self.schedule}")
        if self.factor != 0.5 and self.schedule != "multistep":
            raise ValueError(f"factor needs schedule: multistep, but schedule is {self.schedule}")
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {list(self.betas)} are two numbers from 0 up, below 1, for instance [0.9, 0.999]")
        if self.ramp is not None and self.schedule != "rampdown":
            raise ValueError(f"ramp needs schedule: rampdown, but schedule is {self.schedule}")
        if self.schedule == "rampdown" and self.ramp is None:
            raise ValueError("schedule: rampdown needs ramp, the share of the training that it takes, for instance 0.3")
        if self.schedule != "epochs" and (self.epochs or self.rise or self.fall or self.final_beta1 is not None):
            raise ValueError(f"epochs, rise, fall and final_beta1 need schedule: epochs, but it is {self.schedule}")
        if self.schedule == "epochs" and (self.epochs is None or self.epochs > self.steps):
            raise ValueError("schedule: epochs needs epochs, how many there are in all, at most one per step")
        if self.schedule == "epochs" and self.epochs is not None and self.rise + self.fall > self.epochs:
            raise ValueError(f"rise {self.rise} and fall {self.fall} are more than the {self.epochs} epochs")
        if self.final_beta1 is not None and not self.fall:
            raise ValueError("final_beta1 needs fall, the epochs in which it is reached")
        if self.warmup_from is not None and not self.warmup:
            raise ValueError("warmup_from needs warmup, the number of steps of the rise")
        if self.clip_by != "all" and self.clip is None:
            raise ValueError("clip_by needs clip, the largest norm of the gradient")
        if self.quantise is None and (self.float_layers or self.frozen_ranges != 0.25):
            raise ValueError("float_layers and frozen_ranges need quantise: int8")
        if self.quantise is not None and self.precision != "fp32":
            raise ValueError(
                f"quantise: {self.quantise} needs precision: fp32, but it is {self.precision}, whose own rounding is "
                "not that of int8 and would be learned instead"
            )
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} must be shorter than steps {self.steps}")
        return self


class ValidationOptions(_Strict):
    """Pictures held out of the training data, and what is done with them."""

    share: float = Field(default=0.05, gt=0, lt=1, description="of the pictures, chosen by a hash of their names")
    every: int = Field(default=1000, gt=0, description="steps between validations and checkpoints")
    samples: int = Field(default=24, gt=0, description="the same ones every time")
    crop: int = Field(default=192, gt=0, description="side of the samples; MRI slices are whole")
    noise: Choice | None = Field(default=None, description="None: the training noise")
    best: Literal["psnr", "ssim"] = Field(default="psnr", description="by which score the best weights are chosen")


class CardText(_Strict):
    """What only a person can say about the model."""

    title: str = ""
    noise: str = ""
    trained_on: tuple[str, ...] = Field(default=(), description="data and licences; empty: the folders used")
    limits: tuple[str, ...] = ()
    licence: str = ""


class Recipe(_Strict):
    """One training, whole."""

    name: str = Field(description="of the recipe, for the card of the model")
    title: str = Field(default="", description="what it is for, in a line")
    network: Choice = Field(description="which one, and the arguments of its constructor")
    noise: Choice | None = Field(
        default=None, description="what is added to the pictures; null only where they are noisy already"
    )
    pairs: Choice = Field(default=Choice(name="clean"), description="what a sample is: {name: clean} without it")
    method: Choice = Field(
        default=Choice(name="supervised"), description="from samples to a loss: {name: supervised} without it"
    )
    training: TrainingOptions = Field(description="how long, how fast, how precise")
    validation: ValidationOptions = Field(
        default=ValidationOptions(), description="pictures that are held out, and what is done with them"
    )
    card: CardText = Field(default=CardText(), description="what only a person can say about the model")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of weights, samples and noise")
    data: tuple[str, ...] = Field(default=(), description="stores or folders of pictures; --data fills it")
    start_from: str | None = Field(
        default=None, description="run, file or bundled model whose weights are the first ones"
    )

    @model_validator(mode="after")
    def _has_noise(self) -> "Recipe":
        without = self.pairs.name in _WITHOUT_NOISE or not self.pairs.options.get("simulate", True)
        if self.noise is None and not without:
            raise ValueError(
                "noise is missing, for instance {name: gaussian, sigma: 25}; only pictures that are noisy already "
                "(pairs.simulate: false) need none"
            )
        return self

    def to_yaml(self) -> str:
        """The recipe with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def sha256(self) -> str:
        """Fingerprint of what was asked for; where the data and the first weights lie does not change it."""
        stated = self.model_dump_json(exclude_defaults=True, exclude={"data", "start_from"})
        return hashlib.sha256(stated.encode()).hexdigest()


def packaged_recipes() -> dict[str, Traversable]:
    """Name -> file of the recipes that come with shotnoise, sorted."""

    def walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
        for item in folder.iterdir():
            if item.is_dir():
                yield from walk(item, f"{prefix}{item.name}/")
            elif item.name.endswith(".yaml"):
                yield prefix + item.name.removesuffix(".yaml"), item

    return dict(sorted(walk(importlib.resources.files("shotnoise") / "recipes", "")))


def recipe_text(name: str | os.PathLike[str]) -> str:
    """The YAML of a packaged recipe or of a file."""
    packaged = packaged_recipes()
    if str(name) in packaged:
        return packaged[str(name)].read_text(encoding="utf-8")
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot read this recipe ({error})") from None
    raise RecipeError(f"no recipe '{name}': {nearest(str(name), packaged)}; or give the path of a .yaml file")


def load_recipe(
    name: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    data: Sequence[str | os.PathLike[str]] = (),
    start_from: str | os.PathLike[str] | None = None,
) -> Recipe:
    """Read and check a recipe.

    Args:
        name: a packaged recipe, or the path of a YAML file.
        overrides: "training.steps=100" and the like, applied before checking.
        data: stores or folders of pictures, in place of what the recipe says.
        start_from: run, file or bundled model whose weights are the first ones, likewise.
    """
    try:
        content = plain_yaml(recipe_text(name))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise RecipeError(f"{name}{where}: not a plain YAML recipe ({problem})") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{name}: a recipe is a YAML mapping with network, noise, training ...")
    for override in overrides:
        keys, value = parse_override(override)
        place = content
        for key in keys[:-1]:
            below = place.setdefault(key, {})
            if not isinstance(below, dict):
                raise RecipeError(f"--set {override}: '{key}' holds a value, not options")
            place = below
        place[keys[-1]] = value
    if data:
        content["data"] = [str(item) for item in data]
    if start_from is not None:
        content["start_from"] = str(start_from)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{name}: {_first_problem(error)}") from None


def scaled(recipe: Recipe, devices: int) -> Recipe:
    """The same training on several devices: as many samples in all, and as large a batch for every learning rate.

    Each device keeps the batch of the recipe, so all of them together see `devices` times as many samples per step.
    Steps are divided by that, learning rates multiplied with it. What is counted in steps (warm-up, validation) or
    decays per step (averaged weights) follows; milestones are shares of the training already.

    >>> four = scaled(load_recipe("invdn/sidd"), 4).training
    >>> four.batch, four.steps, four.lr
    (14, 150000, 0.0008)
    """
    if devices < 1:
        raise RecipeError(f"devices is {devices}; expected the number of processes, 1 or more")
    training = recipe.training

    def fewer(steps: int) -> int:
        return max(1, round(steps / devices))

    def faster(rate: float) -> float:
        return float(f"{devices * rate:.12g}")  # 3 times 2e-4 is 6e-4, not 6.000000000000001e-4

    content = recipe.model_dump(exclude_unset=True)
    content["validation"] = content.get("validation", {}) | {"every": fewer(recipe.validation.every)}
    changes = content["training"]
    changes |= {"steps": fewer(training.steps), "lr": faster(training.lr)}
    if training.final_lr:
        changes["final_lr"] = faster(training.final_lr)
    if training.warmup:
        changes["warmup"] = fewer(training.warmup)
    if training.ema is not None:
        changes["ema"] = training.ema**devices
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{recipe.name} on {devices} devices: {_first_problem(error)}") from None


def plain_yaml(text: str) -> Any:
    """Values in YAML, as recipes are written; nothing is executed.

    >>> plain_yaml("{name: poisson-gaussian, k: 1e-3, s2: 1.5e-6}")
    {'name': 'poisson-gaussian', 'k': 0.001, 's2': 1.5e-06}
    """
    return yaml.load(text, _Loader)  # noqa: S506  # which is a safe one


def parse_override(text: str) -> tuple[list[str], Any]:
    """'training.steps=100' -> (['training', 'steps'], 100).

    >>> parse_override("noise.sigma=[5, 50]")
    (['noise', 'sigma'], [5, 50])
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"--set {text}: expected KEY=VALUE, for instance training.steps=100")
    try:
        return key.split("."), plain_yaml(value)
    except yaml.YAMLError:
        raise RecipeError(f"--set {text}: '{value}' is not a YAML value") from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        model: Any = Recipe
        for part in place[:-1]:
            model = model.model_fields[part].annotation
        return f"unknown key '{'.'.join(place)}': {nearest(place[-1], model.model_fields)}"
    if first["type"] == "model_type":
        example = "{steps: 1000}" if place[0] == "training" else "{name: NAME, OPTION: VALUE}"
        return f"{'.'.join(place)} is {first['input']}; expected options with their values, as in {example}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(place)}: {message}" if place else message
