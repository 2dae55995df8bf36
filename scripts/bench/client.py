"""How many calls a second Pica's client makes, beside the bare transport and other tools, side by side in one run.

    scripts/bench/peers/setup                                # once: installs the other tools, each in its own environment
    .venv/bin/python scripts/bench/client.py                 # every scenario, every client
    .venv/bin/python scripts/bench/client.py --only instant --clients pica,bare_aiohttp

The server is `pica serve-fake` in a process of its own. Each client gets a fresh server and a fresh folder. Prints a table a
scenario and, with --json FILE, writes all figures. `rows/s` is of the whole command, with everything that it writes;
`calls/s` is rows over the time from the server's first request to its last, and is what is compared with the ideal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ANSWER = "A sentence of eight words stands here again. " * 17  # about 800 characters


@dataclass(frozen=True)
class Scenario:
    """What the server does, and how hard it is pressed. `ideal`: rows a second that no client could beat."""

    name: str
    rows: int
    in_flight: int
    server: tuple[str, ...] = ()
    ideal: float | None = None
    clients: tuple[str, ...] = ()  # all, when empty


PEERS = ("bare_aiohttp", "pica", "datatrove", "curator", "distilabel")
SCENARIOS = (
    Scenario("instant", 20_000, 256),
    Scenario("50ms", 20_000, 100, ("--latency", "0.05"), 2000.0, ("bare_aiohttp", "pica", "datatrove", "curator")),
    Scenario("stragglers", 20_000, 100, ("--latency", "0.05", "--stragglers", "0.02:3"), 100 / (0.98 * 0.05 + 0.02 * 3),
             ("bare_aiohttp", "pica", "datatrove", "curator")),
    Scenario("errors", 20_000, 100, ("--latency", "0.05", "--error-500", "0.05"), 2000.0 * 0.95, ("pica", "curator")),
    Scenario("limiter", 1_000, 100, ("--latency", "0.05", "--rate", "100"), 1000 / 9.05, ("pica", "curator")),
)


def interpreter(client: str) -> Path:
    """The Python that has the client."""
    own = {"bare_aiohttp": ".venv", "pica": ".venv"}.get(client, f".venvs/peer-{client}")
    return ROOT / own / "bin" / "python"


@contextlib.contextmanager
def server(options: tuple[str, ...]) -> Iterator[str]:
    """A fresh fake server; its base URL."""
    command = [sys.executable, "-m", "pica", "serve-fake", "--port", "0", "--brain", "fixed", "--text", ANSWER, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def run(client: str, scenario: Scenario, url: str, timeout: float) -> dict[str, Any]:
    """One client through one scenario: its line of JSON and what the server saw."""
    work = Path(tempfile.mkdtemp(prefix="pica-bench-"))
    script = HERE / "peers" / (f"{client}.py" if client == "bare_aiohttp" else f"{client}_client.py")
    command = [str(interpreter(client)), str(script), "--url", url, "--rows", str(scenario.rows), "--in-flight",
               str(scenario.in_flight), "--work", str(work)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})
        line: dict[str, Any] = (json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout.strip()
                                else {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1][:200]})
    except subprocess.TimeoutExpired:
        line = {"failed": f"not done in {timeout:.0f} s"}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        line["server"] = json.load(answer)
    return line


def show(scenario: Scenario, lines: dict[str, dict[str, Any]]) -> None:
    """The table of one scenario, as ratios to Pica."""
    own = lines.get("pica", {}).get("calls_per_second")
    print(f"\n{scenario.name}: {scenario.rows:,} rows, {scenario.in_flight} in flight, server "
          f"{' '.join(scenario.server) or 'instant'}" + (f", ideal {scenario.ideal:,.0f}/s" if scenario.ideal else ""))
    print(f"  {'client':<14}{'rows/s':>9}{'seconds':>9}{'pica is':>10}{'calls/s':>9}{'of ideal':>10}{'refused':>9}"
          f"{'peak MB':>9}")
    for client, line in lines.items():
        if "failed" in line:
            print(f"  {client:<14}{line['failed']}")
            continue
        speed = line["calls_per_second"]
        times = f"{own / speed:.2f}x" if own else ""
        calls = line["rows"] / max(line["server"]["last"] - line["server"]["first"], 1e-9)
        share = f"{calls / scenario.ideal:.2f}" if scenario.ideal else ""
        print(f"  {client:<14}{speed:>9,.0f}{line['seconds']:>9.2f}{times:>10}{calls:>9,.0f}{share:>10}"
              f"{line['server'].get('refused', 0):>9,}{line['peak_rss_mb']:>9.0f}")


def main() -> None:
    """All scenarios that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="scenarios, separated by commas")
    parser.add_argument("--clients", default="", help="clients, separated by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of rows")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one client")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    only, clients = set(filter(None, options.only.split(","))), tuple(filter(None, options.clients.split(",")))
    figures = {}
    for scenario in SCENARIOS:
        if only and scenario.name not in only:
            continue
        scaled = Scenario(**{**scenario.__dict__, "rows": max(100, int(scenario.rows * options.scale))})
        lines = {}
        for client in clients or scenario.clients or PEERS:
            if not interpreter(client).exists():
                lines[client] = {"failed": "not installed: run scripts/bench/peers/setup"}
                continue
            with server(scenario.server) as url:
                lines[client] = run(client, scaled, url, options.timeout)
        show(scaled, lines)
        figures[scenario.name] = lines
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
