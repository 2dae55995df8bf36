"""distilabel's TextGeneration over its OpenAI client, its cache on.

    .venvs/peer-distilabel/bin/python scripts/bench/peers/distilabel_client.py --url http://127.0.0.1:8000/v1 \
        --rows 2000 --in-flight 256 --work /tmp/distilabel

A step sends the calls of one batch at once and waits for all of them: the size of a batch is what is in flight.
"""

from __future__ import annotations

import argparse
import os

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

from _bench import MAX_TOKENS, MODEL, arguments, measure, prompt
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def run(args: argparse.Namespace) -> int:
    """Run the pipeline and count the answers."""
    with Pipeline("bench", cache_dir=args.work) as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": prompt(row)} for row in range(args.rows)],
                                 batch_size=args.in_flight)
        ask = TextGeneration(
            llm=OpenAILLM(model=MODEL, base_url=args.url, api_key="none",
                          generation_kwargs={"max_new_tokens": MAX_TOKENS}),
            input_batch_size=args.in_flight,
        )
        load >> ask
    dataset = pipeline.run(use_cache=True)
    return sum(bool(text) for text in dataset["default"]["train"]["generation"])


if __name__ == "__main__":
    parsed = arguments(__doc__ or "")
    measure("distilabel", parsed, lambda: run(parsed))
