"""A prompt pool of made-up prompts: time and memory of all filters but embeddings, and of its greatest share, languages.

    PYTHONPATH=. python scripts/bench/pool.py [--prompts 100000]

Prompts have 67 words on the whole, of a made-up vocabulary and common English words; one in ten is a copy, or nearly. They are
compared with the tasks that come with Pica by words alone. One process, one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMON = ["the", "of", "and", "to", "in", "is", "that", "it", "for", "was", "on", "are", "with", "as", "at", "be", "this", "have",
          "from", "or", "one", "had", "by", "word", "but", "not", "what", "all", "were", "we", "when", "your", "can", "said"]
LANGUAGES = "[en,und,fr,de,it,es,la,nl,no,ro,pt]"  # what made-up words are taken for: nearly all prompts meet every filter


def write_prompts(path: Path, count: int) -> None:
    """So many prompts with a category, a tenth of them copies of earlier ones, half of those with a word behind."""
    rng = random.Random(0)
    parts = ["".join((rng.choice("bcdfghjklmnprstvw"), rng.choice("aeiou"))) for _ in range(60)]
    vocabulary = ["".join(rng.choices(parts, k=rng.randint(1, 3))) for _ in range(20_000)]
    old: list[str] = []
    with path.open("w") as file:
        for _ in range(count):
            if old and rng.random() < 0.1:
                text = rng.choice(old) + rng.choice(("", " please"))
            else:
                words = min(max(4, int(rng.lognormvariate(3.8, 0.9))), 1500)
                text = " ".join(rng.choice(COMMON) if rng.random() < 0.6 else rng.choice(vocabulary) for _ in range(words))
                old = [*old, text] if len(old) < 5000 else old
            file.write(json.dumps({"prompt": text, "category": rng.choice("abcdef")}) + "\n")


def measure(folder: Path, name: str, *settings: str) -> None:
    """Make a pool; print how it went."""
    one_thread = {key: "1" for key in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "pica", "run", "prompt-pool", f"data={folder / 'prompts.jsonl'}", "held_out=1000",
                    "decontaminate=pica", "embedder=none", *settings, "--out", str(folder / name), "--quiet"],
                   env={**os.environ, **one_thread}, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = json.loads((folder / name / "manifest.json").read_text())["rows"]
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name}: {time.monotonic() - began:.0f} s, {used:.0f} s of CPU, at most {after.ru_maxrss / 2**20:.2f} GB so far; "
          f"{rows['in']:,} in, {rows['out']:,} out, {rows['rejected']}")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=100_000)
    with tempfile.TemporaryDirectory() as folder:
        write_prompts(Path(folder, "prompts.jsonl"), parser.parse_args().prompts)
        measure(Path(folder), "every-filter", f"languages={LANGUAGES}")
        measure(Path(folder), "without-languages", "languages=[]")


if __name__ == "__main__":
    main()
