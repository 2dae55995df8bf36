"""Sampling parameters: what a changed copy stands for in the ledger."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pica.synth.models.base import Sampling


def test_a_changed_copy_has_a_key_of_its_own() -> None:
    greedy = Sampling(temperature=0)
    before = greedy.canonical
    warm = greedy.model_copy(update={"temperature": 0.7, "max_tokens": 5})
    assert warm.canonical == Sampling(temperature=0.7, max_tokens=5).canonical != before
    assert not warm.greedy and greedy.canonical == before


def test_a_changed_copy_is_checked() -> None:
    with pytest.raises(ValidationError, match="temperature"):
        Sampling().model_copy(update={"temperature": -1})
