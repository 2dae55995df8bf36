"""Fixtures for all floors."""

from __future__ import annotations

import gc
import sys
import time
from contextlib import suppress

import pytest
from parallel import pytest_collection_modifyitems, pytest_xdist_auto_num_workers  # noqa: F401  # hooks
from small import SCRIPTS, Clock, Scripted

from pica.synth.models import PROVIDERS

with suppress(ImportError):  # there is no hypothesis in the environment that scripts/setup-vllm makes
    import hypothesis_profiles  # noqa: F401


def pytest_runtest_setup() -> None:
    """Where the packages of trainings are loaded, a search for garbage takes a second, and every training makes two: what has
    stayed until now is left out of them."""
    if "trl" in sys.modules and not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Makes models out of functions: `config, model = scripted("name", function)`; the config works anywhere."""
    monkeypatch.setitem(PROVIDERS, "scripted", ("small", "open_scripted", "a function of a test"))
    SCRIPTS.clear()
    return Scripted()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that everything in this process reads, the event loop included."""
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made
