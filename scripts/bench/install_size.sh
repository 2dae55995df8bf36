#!/usr/bin/env bash
# How much a base install (no extras) adds to a bare environment, and how long every `--help` takes.
#
#     ./scripts/bench/install_size.sh
#
# Goals: under 150 MB, and every help under 0.3 s. `pica --help` is the median of ten by the clock; of the others it is the least
# of five in seconds of CPU, which other work on the machine lengthens less.
. "$(dirname "${BASH_SOURCE[0]}")/../_setup.sh"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
use_venv "$work/venv"
make_venv
megabytes() { du -sk "$VENV" | awk '{printf "%.1f", $1 / 1024}'; }
bare="$(megabytes)"
say "building the wheel and installing it with its dependencies"
# From a copy, so that building leaves nothing in the working tree.
mkdir "$work/copy"
cp -R "$ROOT/pica" "$ROOT/synth" "$ROOT/train" "$ROOT/eval" "$ROOT/recipes" "$ROOT/pyproject.toml" "$ROOT/README.md" \
  "$ROOT/LICENSE" "$ROOT/MANIFEST.in" "$work/copy/"
attempt "installing Pica" "$PY" -m pip install --progress-bar off -c "$CONSTRAINTS" "$work/copy"
full="$(megabytes)"
cd "$work" || exit 1
"$PY" - "$VENV" "$bare" "$full" <<'PYTHON'
import json, resource, statistics, subprocess, sys, time
from pathlib import Path

from pica import recipes
from pica.cli import COMMANDS
from pica.eval import EVALUATIONS
from pica.train.stage import STAGES

venv, bare, full = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
command = next(path for path in (venv / "bin/pica", venv / "Scripts/pica.exe") if path.exists())


def cpu():
    """Seconds of CPU that the processes so far have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def help_of(*words, clock):
    """Seconds that a help takes by this clock."""
    start = clock()
    subprocess.run([command, *words, "--help"], check=True, stdout=subprocess.DEVNULL)
    return clock() - start


times = [help_of(clock=time.perf_counter) for _ in range(11)]
helps = [(), *((name,) for name in (*COMMANDS, "run", "train", "eval", "audit", "flywheel")),
         *(("run", name) for name in recipes.names()), *(("train", name) for name in STAGES),
         *(("eval", name) for name in EVALUATIONS)]
least = {" ".join(("pica", *words, "--help")): min(help_of(*words, clock=cpu) for _ in range(5)) for words in helps}
site = next(venv.glob("lib/python*/site-packages"), venv / "Lib/site-packages")
sizes = {entry.name: sum(f.stat().st_size for f in entry.rglob("*") if f.is_file()) / 2**20
         for entry in site.iterdir() if entry.is_dir() and entry.name != "pip"}
largest = ", ".join(f"{name} {size:.0f}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:6])
print(f"base install adds {full - bare:.1f} MB to {bare:.1f} MB (goal: under 150); largest: {largest}")
print(f"pica --help takes {statistics.median(times[1:]):.3f} s, median of 10 (goal: under 0.3)")
for words, seconds in sorted(least.items(), key=lambda item: -item[1]):
    print(f"  {seconds:.3f} s of CPU  {words}")
print(json.dumps({"bare_mb": bare, "added_mb": round(full - bare, 1), "help_s": [round(t, 3) for t in times[1:]],
                  "help_cpu_s": {words: round(seconds, 3) for words, seconds in least.items()}}))
PYTHON
