"""Many files through one denoiser: where each result goes, what is done already, and one bad file stops nothing."""

from shotnoise.batch.file import FileReport, Workers
from shotnoise.batch.options import Options, Worker
from shotnoise.batch.places import UsageError
from shotnoise.batch.run import BatchReport, Event, denoise_files

__all__ = ["BatchReport", "Event", "FileReport", "Options", "UsageError", "Worker", "Workers", "denoise_files"]
