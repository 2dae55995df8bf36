"""Kills a small campaign at one moment after another, each time letting it go on, beside one that is let alone.

    python tests/recipes/campaign_kills.py FOLDER MODEL

Every run is a forked child of this process, which has loaded all packages and used none, so that a trial costs no interpreter's
start. Prints, as JSON, for each moment whether the run was still going when it was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import trl  # noqa: F401  # loads what trainings need
from campaigns import PROMOTES, run, settings
from trl import DPOTrainer, SFTTrainer  # noqa: F401

#: in trainings by both stages; the last four where a model of the campaign's own is the best
MOMENTS = ("pool/config.json", "start/evaluation/config.json", "iterations/01/sft/settings.json",
           "iterations/01/dpo/checkpoints/checkpoint-1/sealed.json", "iterations/01/evaluation/config.json",
           "iterations/01/decision.json", "iterations/02/battles-dpo/config.json", "iterations/02/dpo/metrics.jsonl",
           "iterations/02/evaluation/data")
LONGEST = 900.0  # seconds that a run may take


def main() -> None:
    torch.set_num_threads(1)
    folder, model = Path(sys.argv[1]), Path(sys.argv[2])
    values = settings(folder, model, **PROMOTES)
    killed = {moment: killed_at(lambda: run(values, folder / "killed"), folder / "killed" / moment) for moment in MOMENTS}
    killed_at(lambda: run(values, folder / "killed"), None)
    killed_at(lambda: run(values, folder / "whole"), None)
    print(json.dumps(killed))


def killed_at(work: Callable[[], object], moment: Path | None) -> bool:
    """Do `work` in a process of its own, and kill it once `moment` is there. Whether it was still going."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + LONGEST
    status = 0
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if moment is not None and moment.exists():
            os.kill(child, signal.SIGKILL)
            return os.WIFSIGNALED(os.waitpid(child, 0)[1])
        time.sleep(0.002)
    else:
        os.kill(child, signal.SIGKILL)
        raise SystemExit(f"a campaign took longer than {LONGEST:g} seconds")
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("a campaign failed")
    return False


if __name__ == "__main__":
    main()
