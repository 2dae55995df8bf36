"""datatrove's InferenceRunner with checkpoints: every answer is kept in its request cache, every chunk on disk.

    .venvs/peer-datatrove/bin/python scripts/bench/peers/datatrove_client.py --url http://127.0.0.1:8000/v1 \
        --rows 2000 --in-flight 256 --work /tmp/datatrove

Its fastest documented way: the `endpoint` server, whose calls to http://127.0.0.1 take its own raw socket client.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable

from _bench import MAX_TOKENS, MODEL, arguments, measure, prompt
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceResult, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter


async def rollout(document: Document, generate: Callable[[dict[str, object]], Awaitable[InferenceResult]]) -> str:
    """One chat call a document."""
    result = await generate({"messages": [{"role": "user", "content": document.text}]})
    return str(result.text)


def run(args: argparse.Namespace) -> int:
    """Run the pipeline and count the answers in what it wrote."""
    config = InferenceConfig(
        server_type="endpoint",
        endpoint_url=args.url.removesuffix("/v1"),
        model_name_or_path=MODEL,
        use_chat=True,
        default_generation_params={"max_tokens": MAX_TOKENS},
        max_concurrent_generations=args.in_flight,
    )
    runner = InferenceRunner(
        rollout_fn=rollout,
        config=config,
        output_writer=JsonlWriter(
            str(args.work / "out"), output_filename="${rank}_${chunk_index}.jsonl", compression=None),
        checkpoints_local_dir=str(args.work / "checkpoints"),
    )
    documents = [Document(text=prompt(row), id=str(row)) for row in range(args.rows)]
    LocalPipelineExecutor(pipeline=[documents, runner], logging_dir=str(args.work / "logs"), tasks=1).run()
    lines = [line for path in (args.work / "out").glob("*.jsonl") for line in path.read_text().splitlines()]
    return sum(bool(json.loads(line)["metadata"]["rollout_results"][0]) for line in lines)


if __name__ == "__main__":
    parsed = arguments(__doc__ or "")
    measure("datatrove", parsed, lambda: run(parsed))
