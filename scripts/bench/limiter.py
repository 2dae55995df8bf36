"""How closely the window meets rate limiters, limits on calls in flight, and failing servers, in virtual time.

    python scripts/bench/limiter.py [WORD ...]    only the scenarios whose names hold one of the words

Prints a Markdown table: seconds taken, times the ideal of a perfect client, calls refused and failed, where the window
ended. Virtual time: the same figures on every machine, in about a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "synth")]

from limiter_scenarios import SCENARIOS, Scenario  # noqa: E402


def line(scenario: Scenario) -> str:
    """One row of the table."""
    done = scenario.run()
    rate = "" if done.window.rate is None else f"{done.window.rate:.0f}"
    return (f"| {scenario.name} | {scenario.rows} | {done.seconds:.2f} | {done.seconds / scenario.ideal:.3f} "
            f"| {scenario.ratio:.2f} | {done.refused} | {done.faults} | {done.window.size:.0f} | {rate} |")


def main(words: list[str]) -> None:
    print("| server | rows | seconds | times ideal | at most | refused | faults | window | pace |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for scenario in SCENARIOS:
        if not words or any(word in scenario.name for word in words):
            print(line(scenario), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
