"""What a run costs as it grows: memory to a million rows, and going on with a run that has ended.

    .venv/bin/python scripts/bench/scale.py            # about ten minutes
    .venv/bin/python scripts/bench/scale.py --quick    # a tenth of everything

Memory is the peak resident size of a process of its own that makes a whole dataset folder (rows, rejects, card, report), one call
a row, answered by a model in the process. The resume is of a run over HTTP against `pica serve-fake`: the folder as it
is (complete), and with its manifest removed, so that every row is made again from the ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from client import server

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

MAKE = """
import asyncio, resource, sys, time
from pathlib import Path
sys.path.insert(0, {peers!r})
sys.argv = ["x", "--url", {url!r}, "--rows", "{rows}", "--in-flight", "256", "--work", {work!r}]
from _bench import arguments
import pica_client as client
from pica.synth.config import RunConfig, parse_config
from pica.synth.recipe import make
args = arguments("x")
teacher = "fake/fixed?text=" + "An+answer+of+some+words.+" * 8 if {url!r} == "fake" else f"openai/fake@{{args.url}}"
config = parse_config(RunConfig, {{"n": args.rows, "teacher": teacher, "concurrency": 256}})
start = time.perf_counter()
outcome = asyncio.run(make(client.Ask(config), Path(args.work) / "dataset"))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
      outcome.manifest["rows"]["out"], outcome.manifest["calls"]["made"] if outcome.fresh else 0)
"""


def make(rows: int, work: Path, url: str = "fake") -> dict[str, Any]:
    """Make the folder in a process of its own: seconds, peak MB, rows, calls."""
    code = MAKE.format(peers=str(HERE / "peers"), url=url, rows=rows, work=str(work))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    seconds, peak, made, calls = (float(word) for word in done.stdout.split()[-4:])
    return {"rows": int(made), "seconds": seconds, "peak_mb": peak, "calls": int(calls)}


def memory(sizes: list[int]) -> list[dict[str, Any]]:
    """The peak at each size, in a fresh folder each."""
    lines = []
    for rows in sizes:
        work = Path(tempfile.mkdtemp(prefix="pica-scale-"))
        try:
            lines.append(make(rows, work))
        finally:
            shutil.rmtree(work)
        print(f"  {lines[-1]['rows']:>10,} rows  {lines[-1]['peak_mb']:>7.0f} MB  {lines[-1]['seconds']:>7.1f} s", flush=True)
    return lines


def resume(rows: int) -> dict[str, Any]:
    """A first run, the complete folder, and the folder without its manifest."""
    work = Path(tempfile.mkdtemp(prefix="pica-scale-"))
    try:
        with server(()) as url:
            first = make(rows, work, url)
            complete = make(rows, work, url)
            (work / "dataset" / "manifest.json").unlink()
            again = make(rows, work, url)
    finally:
        shutil.rmtree(work)
    for name, line in (("first run", first), ("complete", complete), ("without manifest", again)):
        print(f"  {name:<18}{line['seconds']:>8.2f} s  {line['seconds'] / first['seconds']:>7.4f} of the first  "
              f"{line['calls']:>8,} calls", flush=True)
    return {"first": first, "complete": complete, "again": again}


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    print("memory")
    sizes = memory([10_000 // scale, 100_000 // scale, 1_000_000 // scale])
    print(f"resume of {100_000 // scale:,} rows")
    figures = {"memory": sizes, "resume": resume(100_000 // scale)}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
