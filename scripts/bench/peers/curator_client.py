"""bespokelabs-curator's LLM with its limits lifted by hand: its default without rate headers is 200 calls a minute.

    .venvs/peer-curator/bin/python scripts/bench/peers/curator_client.py --url http://127.0.0.1:8000/v1 \
        --rows 2000 --in-flight 256 --work /tmp/curator

Curator downloads tiktoken's cl100k_base when it starts and ends with a stack trace where it cannot. So that this runs
without a network, tiktoken is replaced by four characters a token, which is cheaper and thus in curator's favour.
Every answer is appended to a file by its `aiofiles` writer, as always. Telemetry and its live display are off.
"""

from __future__ import annotations

import argparse
import os
import sys
import types

os.environ |= {
    "TELEMETRY_ENABLED": "false",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "OPENAI_API_KEY": "none",
}


class Encoding:
    """Four characters a token."""

    def encode(self, text: str, **_: object) -> list[int]:
        """As many numbers as there are tokens."""
        return [0] * (len(text) // 4)


stub = types.ModuleType("tiktoken")
stub.Encoding = Encoding  # type: ignore[attr-defined]
stub.get_encoding = lambda _name: Encoding()  # type: ignore[attr-defined]
stub.encoding_for_model = lambda _name: Encoding()  # type: ignore[attr-defined]
sys.modules["tiktoken"] = stub

from _bench import MAX_TOKENS, MODEL, arguments, measure, prompt  # noqa: E402
from bespokelabs import curator  # noqa: E402
from datasets import Dataset  # noqa: E402


class Asker(curator.LLM):
    """One chat call a row."""

    def prompt(self, row: dict[str, object]) -> str:
        """The prompt stands in the row."""
        return str(row["prompt"])

    def parse(self, row: dict[str, object], response: str) -> dict[str, object]:
        """Keep the answer beside its row."""
        return {"row": row["row"], "text": response}


def run(args: argparse.Namespace) -> int:
    """Ask for every row and count the answers."""
    os.environ["CURATOR_CACHE_DIR"] = str(args.work)
    asker = Asker(
        model_name=MODEL,
        backend="openai",
        generation_params={"max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": args.url,
            "max_requests_per_minute": 10**9,
            "max_tokens_per_minute": 10**12,
            "max_concurrent_requests": args.in_flight,
        },
    )
    answers = asker(Dataset.from_list([{"row": row, "prompt": prompt(row)} for row in range(args.rows)]),
                    working_dir=str(args.work))
    return sum(bool(text) for text in answers.dataset["text"])


if __name__ == "__main__":
    parsed = arguments(__doc__ or "")
    measure("curator", parsed, lambda: run(parsed))
