"""What a run says while it goes: a block that is redrawn on a terminal, plain lines elsewhere, JSON for machines."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Literal

import orjson

from pica.synth.run import Run
from pica.synth.spool import Spool

Style = Literal["terminal", "plain", "json", "quiet"]
REDRAW = {"terminal": 0.2, "plain": 5.0, "json": 1.0}  # seconds
PATIENT = 60.0  # seconds between two plain lines, once a run has lasted a while


def style_for(stream: IO[str], *, json: bool = False, quiet: bool = False) -> Style:
    """How to speak on `stream`."""
    if json:
        return "json"
    if quiet:
        return "quiet"
    return "terminal" if stream.isatty() and os.environ.get("TERM") != "dumb" else "plain"


@dataclass(frozen=True)
class Snapshot:
    """The state of a run at one moment."""

    wanted: int
    accepted: int
    candidates: int
    active: int
    rejected: int
    reasons: dict[str, int]
    made: int
    cached: int
    failed_tries: int
    in_flight: int
    window: int
    tokens: int
    tokens_per_second: float
    cost: float
    seconds: float
    seconds_left: float | None


class Progress:
    """Shows a run while it goes: `with Progress(style) as progress: progress.watch(run, spool, want)`."""

    def __init__(self, style: Style, stream: IO[str] | None = None) -> None:
        self.style = style
        self._stream = stream or sys.stderr
        self._lines = 0
        self._task: asyncio.Task[None] | None = None
        self._started = time.monotonic()
        self._recent: list[tuple[float, int, int]] = []
        self._last = ""

    def say(self, text: str, **facts: Any) -> None:
        """A line that stays."""
        if self.style == "json":
            self._write(orjson.dumps({"event": "message", "text": text, **facts}).decode() + "\n")
        elif self.style != "quiet":
            self._erase()
            self._write(f"pica: {_visible(text)}\n")

    def watch(self, run: Run, spool: Spool, want: int) -> None:
        """Show this run from now on, until `close`."""
        self.unwatch()
        self._recent = []
        if self.style != "quiet":
            self._task = asyncio.ensure_future(self._loop(run, spool, want))

    def unwatch(self) -> None:
        """Stop showing the run."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._erase()

    async def _loop(self, run: Run, spool: Spool, want: int) -> None:
        with suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(self._pause())
                self._show(self.snapshot(run, spool, want))

    def _pause(self) -> float:
        """Plain lines come more rarely the longer a run lasts."""
        pause = REDRAW[self.style]
        return min(PATIENT, max(pause, (time.monotonic() - self._started) / 10)) if self.style == "plain" else pause

    def snapshot(self, run: Run, spool: Spool, want: int) -> Snapshot:
        """The state of the run now; speeds are over the last ten seconds or so."""
        counts, now = run.caller.counts, time.monotonic()
        tokens = counts.prompt_tokens + counts.completion_tokens
        self._recent = [*self._recent[-50:], (now, counts.completion_tokens, spool.accepted)]
        then, completion_then, accepted_then = self._recent[0]
        elapsed = max(now - then, 1e-9)
        speed = (spool.accepted - accepted_then) / elapsed
        left = max(want - spool.accepted, 0) / speed if speed > 0 else None
        return Snapshot(want, spool.accepted, len(spool), run.active, spool.reasons.total(),
                        dict(spool.reasons.most_common(4)), counts.made,
                        counts.cached, counts.failed, run.caller.in_flight,
                        sum(int(lane.window.size) for lane in run.caller.lanes), tokens,
                        (counts.completion_tokens - completion_then) / elapsed, counts.cost, now - self._started, left)

    def _show(self, at: Snapshot) -> None:
        if self.style == "json":
            self._write(orjson.dumps({"event": "progress", **at.__dict__}).decode() + "\n")
            return
        first, second = _texts(at)
        if self.style == "plain":
            if (line := f"{first}  {second}") != self._last:
                self._write(f"pica: {line}\n")
                self._last = line
            return
        width = shutil.get_terminal_size().columns - 1
        share = min(at.accepted / max(at.wanted, 1), 1.0)
        full = int(share * max(width - 10, 10))
        bar = "━" * full + "╌" * (max(width - 10, 10) - full)
        self._erase()
        lines = [f"{bar} {share:6.1%}", first, second]
        self._write("".join(f"{line[:width]}\n" for line in lines))
        self._lines = len(lines)

    def _erase(self) -> None:
        if self._lines:
            self._write(f"\x1b[{self._lines}A\x1b[J")
            self._lines = 0

    def _write(self, text: str) -> None:
        with suppress(BrokenPipeError, ValueError):
            self._stream.write(text)
            self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
                 ) -> None:
        self.unwatch()


def _texts(at: Snapshot) -> tuple[str, str]:
    why = ", ".join(f"{number} {reason}" for reason, number in at.reasons.items())
    left = f"  {duration(at.seconds_left)} left" if at.seconds_left is not None else ""
    first = (f"{at.accepted:,} of {at.wanted:,} rows  {at.rejected:,} rejected{f' ({why})' if why else ''}  "
             f"{duration(at.seconds)}{left}")
    cost = f"  ${at.cost:.4f}" if at.cost else ""
    failed = f"  {at.failed_tries:,} failed tries" if at.failed_tries else ""
    second = (f"{at.made:,} calls  {at.cached:,} from the ledger  {at.in_flight}/{at.window} in flight{failed}  "
              f"{at.tokens:,} tokens  {at.tokens_per_second:,.0f} tokens/s{cost}")
    return first, second


def duration(seconds: float) -> str:
    """Seconds as people say them: `42s`, `3m10s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def _visible(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
