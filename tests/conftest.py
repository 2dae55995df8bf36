"""Fixtures for all floors."""

from __future__ import annotations

import pytest
from small import SCRIPTS, Scripted

from pica.synth.models import PROVIDERS


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Makes models out of functions: `config, model = scripted("name", function)`; the config works anywhere."""
    monkeypatch.setitem(PROVIDERS, "scripted", ("small", "open_scripted", "a function of a test"))
    SCRIPTS.clear()
    return Scripted()
