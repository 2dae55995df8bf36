"""The model card: what data and rows of others are called shows in it and does nothing."""

from __future__ import annotations

import re

from pica.train.card import model_card

HOSTILE = "x`\n\n# Owned <script>alert(1)</script> | y"


def test_hostile_names_do_nothing() -> None:
    source = {"source": HOSTILE, "kind": "json", "split": "train", "rows": 3, "weight": 1.0, "drawn": 3, "fingerprint": "abc"}
    card = model_card(HOSTILE, {
        "model": {"name": f"hf/{HOSTILE}", "identity": "1"}, "config": {"lora": None}, "stage": "sft", "data": [source],
        "rows": {"rejected": {HOSTILE: 1}}, "batch": {"size": 1, "per_device": 1, "accumulation": 1, "processes": 1},
        "loss": {"first": 2, "last": 1}, "steps": 1, "epochs": 1.0, "tokens": 9, "device": "cpu", "precision": "float32",
        "versions": {"pica": "0", "trl": "0"}, "order": "", "goal": HOSTILE})
    body = card.split("---\n", 2)[2]
    escaped = "x\\`\\\\n\\\\n\\# Owned \\<script\\>alert(1)\\</script\\> \\| y"
    assert [line for line in body.splitlines() if line.startswith("#")] == [
        f"# {escaped}", "## Data", "## Training", "## Making it again"]
    assert f"| {escaped} | train | 3 | 1 | 3 | `abc` |  |" in body and f"1 rows were left out: {escaped}." in body
    assert "<script>" not in re.sub(r"`[^`]*`", "", body.replace("\\`", ""))
