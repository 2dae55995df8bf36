"""Finding duplicates: MinHash against datasketch, and exact neighbours against the search that Magpie's authors run.

    PYTHONPATH=. python scripts/bench/duplicates.py [--quick] [--vectors 100000]

Each measurement runs in a process of its own, one after another; MinHash and datasketch on one thread. The peers
(faiss-cpu, datasketch) live in an environment that this script makes on first use. Texts and vectors are made up here:
texts in pairs with a known number of changed words; vectors around 500 topics, with 2 % copies and 5 % near copies.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

THRESHOLD, NEAR, K = 0.8, 0.05, 500
PEERS = ("faiss-cpu==1.15.1", "datasketch==2.0.0")
ONE_THREAD = {name: "1" for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
Result = dict[str, float]


def make_texts(n: int, words: int) -> list[str]:
    """`n` texts, in pairs: the second differs in up to a quarter of its words."""
    rng = np.random.default_rng(0)
    vocabulary = np.array(["".join(rng.choice(list("abcdefghilmnoprstu"), rng.integers(2, 10))) for _ in range(5000)])
    weight = 1 / np.arange(2, 5002)
    texts = []
    for _ in range(n // 2):
        text = rng.choice(vocabulary, words, p=weight / weight.sum())
        texts.append(" ".join(text))
        changed = rng.choice(words, rng.integers(0, words // 4 + 1), replace=False)
        text[changed] = rng.choice(vocabulary, len(changed))
        texts.append(" ".join(text))
    return texts


def make_vectors(n: int, d: int = 384) -> np.ndarray:
    """`n` unit vectors around 500 topics; 2 % are copies, 5 % lie close to another."""
    rng = np.random.default_rng(0)
    topics = rng.normal(size=(500, d)).astype(np.float32)
    vectors = topics[rng.integers(0, 500, n)] + rng.normal(size=(n, d)).astype(np.float32)
    copies, close = rng.integers(0, n, (2, n // 50)), rng.integers(0, n, (2, n // 20))
    vectors[close[0]] = vectors[close[1]] + 0.1 * rng.normal(size=(n // 20, d)).astype(np.float32)
    vectors[copies[0]] = vectors[copies[1]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def jaccard(a: str, b: str) -> float:
    """Of the sets of character 5-grams, by Python's own sets."""
    one, other = ({text[i:i + 5] for i in range(len(text) - 4)} for text in (a, b))
    return len(one & other) / len(one | other)


def minhash(n: int, words: int, verify: Literal["estimate", "exact"] = "estimate") -> Result:
    """Near duplicates by Pica, judged by exact Jaccard similarities."""
    from pica.synth.filters.exact import normalise
    from pica.synth.filters.minhash import near_duplicates

    texts = make_texts(n, words)
    near_duplicates(texts[:100])
    cost, groups = measured(lambda: near_duplicates(texts, threshold=THRESHOLD, verify=verify))
    levelled = [normalise(text) for text in texts]
    alike = [i for i in range(0, n - 1, 2) if jaccard(levelled[i], levelled[i + 1]) >= THRESHOLD]
    found = [pair for group in np.flatnonzero(groups.sizes > 1)[:3000]
             for pair in combinations(groups.members(group).tolist(), 2)]
    recall = float(np.mean([groups.label[i] == groups.label[i + 1] for i in alike]))
    right = float(np.mean([jaccard(levelled[i], levelled[j]) >= THRESHOLD for i, j in found]))
    return {**cost, "recall": recall, "precision": right}


def minhash_exact(n: int, words: int) -> Result:
    """The same with every candidate verified by its exact Jaccard similarity."""
    return minhash(n, words, "exact")


def datasketch(n: int, words: int) -> Result:
    """The same with datasketch: MinHash of 128 permutations and its LSH."""
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found]

    texts = make_texts(n, words)

    def work() -> None:
        lsh = MinHashLSH(threshold=THRESHOLD, num_perm=128)
        for key, text in enumerate(texts):
            sketch = MinHash(num_perm=128)
            sketch.update_batch({text[i:i + 5].encode() for i in range(len(text) - 4)})
            lsh.query(sketch)
            lsh.insert(key, sketch)

    return measured(work)[0]


def pica_neighbours(n: int, folder: str) -> Result:
    """Exact neighbours by Pica; the answers are left in the folder."""
    from pica.synth.filters.neighbours import neighbours

    vectors = np.load(Path(folder) / "vectors.npy")
    cost, found = measured(lambda: neighbours(vectors, threshold=NEAR))
    np.savez(Path(folder) / "pica.npz", distance=found.min_distance, count=found.repeat_count)
    return {**cost, "groups": len(found.groups)}


