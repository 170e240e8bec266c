"""Measuring denoisers: metrics, protocols with names, the run that turns them into tables, and submissions."""

from shotnoise.evaluation.challenges import CHALLENGES, open_challenge
from shotnoise.evaluation.model import ModelUnderTest
from shotnoise.evaluation.pictures import PADDINGS
from shotnoise.evaluation.protocol import Protocol, find_pictures
from shotnoise.evaluation.protocols import PROTOCOLS, get_protocol
from shotnoise.evaluation.report import Evaluation, PictureScore, check_result, read_scores, write_csv, write_json
from shotnoise.evaluation.run import evaluate
from shotnoise.evaluation.submission import Submission, submit
from shotnoise.metrics import METRICS, Metrics, luma, psnr, quantise, ssim

__all__ = [
    "CHALLENGES",
    "METRICS",
    "PADDINGS",
    "PROTOCOLS",
    "Evaluation",
    "Metrics",
    "ModelUnderTest",
    "PictureScore",
    "Protocol",
    "Submission",
    "check_result",
    "evaluate",
    "find_pictures",
    "get_protocol",
    "luma",
    "open_challenge",
    "psnr",
    "quantise",
    "read_scores",
    "ssim",
    "submit",
    "write_csv",
    "write_json",
]
