#!/usr/bin/env bash
# How much a base install (no extras) adds to a bare environment, and how long `pica --help` takes.
#
#     ./scripts/bench/install_size.sh
#
# Goals: under 150 MB, and a median under 0.3 s.
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
import json, statistics, subprocess, sys, time
from pathlib import Path

venv, bare, full = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
command = next(path for path in (venv / "bin/pica", venv / "Scripts/pica.exe") if path.exists())
times = []
for _ in range(11):
    start = time.perf_counter()
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL)
    times.append(time.perf_counter() - start)
site = next(venv.glob("lib/python*/site-packages"), venv / "Lib/site-packages")
sizes = {entry.name: sum(f.stat().st_size for f in entry.rglob("*") if f.is_file()) / 2**20
         for entry in site.iterdir() if entry.is_dir() and entry.name != "pip"}
largest = ", ".join(f"{name} {size:.0f}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:6])
print(f"base install adds {full - bare:.1f} MB to {bare:.1f} MB (goal: under 150); largest: {largest}")
print(f"pica --help takes {statistics.median(times[1:]):.3f} s, median of 10 (goal: under 0.3)")
print(json.dumps({"bare_mb": bare, "added_mb": round(full - bare, 1), "help_s": [round(t, 3) for t in times[1:]]}))
PYTHON
