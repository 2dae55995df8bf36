"""The seconds that a training has taken so far, written down beside its checkpoints, and the cap on them.

    checkpoints/work.json      {"seconds": 5.3, "step": 12, "steps": 60}

Attempts that were killed count as well, to within `NOTED` seconds and a step. The file goes with the checkpoints when the
training is complete.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from pica.synth.errors import BudgetSpent, FolderError

NOTED: Final = 10.0  # seconds between two notes, beside the one of every checkpoint
_FILE = Path("checkpoints", "work.json")


class Work(msgspec.Struct, frozen=True):
    """How far a training has come: seconds of all attempts (loading the model included), and the step reached of how many."""

    seconds: float = 0.0
    step: int = 0
    steps: int = 0

    def over(self, cap: float | None) -> BudgetSpent | None:
        """The error that says so where the seconds are more than `cap`; None is no cap."""
        if cap is None or self.seconds <= cap:
            return None
        return BudgetSpent(f"budget.seconds={cap:g} has passed at step {self.step:,} of {self.steps:,} ({self.seconds:,.1f} s of "
                           "training); what is done is kept: raise budget.seconds and give the same command to go on")


def read_work(out: Path) -> Work:
    """How far the training in the folder `out` has come; nothing where none has begun, or where it is complete."""
    try:
        return msgspec.json.decode((out / _FILE).read_bytes(), type=Work)
    except (FileNotFoundError, NotADirectoryError):
        return Work()
    except msgspec.DecodeError as error:
        raise FolderError(f"{out / _FILE} is damaged ({error}); remove it, and seconds are counted from 0") from None


def write_work(out: Path, work: Work) -> None:
    """Write it so that it is there whole or as it was before."""
    file = out / _FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    with part.open("wb") as handle:
        handle.write(msgspec.json.encode(work))
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(file)
