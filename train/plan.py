"""What a training would do, before anything is loaded: steps, tokens, memory, and the command."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from pica.train.config import TrainConfig
from pica.train.device import Place
from pica.train.watch import checkpoint_interval
from pica.train.weights import Size

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def total_steps(config: TrainConfig, rows: int) -> int:
    """Optimizer steps over `rows` rows (or packed sequences), as the trainer counts them."""
    return config.max_steps or ceil(max(ceil(rows / config.batch_size), 1) * config.epochs)


@dataclass(frozen=True)
class Memory:
    """Rough bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.reference + self.activations


def memory(config: TrainConfig, size: Size, place: Place, *, reference: bool, tokens: int) -> Memory:
    """Rough memory on a device. `reference`: a second model is held; `tokens`: of the longest row."""
    per_weight, shards = BYTES[place.dtype], config.processes
    trained = _trained(config, size)
    spread = {"ddp": (1, 1), "zero2": (1, shards), "zero3": (shards, shards), "fsdp": (shards, shards)}[config.parallel]
    states = 2 if "8bit" in config.optimizer else 8
    arithmetic = 4 if place.precision == "fp32" else 2
    stored = {"on": True, "off": False}.get(config.gradient_checkpointing, place.checkpointing)
    layers = size.layers * (1 if stored else 34) + 34
    weights = size.parameters * per_weight // spread[0]
    return Memory(weights, trained * 4 // spread[1], trained * states // spread[1], weights if reference else 0,
                  config.batches()[0] * tokens * size.width * layers * arithmetic)


def _trained(config: TrainConfig, size: Size) -> int:
    """Parameters that are trained: of adapters, about 2 x rank x width for each of seven layers in a block."""
    return 14 * config.lora.r * size.width * size.layers if config.lora else size.parameters


def needed_room(config: TrainConfig, size: Size, place: Place, saved: str, steps: int) -> int:
    """Rough bytes that the output folder takes: the saved model, and a checkpoint where one is due."""
    model = size.parameters * BYTES[saved]
    if steps <= checkpoint_interval(config, steps):
        return model
    trained = _trained(config, size)
    return model + trained * (BYTES[place.dtype] + 8)


@dataclass(frozen=True)
class TrainPlan:
    """What `--plan` prints. `exact`: every row was encoded; else rows and tokens are estimated from a sample."""

    stage: str
    config: TrainConfig
    place: Place
    size: Size
    memory: Memory
    rows: int
    tokens: int
    exact: bool
    steps: int
    command: str
    more: list[tuple[str, str]]

    def text(self) -> str:
        """The plan for people."""
        config, (per_device, accumulation) = self.config, self.config.batches()
        about = "" if self.exact else "about "
        epochs = self.steps * config.batch_size / max(self.rows, 1)
        lines = [
            ("stage", self.stage), ("model", f"{config.model}, {self.size.parameters / 1e6:,.0f} million parameters"),
            ("data", f"{about}{self.rows:,} rows and {about}{self.tokens:,} tokens an epoch"),
            ("batch", f"{config.batch_size} rows: {per_device} a device x {accumulation} accumulated x {config.processes} "
                      "processes"),
            ("steps", f"{about}{self.steps:,} ({epochs:.2f} epochs)"),
            ("device", f"{self.place.name}, {self.place.precision}, weights in {self.place.dtype}"),
            ("memory", f"roughly {_gigabytes(self.memory.total)} a device: weights {_gigabytes(self.memory.weights)}, gradients "
                       f"{_gigabytes(self.memory.gradients)}, optimizer {_gigabytes(self.memory.optimizer)}, reference "
                       f"{_gigabytes(self.memory.reference)}, activations {_gigabytes(self.memory.activations)}"),
            *self.more, ("command", self.command)]
        return "\n".join([*(f"{label:<9} {text}" for label, text in lines), "nothing was trained"])

    def to_json(self) -> dict[str, Any]:
        """The plan for programs."""
        per_device, accumulation = self.config.batches()
        return {"stage": self.stage, "model": self.config.model, "parameters": self.size.parameters, "rows": self.rows,
                "tokens": self.tokens, "exact": self.exact, "steps": self.steps, "batch_size": self.config.batch_size,
                "per_device": per_device, "accumulation": accumulation, "processes": self.config.processes,
                "device": self.place.device, "precision": self.place.precision, "memory": self.memory.total,
                "command": self.command, **dict(self.more)}


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.0f} MB"


def order_file(out: Path | None, rank: int) -> Path:
    """Where the order for the workers will stand."""
    return (out or Path("DIR")) / ".work" / str(rank) / "order.json"
