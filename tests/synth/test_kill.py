"""`kill -9` at any moment costs at most the calls in flight, and never a byte of the result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("kill_harness.py")
IN_FLIGHT = 8
NOT_YET_STORED = 2 * IN_FLIGHT + 8  # rows in the making: each may have a call in flight, or an answer on its way to disk
KILLS = int(os.environ.get("PICA_KILLS", "54"))  # PICA_KILLS=200 for the long version


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_runs_end_in_the_same_bytes() -> None:
    command = [sys.executable, str(HARNESS), "--kills", str(KILLS), "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False,
                          env={**os.environ, "PYTHONPATH": str(HARNESS.parents[2])})
    assert done.returncode == 0, done.stderr
    rounds = json.loads(done.stdout)
    assert sum(round_["kills"] for round_ in rounds) >= KILLS
    assert {round_["recipe"] for round_ in rounds} == {0, 1, 2}
    assert [round_ for round_ in rounds if not round_["same"]] == []
    assert [round_ for round_ in rounds if round_["again"] > round_["kills"] * NOT_YET_STORED] == []
    assert sum(round_["again"] for round_ in rounds) > 0, "no kill hit a call in flight: the test proves nothing"
