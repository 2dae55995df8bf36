"""The suite in several processes (`pytest -n auto --dist loadfile --no-loadscope-reorder`, as `scripts/test` runs it): how many,
with how many threads each, and which file first. Nothing here changes a run in one process."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

import pytest

MOST = 4                # processes, however many cores there are
MEMORY = 4 * 1024 ** 3  # bytes that a process may need: a training of the embedded model

#: Files that take longest, the longest first: a process that begins with one at the end would let the others wait for it.
SLOWEST = (
    "tests/recipes/test_flywheel_real.py", "tests/recipes/test_flywheel.py", "tests/train/test_train_run.py",
    "tests/train/test_train_real.py", "tests/train/test_online.py", "tests/test_reproduce_flywheel.py",
    "tests/eval/test_arena.py", "tests/synth/test_salvage.py", "tests/synth/test_window.py", "tests/eval/test_arena_hard.py",
    "tests/test_reproduce.py", "tests/synth/test_run.py", "tests/test_trains.py", "tests/eval/test_audit.py",
    "tests/synth/test_recipe.py", "tests/synth/models/test_local.py", "tests/recipes/test_skillmix.py",
    "tests/synth/test_report_browser.py", "tests/synth/test_kill.py", "tests/synth/test_ledger.py", "tests/test_packaging.py",
    "tests/test_house.py")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory of this machine, or of the container that it is."""
    if sys.platform == "win32":
        return MOST * MEMORY
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return found


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Give each of several processes its share of the cores, before torch and llama.cpp load and take them all: threads that
    spin for one another on cores that are busy otherwise cost far more than they bring."""
    if count := environment.get("PYTEST_XDIST_WORKER_COUNT"):
        threads = str(max(1, cores() // int(count)))
        environment.setdefault("OMP_NUM_THREADS", threads)
        environment.setdefault("OMP_THREAD_LIMIT", threads)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many processes as cores, `MOST` and memory allow; none besides this one for a single file, whose tests stay together."""
    if len(config.args) == 1 and config.args[0].partition("::")[0].endswith(".py"):
        return 0
    return max(1, min(cores(), MOST, memory() // MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the processes of a parallel run, the slowest files come first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        places = {name: place for place, name in enumerate(SLOWEST)}
        items.sort(key=lambda item: places.get(item.location[0], len(places)))


share_cores(os.environ)
