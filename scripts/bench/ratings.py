"""Bradley-Terry with intervals, beside arena-rank, evalica and the logistic regression of Chatbot Arena's notebooks.

    PYTHONPATH=. .venv/bin/python scripts/bench/ratings.py [--quick] [--games 2000000] [--models 100] [--rounds 1000]

The same made-up games for all: 1,000 prompts, ties, strengths from a normal distribution. Each measurement runs in a
process of its own, one after another, and prints seconds by the clock and of CPU. The peers' bootstraps take very long:
they are run for few rounds and for twice as many, and the table has what the rounds between cost, scaled up. The peers
live in an environment that this script makes on first use.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PEERS = ("arena-rank==0.1.1", "evalica==0.4.2", "scikit-learn")
PROMPTS = 1000
Result = dict[str, Any]


def make_games(path: Path, games: int, models: int) -> None:
    """Games between random models, saved as arrays."""
    rng = np.random.default_rng(0)
    strength = rng.normal(size=models)
    a = rng.integers(0, models, games)
    b = (a + rng.integers(1, models, games)) % models
    won = rng.random(games) < 1 / (1 + np.exp(strength[b] - strength[a]))
    outcome = np.where(rng.random(games) < 0.1, 0.5, won)
    np.savez(path, a=a, b=b, outcome=outcome, prompt=rng.integers(0, PROMPTS, games), models=models)


def timed(work: Callable[[], Any]) -> tuple[Result, Any]:
    """Seconds by the clock and of CPU, and what the work returned."""
    start, cpu = time.perf_counter(), time.process_time()
    made = work()
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}, made


def pica(path: str, what: str, rounds: int) -> Result:
    """Ours: counting included."""
    from pica.eval.battles import Battles
    from pica.eval.intervals import bootstrap, sandwich
    from pica.eval.ratings import fit

    data = np.load(path)
    names = [f"m{i:03}" for i in range(int(data["models"]))]
    a, b, outcome, prompt = (data[key] for key in ("a", "b", "outcome", "prompt"))

    def work() -> Any:
        battles = Battles.of(a, b, outcome, prompt=prompt, models=names)
        ratings = fit(battles)
        if what.startswith("sandwich"):
            sandwich(battles, ratings, by="rows" if what.endswith("rows") else "prompts")
        elif what != "ratings":
            bootstrap(battles, ratings, by="rows" if what.endswith("rows") else "prompts", rounds=rounds)
        return ratings

    cost, ratings = timed(work)
    return {**cost, "points": ratings.points.tolist()}


def arena_rank(path: str, what: str, rounds: int) -> Result:
    """LMArena's package, from a data frame. Its pool of processes hangs when it forks a process that has started jax."""
    import multiprocessing

    import pandas as pd  # type: ignore[import-not-found]
    from arena_rank.models.bradley_terry import BradleyTerry  # type: ignore[import-not-found]
    from arena_rank.utils.data_utils import PairDataset  # type: ignore[import-not-found]

    multiprocessing.set_start_method("spawn")
    data = np.load(path)
    n = int(data["models"])
    names = np.array([f"m{i:03}" for i in range(n)])
    winner = np.select([data["outcome"] == 1, data["outcome"] == 0], ["model_a", "model_b"], "tie")
    frame = pd.DataFrame({"model_a": names[data["a"]], "model_b": names[data["b"]], "winner": winner})

    def work() -> Any:
        pairs = PairDataset.from_pandas(frame)
        model = BradleyTerry(n_competitors=n)
        method = "sandwich" if what == "sandwich" else "bootstrap"
        return model.compute_ratings_and_cis(pairs, ci_method=method, num_bootstrap=rounds)

    cost, made = timed(work)
    points = dict(zip(made["competitors"], made["ratings"], strict=True))
    return {**cost, "points": [float(points[name]) for name in names]}


def evalica(path: str, what: str, rounds: int) -> Result:
    """Evalica's Bradley-Terry; intervals by drawing rows, since it has none."""
    import evalica as library  # type: ignore[import-not-found]

    data = np.load(path)
    names = [f"m{i:03}" for i in range(int(data["models"]))]
    x, y = ([names[i] for i in data[key].tolist()] for key in ("a", "b"))
    label = {1.0: library.Winner.X, 0.0: library.Winner.Y, 0.5: library.Winner.Draw}
    winners = [label[value] for value in data["outcome"].tolist()]
    rng = np.random.default_rng(0)

    def work() -> Any:
        made = library.bradley_terry(x, y, winners, limit=1000, tolerance=1e-9)
        for _ in range(rounds if what == "bootstrap" else 0):
            drawn = rng.integers(0, len(x), len(x)).tolist()
            library.bradley_terry([x[i] for i in drawn], [y[i] for i in drawn], [winners[i] for i in drawn])
        return made

    cost, made = timed(work)
    return {**cost, "points": [float(400 * np.log10(made.scores[name])) for name in names]}


