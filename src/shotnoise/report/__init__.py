"""Can this result be trusted? A noisy picture and what a denoiser made of it, compared."""

from shotnoise.report.judge import VERDICTS, Finding
from shotnoise.report.report import Report, Source, Truth, compare
from shotnoise.report.sure import ErrorEstimate, Restore

__all__ = ["VERDICTS", "ErrorEstimate", "Finding", "Report", "Restore", "Source", "Truth", "compare"]
