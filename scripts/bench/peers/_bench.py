"""What the scripts of peers share: their arguments, the prompts they send, and the line of JSON they print.

Standard library only: each peer runs in an environment of its own (see `setup`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

MODEL = "fake"
MAX_TOKENS = 1024


def arguments(description: str) -> argparse.Namespace:
    """`url` (ends with /v1), `rows`, `in_flight`, `work` (an absolute path to an existing folder)."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--url", required=True, help="base URL of the server, with /v1")
    parser.add_argument("--rows", type=int, required=True, help="calls to make, one a row")
    parser.add_argument("--in-flight", type=int, required=True, help="calls in flight at most")
    parser.add_argument("--work", type=Path, required=True, help="a folder for what the client keeps on disk")
    args = parser.parse_args()
    args.url = args.url.rstrip("/")
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    return args


def prompt(row: int) -> str:
    """The prompt of a row: every one is different, so that no cache answers for another."""
    return f"Write one sentence about the number {row}."


def megabytes(who: int) -> float:
    """The peak resident size of this process, or of the largest of its finished children."""
    peak = resource.getrusage(who).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure(client: str, args: argparse.Namespace, run: Callable[[], int]) -> None:
    """Time `run`, which returns how many rows have an answer; print one line of JSON. Imports come before, untimed."""
    real = os.dup(1)
    os.dup2(2, 1)  # whatever a client prints goes to standard error: standard output is the line of JSON alone
    start = time.perf_counter()
    answered = run()
    seconds = time.perf_counter() - start
    line = {
        "client": client,
        "rows": args.rows,
        "answered": answered,
        "in_flight": args.in_flight,
        "seconds": round(seconds, 3),
        "calls_per_second": round(answered / seconds, 1),
        "peak_rss_mb": round(megabytes(resource.RUSAGE_SELF), 1),
        "peak_rss_of_a_child_mb": round(megabytes(resource.RUSAGE_CHILDREN), 1),
    }
    sys.stdout.flush()
    os.write(real, (json.dumps(line) + "\n").encode())
