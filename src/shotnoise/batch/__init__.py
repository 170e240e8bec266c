"""Many files through one denoiser: where each result goes, what is done already, and one bad file stops nothing."""

from shotnoise.batch.places import UsageError
from shotnoise.batch.run import BatchReport, Event, denoise_files
from shotnoise.batch.work import FileReport, Options, Worker

__all__ = ["BatchReport", "Event", "FileReport", "Options", "UsageError", "Worker", "denoise_files"]