def regression(path: str, what: str, rounds: int) -> Result:
    """scikit-learn's logistic regression on counts by pair, as in Chatbot Arena's notebooks; rows are drawn anew."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    data = np.load(path)
    n = int(data["models"])
    a, b, outcome = data["a"], data["b"], data["outcome"]
    rng = np.random.default_rng(0)

    def fitted(rows: Any) -> Any:
        code = a[rows] * n + b[rows]
        won = np.bincount(code, outcome[rows], n * n)
        lost = np.bincount(code, 1 - outcome[rows], n * n)
        met = np.flatnonzero(won + lost)
        design = np.zeros((len(met), n))
        design[np.arange(len(met)), met // n] = np.log(10)
        design[np.arange(len(met)), met % n] = -np.log(10)
        model = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-6)
        model.fit(np.vstack([design, design]), np.repeat([1, 0], len(met)), sample_weight=np.concatenate([won[met], lost[met]]))
        return 400 * model.coef_[0]

    def work() -> Any:
        made = fitted(slice(None))
        for _ in range(rounds if what == "bootstrap" else 0):
            fitted(rng.integers(0, len(a), len(a)))
        return made

    cost, made = timed(work)
    return {**cost, "points": made.tolist()}


def peers_python() -> str:
    """The interpreter of the peers' environment, made if it is missing."""
    folder = Path(__file__).parents[2] / ".venvs" / "peer-ratings"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").exists():
        print(f"making {folder.name} with {', '.join(PEERS)} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS], check=True)
        (folder / "ready").touch()
    return str(python)


def job(python: str, name: str, path: Path, what: str, rounds: int) -> Result:
    """Runs one of the functions above in a fresh process and returns its figures, or why there are none."""
    command = [python, __file__, "--job", name, str(path), what, str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no reason given"])[-1][:100]}
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(games: int, models: int, rounds: int, few: int) -> None:
    """Measures all and prints the table."""
    peers = peers_python()
    rows = [("pica", "ratings", 0), ("pica", "sandwich over prompts", 0), ("pica", "sandwich over rows", 0),
            ("pica", "bootstrap over prompts", rounds), ("pica", "bootstrap over rows", rounds), ("arena_rank", "sandwich", 0),
            ("arena_rank", "bootstrap", few), ("regression", "ratings", 0), ("regression", "bootstrap", few),
            ("evalica", "ratings", 0), ("evalica", "bootstrap", few)]
    print(f"{games:,} games of {models} models; bootstraps of {rounds:,} rounds (peers: {few} rounds, scaled up)\n")
    print("| tool | what | seconds | of CPU | largest difference of ratings |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "games.npz"
        make_games(path, games, models)
        base: np.ndarray | None = None
        for name, what, times in rows:
            python = sys.executable if name == "pica" else peers
            made = job(python, name, path, what, times)
            if name != "pica" and times and "error" not in made:
                twice = job(python, name, path, what, 2 * times)
                made |= {key: made[key] + (twice[key] - made[key]) * (rounds - times) / times for key in ("seconds", "cpu")}
            if "error" in made:
                print(f"| {name} | {what} | {made['error']} | | |", flush=True)
                continue
            points = np.array(made["points"]) - np.mean(made["points"])
            base = points if base is None else base
            apart = np.abs(points - base).max()
            print(f"| {name} | {what} | {made['seconds']:,.2f} | {made['cpu']:,.2f} | {apart:.1g} |", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--job"]:
        name, path, what, rounds = sys.argv[2:6]
        work: Callable[[str, str, int], Result] = globals()[name]
        print(json.dumps(work(path, what, int(rounds))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the games, 100 rounds")
    parser.add_argument("--games", type=int, default=2_000_000)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--few", type=int, default=5, help="rounds of the peers' bootstraps")
    args = parser.parse_args()
    if args.quick:
        args.games, args.rounds = args.games // 10, 100
    compare(args.games, args.models, args.rounds, args.few)


if __name__ == "__main__":
    main()
