"""How a training went, told from what it left in its run folder; torch is not needed for it."""

from shotnoise.summary.judge import Finding, judge
from shotnoise.summary.onward import Command, commands
from shotnoise.summary.page import outcome, to_json
from shotnoise.summary.record import PAGE, RunRecord, is_run, read_run
from shotnoise.summary.write import write_summary

__all__ = [
    "PAGE", "Command", "Finding", "RunRecord", "commands", "is_run", "judge", "outcome", "read_run", "to_json",
    "write_summary",
]  # fmt: skip
