"""Tokens a second of engines in this process: through Pica, and driven directly, in the same run.

    python scripts/bench/in_process.py [--quick] [--engines llamacpp,hf,vllm]

Both sides answer the same prompts with the same sampling and as many requests at a time. They take turns, and the table
shows the median of the rounds and the median of the rounds' ratios, so that other work on the machine falls on both.
vLLM runs where it is installed (`scripts/setup-vllm`, then `.venvs/vllm/bin/python scripts/bench/in_process.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pica.synth.models import Model, ModelConfig, Request, Sampling, open_model
from pica.synth.models.embedded import checkpoint_path, gguf_path
from pica.synth.models.llamacpp import default_slots

TOPICS = ["river", "moon", "king", "engine", "carrot", "violin", "desert", "keyboard", "ocean", "winter", "bridge",
          "novel", "tax", "cat", "enzyme", "planet", "harbour", "wool", "comet", "ladder"]
Tokens = Callable[[], Awaitable[int]]


def prompts(count: int) -> list[str]:
    return [f"<|im_start|>user\nTell me {i + 3} things about a {TOPICS[i % len(TOPICS)]}.<|im_end|>\n"
            "<|im_start|>assistant\n" for i in range(count)]


def through_pica(model: Model, texts: list[str], length: int) -> Tokens:
    async def run() -> int:
        sampling = Sampling(temperature=1.0, max_tokens=length)
        answers = await asyncio.gather(*(
            model.generate(Request(task="complete", prompt=text, seed=i, sampling=sampling))
            for i, text in enumerate(texts)))
        return sum(answer.completion_tokens for (answer,) in answers)
    return run


def llamacpp_directly(texts: list[str], length: int, slots: int) -> tuple[Tokens, Callable[[], None]]:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as Pica sets it: the engine's setting, not Pica's overhead
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_parallel, params.n_ctx = str(gguf_path()), slots, 4096 * slots
    params.verbosity, params.ui, params.cache_prompt, params.cache_ram_mib = 0, False, False, 0
    server, pool = xllamacpp.Server(params), ThreadPoolExecutor(slots)

    def one(i: int) -> int:
        body = {"prompt": texts[i], "max_tokens": length, "seed": i, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
                "min_p": 0.0, "cache_prompt": False}
        return int(server.handle_completions(body)["usage"]["completion_tokens"])

    async def run() -> int:
        return await asyncio.to_thread(lambda: sum(pool.map(one, range(len(texts)))))
    return run, pool.shutdown


def hf_directly(texts: list[str], length: int, rows: int) -> tuple[Tokens, Callable[[], None]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, utils

    utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path(), padding_side="left")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        checkpoint_path(), dtype="auto" if device == "cuda" else torch.float32).to(device)

    def batches() -> int:
        made = 0
        for at in range(0, len(texts), rows):
            inputs = tokenizer(texts[at:at + rows], return_tensors="pt", padding=True).to(device)
            with torch.inference_mode():
                out = model.generate(**inputs, max_new_tokens=length, do_sample=True, temperature=1.0, top_k=0,
                                     top_p=1.0)
            answers = out[:, inputs["input_ids"].shape[1]:]
            made += int((answers != tokenizer.eos_token_id).sum())
        return made

    async def run() -> int:
        return await asyncio.to_thread(batches)
    return run, lambda: None


def vllm_directly(model: Any, texts: list[str], length: int) -> tuple[Tokens, Callable[[], None]]:
    """The same running engine (two would not fit side by side), asked without Pica."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine = next(iter(model._held.values()))[1].engine

    async def one(i: int) -> int:
        params = SamplingParams(temperature=1.0, max_tokens=length, seed=i, output_kind=RequestOutputKind.FINAL_ONLY)
        made = [out async for out in engine.generate({"prompt": texts[i]}, params, f"direct-{time.monotonic_ns()}-{i}")]
        return len(made[-1].outputs[0].token_ids)

    async def run() -> int:
        return sum(await asyncio.gather(*(one(i) for i in range(len(texts)))))
    return run, lambda: None


async def speed(run: Tokens) -> float:
    start = time.perf_counter()
    return await run() / (time.perf_counter() - start)


async def compare(name: str, quick: bool) -> None:
    count, length, rounds = (16, 32, 5) if quick else (32, 96, 9)
    slots = {"llamacpp": default_slots(), "hf": count, "vllm": count}[name]
    texts = prompts(count)
    if name == "llamacpp":
        model = open_model(ModelConfig(name=f"llamacpp/{gguf_path()}", extra={"slots": slots}))
    elif name == "hf":
        model = open_model(ModelConfig(name=f"hf/{checkpoint_path()}", extra={"slots": slots}))
    else:
        model = open_model(ModelConfig(name=f"vllm/{checkpoint_path()}", context=2048))
    pica = through_pica(model, texts, length)
    await through_pica(model, texts[:2], 2)()
    direct, close = (llamacpp_directly(texts, length, slots) if name == "llamacpp" else
                     hf_directly(texts, length, slots) if name == "hf" else vllm_directly(model, texts, length))
    await direct()
    pairs = []
    for turn in range(rounds):
        first, second = (pica, direct) if turn % 2 else (direct, pica)
        one, two = await speed(first), await speed(second)
        pairs.append((one, two) if turn % 2 else (two, one))
    close()
    await model.close()
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    spread = " ".join(f"{a / b:.2f}" for a, b in pairs)
    print(f"{name:9} {slots:5} {count:5} x {length:<4} {ours:9.1f} {theirs:9.1f} {ratio:7.2f}   {spread}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten; the ratios wobble")
    parser.add_argument("--engines", default="llamacpp,hf,vllm")
    given = parser.parse_args()
    needs = {"llamacpp": "xllamacpp", "hf": "transformers", "vllm": "vllm"}
    print("engine    slots requests      pica/s  direct/s   ratio   of each round")
    for name in given.engines.split(","):
        if name not in needs:
            parser.error(f"unknown engine {name!r}; known: {', '.join(needs)}")
        if importlib.util.find_spec(needs[name]) is None:
            print(f"{name:9} not installed here")
            continue
        asyncio.run(compare(name, given.quick))


if __name__ == "__main__":
    main()
