"""The recipe's prompt files, and the examples of `create.txt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import yaml

from pica.synth.prompts import Prompt

HERE = Path(__file__).parent / "prompts"
PROMPTS = {path.stem: Prompt.load(path) for path in sorted(HERE.glob("*.txt"))}
EXAMPLES: list[dict[str, Any]] = yaml.safe_load((HERE / "examples.yaml").read_text(encoding="utf-8"))


def examples() -> str:
    """The examples as `create.txt` shows them."""
    return "\n".join(
        f"\nKind of request: {one['query_type']}. Skills: {', '.join(one['skills'])}.\n"
        + orjson.dumps({"instruction": one["instruction"].strip(), "response": one["response"].strip()}).decode()
        for one in EXAMPLES)


def hashes() -> dict[str, str]:
    """A content hash of every prompt, for the manifest."""
    return {**{name: prompt.hash for name, prompt in PROMPTS.items()}, "examples": Prompt(examples()).hash}
