"""What a run of the suite in several processes goes by."""

from __future__ import annotations

from pathlib import Path

import pytest
from parallel import MOST, SLOWEST, cores, memory, pytest_xdist_auto_num_workers, share_cores

ROOT = Path(__file__).resolve().parents[1]


def test_every_file_that_is_said_to_be_slow_is_there() -> None:
    assert [name for name in SLOWEST if not (ROOT / name).is_file()] == []
    assert len(set(SLOWEST)) == len(SLOWEST)


def test_cores_are_shared_and_what_a_user_set_stays() -> None:
    alone: dict[str, str] = {}
    share_cores(alone)
    assert alone == {}
    many = {"PYTEST_XDIST_WORKER_COUNT": "1000", "OMP_NUM_THREADS": "3"}
    share_cores(many)
    assert many == {"PYTEST_XDIST_WORKER_COUNT": "1000", "OMP_NUM_THREADS": "3", "OMP_THREAD_LIMIT": "1"}
    one = {"PYTEST_XDIST_WORKER_COUNT": "1"}
    share_cores(one)
    assert one["OMP_NUM_THREADS"] == one["OMP_THREAD_LIMIT"] == str(cores())


def test_a_single_file_stays_in_one_process(pytestconfig: pytest.Config) -> None:
    assert memory() > 0
    before = pytestconfig.args
    try:
        pytestconfig.args = ["tests/synth/test_run.py::TestRows"]
        assert pytest_xdist_auto_num_workers(pytestconfig) == 0
        pytestconfig.args = ["tests/synth"]
        assert 1 <= pytest_xdist_auto_num_workers(pytestconfig) <= MOST
    finally:
        pytestconfig.args = before
