"""What a training says while it goes: a bar on a terminal, plain lines elsewhere, JSON for machines."""

from __future__ import annotations

import shutil
import time
from typing import Any

import orjson

from pica.synth.progress import PATIENT, REDRAW, Progress, duration

SHOWN = ("loss", "rewards/margins", "margin", "accuracy", "reward", "grad_norm", "learning_rate")


class TrainProgress(Progress):
    """Shows steps: `progress.step(at, of, metrics)`, as often as the style bears."""

    _shown_at = 0.0
    _last_step = 0
    _began: tuple[float, int] | None = None

    def step(self, at: int, of: int, metrics: dict[str, Any]) -> None:
        """The state after step `at` of `of`; `metrics` are the last that were logged."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, at - 1)
        patience = REDRAW.get(self.style, 0.0) if self.style != "plain" or now - self._began[0] < PATIENT else PATIENT
        if self.style == "quiet" or (at < of and now - self._shown_at < patience) or self._last_step == at:
            return
        self._shown_at, self._last_step = now, at
        began, first = self._began
        speed = (at - first) / max(now - began, 1e-9)
        left = (of - at) / speed
        if self.style == "json":
            self._write(orjson.dumps({"event": "progress", "steps": of, "seconds_left": left, **metrics, "step": at}).decode()
                        + "\n")
            return
        values = "  ".join(f"{name.removeprefix('rewards/')} {metrics[name]:.4g}" for name in SHOWN
                           if isinstance(metrics.get(name), int | float))
        tokens = f"  {metrics['tokens_per_second']:,.0f} tokens/s" if metrics.get("tokens_per_second") else ""
        line = f"step {at:,} of {of:,}  {values}{tokens}  {duration(left)} left"
        if self.style == "plain":
            self._write(f"pica: {line}\n")
            return
        width = shutil.get_terminal_size().columns - 1
        room = max(width - 10, 10)
        full = int(at / of * room)
        self._erase()
        self._write(f"{'━' * full}{'╌' * (room - full)} {at / of:6.1%}\n{line[:width]}\n")
        self._lines = 2
