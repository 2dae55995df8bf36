"""What is done beside the trainer's steps: metrics, checkpoints, stopping. Written as a callback of transformers' Trainer."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from pica.synth.errors import BudgetSpent, Interrupted, PicaError
from pica.train.checkpoints import rotate, seal
from pica.train.config import TrainConfig
from pica.train.report import read_metrics
from pica.train.seconds import NOTED, Work, read_work, write_work


class Diverged(PicaError):
    """The loss or the gradient is no number any more."""


def log_interval(config: TrainConfig, steps: int) -> int:
    """Steps between two lines of metrics.jsonl."""
    return config.log_steps or max(steps // 100, 1)


def checkpoint_interval(config: TrainConfig, steps: int) -> int:
    """Steps between two checkpoints."""
    return config.checkpoint_steps or min(max(steps // 10, 50), 500)


class Watch:
    """Decides when to log, evaluate and save; keeps the metrics; stops at a signal, when `budget.seconds` have passed, or when
    the loss is no number.

    Only the process of rank 0 writes, and its clock counts. `show(step, steps, metrics)` is called after every step there.
    """

    def __init__(self, config: TrainConfig, out: Path, *, rank: int = 0,
                 show: Callable[[int, int, dict[str, Any]], None] = lambda step, steps, metrics: None) -> None:
        self.config, self.out, self.rank, self._show = config, out, rank, show
        self.stopped = ""  # the signal that asked to stop
        self.spent: BudgetSpent | None = None
        self.last: dict[str, Any] = {}
        self.saved = 0  # the step of the last checkpoint that was sealed
        self._path = out / "metrics.jsonl"
        self._began = self._noted = time.monotonic()
        self._before = read_work(out).seconds if rank == 0 else 0.0
        self._tokens_before = 0.0
        self._group: Any = None

    # What follows is called by the trainer, by these names.

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Go on where the metrics of the checkpoint end."""
        import torch

        self.saved = state.global_step
        if self.rank == 0:
            kept = [line for line in read_metrics(self._path) if line["step"] <= state.global_step]
            self._path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in kept))
            self._tokens_before = float(kept[-1].get("num_tokens") or 0) if kept else 0.0
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self._group = torch.distributed.new_group(backend="gloo")
        self._then = time.monotonic()
        self._tokens = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Say what is due after this step."""
        step, steps, last = state.global_step, state.max_steps, state.global_step >= state.max_steps
        stop = self._stops(Work(self._seconds(), step, steps))
        control.should_save = stop or (not last and step % checkpoint_interval(self.config, steps) == 0)
        control.should_log = control.should_save or last or step == 1 or step % log_interval(self.config, steps) == 0
        if self.config.eval_data:
            control.should_evaluate = last or step % (self.config.eval_steps or max(steps // 10, 1)) == 0
        control.should_training_stop = control.should_training_stop or stop
        if self.rank == 0 and not control.should_log:
            self._show(step, steps, self.last)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
        """Keep a line of metrics; raise `Diverged` where the loss is no number."""
        logs = logs or {}
        if "loss" not in logs and not any(name.startswith("eval_") for name in logs):
            return
        line = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4), **_numbers(logs)}
        self._add_speed(line)
        if self.rank == 0:
            with self._path.open("ab") as file:
                file.write(orjson.dumps(line) + b"\n")
        self._check(line)
        self.last.update(line)
        if self.rank == 0:
            self._show(state.global_step, state.max_steps, self.last)

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Seal the checkpoint; let older ones go."""
        self._wait()
        if self.rank == 0:
            root = Path(args.output_dir)
            seal(root / f"checkpoint-{state.global_step}")
            rotate(root, self.config.keep_checkpoints)
            self._note(Work(self._seconds(), state.global_step, state.max_steps))
        self._wait()  # who ends first has the others ended, so none does before all is sealed
        self.saved = state.global_step

    # What follows is for the process that trains.

    def check_end(self, state: Any) -> None:
        """Raise what ended the training before its last step: `Interrupted`, `BudgetSpent`."""
        if self.spent is not None:
            raise self.spent
        if self.stopped or state.global_step < state.max_steps:
            raise Interrupted(f"{self.stopped or 'another process was stopped'}; the checkpoint of step {self.saved} is kept: "
                              "give the same command to go on")

    def _seconds(self) -> float:
        """Seconds of this attempt and those before."""
        return time.monotonic() - self._began + self._before

    def _note(self, work: Work) -> None:
        write_work(self.out, work)
        self._noted = time.monotonic()

    def _add_speed(self, line: dict[str, Any]) -> None:
        """Seconds and tokens since the very beginning, and tokens a second since the last line."""
        now, tokens = time.monotonic(), float(line.get("num_tokens") or 0)
        if tokens > self._tokens:
            line["tokens_per_second"] = (tokens - self._tokens) / max(now - self._then, 1e-9)
            self._then, self._tokens = now, tokens
        if "num_tokens" in line:
            line["num_tokens"] = tokens + self._tokens_before
        line["seconds"] = round(self._seconds(), 3)

    def _check(self, line: dict[str, Any]) -> None:
        """fp16 scales its gradients, so an infinite one is nothing there: the step is left out."""
        names = ["loss"] if self.config.precision == "fp16" else ["loss", "grad_norm"]
        bad = next((name for name in names if name in line and not math.isfinite(line[name])), "")
        if not bad:
            return
        before = f"{self.last['loss']:.4g} at step {self.last['step']}" if "loss" in self.last else "none was logged before"
        kept = f"the checkpoint of step {self.saved} is kept" if self.saved else "no checkpoint was due before"
        raise Diverged(f"{bad} is {line[bad]} at step {line['step']} (last finite loss: {before}); {kept}. Try a lower "
                       f"learning_rate (now {self.config.learning_rate:g}) or a longer warmup with --update, and look at the "
                       "rows with the longest answers")

    def _stops(self, work: Work) -> bool:
        """Whether any process was asked to stop, or time is up for rank 0: all must save the same step, for the same reason."""
        cap, first = self.config.budget.seconds, self.rank == 0
        if first and time.monotonic() - self._noted >= NOTED:
            self._note(work)
        passed = (cap, work.seconds) if first and cap and work.step < work.steps and work.over(cap) else (0.0, 0.0)
        stopped, cap, seconds = self._agreed(float(bool(self.stopped)), *passed)
        if cap and not stopped:
            self.spent = Work(seconds, work.step, work.steps).over(cap)
        return bool(stopped or cap)

    def _wait(self) -> None:
        """Until all processes are here."""
        import torch

        if self._group is not None:
            torch.distributed.barrier(group=self._group)

    def _agreed(self, *values: float) -> list[float]:
        """The greatest of each value over all processes."""
        if self._group is None:
            return list(values)
        import torch

        found = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX, group=self._group)
        return [float(value) for value in found]

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the training after the step it is at, with a checkpoint; a second one ends it at once."""
        before: dict[signal.Signals, Any] = {}

        def stop(number: int, frame: Any) -> None:
            self.stopped = signal.Signals(number).name
            for caught, handler in before.items():
                signal.signal(caught, handler)

        with suppress(ValueError):  # not the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def as_callback(watch: Watch) -> Any:
    """`watch` as transformers takes it: with an empty method for every event that it does not look at."""
    from transformers import TrainerCallback

    kind = type("WatchCallback", (Watch, TrainerCallback), {})
    callback: Any = object.__new__(kind)
    callback.__dict__ = watch.__dict__  # one state: what the trainer tells the callback, `watch` knows
    return callback


def _numbers(logs: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) for name, value in logs.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in {"epoch", "total_flos"}}
