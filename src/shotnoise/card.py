"""The card: what a model says about itself, carried inside its file.

An ``.onnx`` file holds it as JSON under the metadata key :data:`CARD_KEY`, a ``.safetensors`` checkpoint in its
header under the same key. There is no sidecar to lose.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shotnoise.errors import ModelError

__all__ = ["CARD_KEY", "Card", "Latent", "LevelLoss", "Parity", "Quantisation", "Score", "Transform"]

CARD_KEY = "shotnoise.card"


class Score(BaseModel):
    """One measured number: what `shotnoise evaluate` printed for a protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    psnr: float = Field(description="dB, mean over the pictures")
    ssim: float
    noisy_psnr: float = Field(description="dB of the input, to see the gain")


class Transform(BaseModel):
    """The k-Sigma transform of a RAW model, in the numbers of :class:`shotnoise.sensor.law.KSigma`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gain: float = Field(default=1.0, gt=0)
    offset: float = 0.0
    root: bool = False


class Latent(BaseModel):
    """The random input of a model that samples: standard normal, (N, channels, H / reduction, W / reduction)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(ge=1)
    reduction: int = Field(ge=1)


class Parity(BaseModel):
    """How near the file is to the network that it was made from, measured when it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    difference: float = Field(ge=0, description="largest absolute difference to torch, in units of the picture")
    psnr: float = Field(description="dB, the result of the file against that of torch on noisy pictures")
    loss: float = Field(description="largest change of PSNR against the clean pictures, dB; positive is worse")
    pictures: str = Field(description="what the pictures were, in words")


class LevelLoss(BaseModel):
    """What quantisation costs at one noise level."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(ge=0, description="noise standard deviation, in units of 0..1")
    loss: float = Field(description="dB of PSNR against the fp32 file; positive is worse")


class Quantisation(BaseModel):
    """How an int8 file was made, and down to which noise it may be trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Literal["nncf", "onnxruntime"]
    source_sha256: str = Field(default="", description="of the fp32 file it was made from; empty: not from a file")
    float_layers: list[str] = Field(default_factory=list, description="convolutions that stay in float")
    losses: list[LevelLoss] = Field(default_factory=list, description="measured on the calibration's held-out pictures")
    lowest: float = Field(
        default=0.0, ge=0, description="noise level, in units of 0..1, from which the loss is within the budget; 0: all"
    )


class Card(BaseModel):
    """Everything needed to run a model properly and to judge whether to trust it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: str
    title: str = ""
    kind: Literal["rgb", "gray", "raw", "mri"]
    channels: int = Field(ge=1, description="channels of input and output")
    level: Literal["none", "sigma"] = Field(
        default="none",
        description="'sigma': the model takes the noise standard deviation, in units of the picture, as input `level`",
    )
    latent: Latent | None = Field(default=None, description="of a model that samples: its random input `z`")
    k_sigma: Transform | None = Field(
        default=None, description="of a RAW model: what is done with normalised counts before it sees them"
    )
    noise: str = Field(default="", description="the noise it was trained for, in words")
    sigma_range: tuple[float, float] | None = Field(
        default=None, description="noise standard deviations seen in training, in units of 0..1"
    )
    multiple: int = Field(default=1, ge=1, description="height and width must be multiples of this")
    halo: int | None = Field(
        default=0,
        description="pixels of context a tile needs on each side for an exact result; None: the network looks "
        "at the whole picture, so tiling changes the result",
    )
    size: tuple[int, int] | None = Field(
        default=None, description="height and width that the file is fixed to; None: any multiple"
    )
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    parity: Parity | None = Field(default=None, description="the file against torch; None: not measured")
    quantisation: Quantisation | None = Field(default=None, description="of an int8 file: how it was made")
    network: str = Field(default="", description="name in `shotnoise networks`")
    arguments: dict[str, Any] = Field(default_factory=dict, description="constructor arguments of the network")
    parameters: int = 0
    recipe: str = Field(default="", description="name of the training recipe")
    recipe_sha256: str = ""
    trained_on: list[str] = Field(default_factory=list, description="training data and its licence, one line each")
    scores: list[Score] = Field(default_factory=list)
    limits: list[str] = Field(default_factory=list, description="what it should not be used for")
    licence: str = ""
    made_with: str = Field(default="", description="shotnoise version that made the file")

    @property
    def level_map(self) -> bool:
        """Whether the level is a map, (N, channels, H, W), as the noise of RAW asks for; else it is (N, 1, 1, 1).

        Behind the root of the k-Sigma transform RAW has one level too.
        """
        return self.level == "sigma" and self.kind == "raw" and not (self.k_sigma is not None and self.k_sigma.root)

    @model_validator(mode="after")
    def _latent_divides(self) -> Self:
        if self.latent is not None and self.multiple % self.latent.reduction:
            raise ValueError(f"multiple {self.multiple} is none of the latent reduction {self.latent.reduction}")
        return self

    @classmethod
    def parse(cls, text: str | bytes, source: str) -> "Card":
        """Read a card from JSON; `source` names the file in the error message."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the card"
            raise ModelError(
                f"{source}: its card is not usable ({where}: {first['msg']}); export the model again with this version"
            ) from None

    def to_json(self) -> str:
        """The card as JSON, for the model file."""
        return self.model_dump_json()