def faiss(n: int, folder: str) -> Result:
    """The original's way: a flat L2 index asked for 500 neighbours of every row, 1,024 rows at a time."""
    import faiss as library  # type: ignore[import-not-found]

    vectors = np.load(Path(folder) / "vectors.npy")

    def work() -> tuple[np.ndarray, np.ndarray]:
        index = library.IndexFlatL2(vectors.shape[1])
        index.add(vectors)
        distance, count = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.int64)
        for begin in range(0, n, 1024):
            scores, _ = index.search(vectors[begin:begin + 1024], min(K, n))
            distance[begin:begin + 1024] = scores[:, 1]
            count[begin:begin + 1024] = (scores <= NEAR).sum(1) - 1
        return distance, count

    cost, (distance, count) = measured(work)
    np.savez(Path(folder) / "faiss.npz", distance=distance, count=count)
    return cost


def measured(work: Callable[[], Any]) -> tuple[Result, Any]:
    """What the work cost (seconds by the clock and of CPU, megabytes grown by at the peak), and what it returned."""
    before, start, cpu = resident(), time.perf_counter(), time.process_time()
    result = work()
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "memory": peak() - before}, result


def peak() -> float:
    """The most megabytes this process ever held. (`ru_maxrss` may be that of the process which started it.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def resident() -> float:
    """Megabytes that this process holds now (its peak, where the system does not say)."""
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmRSS:")[1].split()[0]) / 1024 if status.exists() else peak()


def peers_python() -> str:
    """The interpreter of the peers' environment, made if it is missing."""
    folder = Path(__file__).parents[2] / ".venvs" / "peer-duplicates"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").exists():
        print(f"making {folder} with {', '.join(PEERS)} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS], check=True)
        (folder / "ready").touch()
    return str(python)


def job(name: str, *arguments: object, python: str = sys.executable, threads: dict[str, str] | None = None) -> Result:
    """Runs one of the functions above in a fresh process and returns its figures."""
    command = [python, __file__, "--job", name, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **(threads or {})}, stdout=subprocess.PIPE, text=True, check=True)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def bench_texts(n: int, peers: str) -> None:
    print(f"\nNear duplicates among {n:,} texts, threshold {THRESHOLD}, 128 permutations, character 5-grams, 1 thread:")
    for words in (15, 120):
        other = job("datasketch", n // 10, words, python=peers, threads=ONE_THREAD)
        theirs = n // 10 / other["cpu"]
        for name in ("minhash", "minhash_exact"):
            own = job(name, n, words, threads=ONE_THREAD)
            mine = n / own["cpu"]
            print(f"  {words:3} words, {name}: {mine:,.0f} texts a CPU second "
                  f"({n / own['seconds']:,.0f} by the clock), {mine / theirs:.1f} times datasketch's {theirs:,.0f}")
            print(f"      recall {own['recall']:.3f}, precision {own['precision']:.3f} against exact Jaccard; "
                  f"{own['memory']:,.0f} MB")


def bench_vectors(n: int, peers: str) -> None:
    print(f"\nNearest neighbours of {n:,} x 384 vectors, threshold {NEAR}, all {os.cpu_count()} cores:")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", make_vectors(n))
        own = job("pica_neighbours", n, folder)
        other = job("faiss", n, folder, python=peers)
        mine, theirs = np.load(Path(folder) / "pica.npz"), np.load(Path(folder) / "faiss.npz")
    same = np.abs(mine["distance"] - np.maximum(theirs["distance"], 0)) < 1e-5
    equal = mine["count"] == theirs["count"]
    for name, cost in (("pica", own), (f"faiss flat, k = {K}", other)):
        print(f"  {name}: {cost['seconds']:.1f} s ({cost['cpu']:.1f} of CPU), {cost['memory']:,.0f} MB more")
    clock, cpu = other["seconds"] / own["seconds"], other["cpu"] / own["cpu"]
    print(f"  faiss takes {clock:.2f} times the time and {cpu:.2f} times the CPU of pica")
    print(f"  {(mine['count'] > 0).mean():.1%} of rows repeat another, {own['groups']:,.0f} groups; both agree on the "
          f"distance (within 1e-5) for {same.mean():.4%} of rows, on the count for {equal.mean():.4%}")
    print(f"  {(mine['count'] > K - 1).sum():,} rows have more near duplicates than k lets faiss count")


def main() -> None:
    if sys.argv[1:2] == ["--job"]:
        name, first, second = sys.argv[2:5]
        work: Callable[..., Result] = globals()[name]
        print(json.dumps(work(int(first), int(second) if second.isdigit() else second)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    parser.add_argument("--texts", type=int, help="texts for MinHash (default 50,000)")
    parser.add_argument("--vectors", type=int, help="vectors for neighbours (default 100,000)")
    args = parser.parse_args()
    scale = 10 if args.quick else 1
    peers = peers_python()
    bench_texts(args.texts or 50_000 // scale, peers)
    bench_vectors(args.vectors or 100_000 // scale, peers)


if __name__ == "__main__":
    main()
