"""How onnxruntime is told to use TensorRT: precision, range of window sizes, and where compiled engines are kept.

TensorRT compiles a model for one GPU, for minutes, and for a stated range of input sizes. One range serves all windows
that tiling makes, and what was compiled is kept in the cache folder, in a folder that depends on the content of the
model, the precision and the versions; onnxruntime itself tells GPUs apart in the names of the files.
"""

import hashlib
import importlib.metadata

from shotnoise import __version__
from shotnoise.engines.cache import cache_folder, make_folder
from shotnoise.engines.onnx_file import OnnxFile

__all__ = ["compiled", "fits", "most_pictures", "provider_options"]

_OPTIMAL = (1024, 2048)  # the usual window: as many pixels as tiling gives one
_LARGEST = (2048, 8192)  # strips over the whole width of large pictures included; more needs more GPU memory
_WORKSPACE = 4 << 30  # bytes that a layer may use for itself; a limit, not an allocation


def provider_options(file: OnnxFile, half: bool, version: str) -> dict[str, str]:
    """The options of the provider.

    Args:
        file: the model; one in int8 is calculated so.
        half: whether the rest, or all of it, may be fp16.
        version: of onnxruntime.
    """
    options = {
        "trt_max_workspace_size": str(_WORKSPACE),
        "trt_fp16_enable": str(half),
        "trt_int8_enable": str(file.card.precision == "int8"),  # its scales are in the file: no calibration table
        "trt_layer_norm_fp32_fallback": str(half),  # squares of features overflow fp16
    }
    if file.free:
        options |= {f"trt_profile_{name}_shapes": shapes for name, shapes in _profile(file).items()}
    engines, timings = make_folder(*_place(file, half, version)), make_folder("tensorrt")
    if engines is not None and timings is not None:
        options |= {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(engines),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(timings),
        }
    return options


def compiled(file: OnnxFile, half: bool, version: str) -> bool:
    """Whether the cache has an engine of this model, so that it starts within seconds."""
    try:
        return any(cache_folder().joinpath(*_place(file, half, version)).glob("*.engine"))
    except (OSError, RuntimeError):
        return False


def fits(file: OnnxFile, height: int, width: int) -> bool:
    """Whether a window lies in the range that the engine is compiled for."""
    highest, widest = _largest(file)
    return not file.free or (height <= highest and width <= widest)


def most_pictures(file: OnnxFile) -> int:
    """Pictures in one run: the three colours for a gray model."""
    return 3 if file.card.channels == 1 else 1


def _place(file: OnnxFile, half: bool, version: str) -> tuple[str, str]:
    try:
        tensorrt = importlib.metadata.version("tensorrt")
    except importlib.metadata.PackageNotFoundError:
        tensorrt = ""  # installed beside Python; the names of the files have its version too
    facts = "\n".join((__version__, file.sha256, str(half), version, tensorrt))
    return "tensorrt", hashlib.sha256(facts.encode()).hexdigest()[:32]


def _largest(file: OnnxFile) -> tuple[int, int]:
    highest, widest = (side - side % file.card.multiple for side in _LARGEST)
    return highest, widest


def _profile(file: OnnxFile) -> dict[str, str]:
    """Shapes of all inputs, smallest, usual and largest, as `name:1x3x8x8,...`."""
    card, step = file.card, file.card.multiple
    most = most_pictures(file)
    optimal = tuple(side - side % step for side in _OPTIMAL)
    sizes = {"min": (1, (step, step)), "opt": (most, optimal), "max": (most, _largest(file))}
    profile = {}
    for name, (pictures, free) in sizes.items():
        height, width = card.size or free
        shapes = {"noisy": (pictures, card.channels, height, width)}
        if card.level == "sigma":
            shapes["level"] = shapes["noisy"] if card.level_map else (pictures, 1, 1, 1)
        if card.latent is not None:
            reduction = card.latent.reduction
            shapes["z"] = (pictures, card.latent.channels, height // reduction, width // reduction)
        profile[name] = ",".join(f"{key}:{'x'.join(map(str, shape))}" for key, shape in shapes.items())
    return profile
