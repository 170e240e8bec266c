"""Measuring denoisers: metrics, protocols with names, and the run that turns them into tables."""

from shotnoise.evaluation.metrics import psnr, quantise, ssim
from shotnoise.evaluation.model import ModelUnderTest
from shotnoise.evaluation.pictures import PADDINGS
from shotnoise.evaluation.protocol import Protocol, find_pictures
from shotnoise.evaluation.protocols import PROTOCOLS, get_protocol
from shotnoise.evaluation.report import Evaluation, PictureScore, read_scores, write_csv, write_json
from shotnoise.evaluation.run import evaluate

__all__ = [
    "PADDINGS",
    "PROTOCOLS",
    "Evaluation",
    "ModelUnderTest",
    "PictureScore",
    "Protocol",
    "evaluate",
    "find_pictures",
    "get_protocol",
    "psnr",
    "quantise",
    "read_scores",
    "ssim",
    "write_csv",
    "write_json",
]
