"""A training from start to end: check, claim the folder, prepare the data, train, save, describe.

    outcome = train(load_stage("sft"), config, Path("M"))

Everything that can be wrong is looked for before a model is loaded: settings, device, packages, the model's files, the
tokenizer, every row of the data, room on the disk. The same command again goes on from the last good checkpoint.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from pica import __version__
from pica.synth.errors import FolderError, Interrupted, UsageError
from pica.synth.report import write_report
from pica.train.card import model_card
from pica.train.checkpoints import latest, step_of
from pica.train.config import DataSource, TrainConfig
from pica.train.data import Opened, Prepared, Preparer, Rejected, goal_of, open_data, write_rejected
from pica.train.device import Place, find_place
from pica.train.finish import finish_model
from pica.train.folder import ModelFolder
from pica.train.launch import accelerate_command, launch, shown
from pica.train.plan import TrainPlan, memory, needed_room, order_file, total_steps
from pica.train.progress import TrainProgress
from pica.train.report import read_metrics, training_report
from pica.train.seconds import read_work
from pica.train.stage import Stage, check_trl
from pica.train.tokens import Encoder, load_tokenizer
from pica.train.weights import Size, Start, find_model, measure
from pica.train.worker import Done, Order, calm, no_telemetry

SAMPLE = 2000  # rows that a plan encodes at most
PACKAGES = {"torch": "torch", "transformers": "transformers", "trl": "trl", "datasets": "datasets", "accelerate": "accelerate",
            "peft": "peft"}
ORDER = ("Rows stand source after source, each in its own order; every epoch is shuffled by torch.randperm over them, seeded "
         "with `seed`.")


@dataclass(frozen=True)
class Outcome:
    """What a training came to. `fresh` is false when the folder was complete already."""

    folder: Path
    manifest: dict[str, Any]
    fresh: bool


@dataclass(frozen=True)
class Ready:
    """What was found out before any row is read."""

    stage: Stage[Any]
    config: Any
    place: Place
    start: Start
    size: Size
    tokenizer: Any
    data: list[Opened]
    eval_data: list[Opened]
    goal: dict[str, Any] | None

    @property
    def saved_dtype(self) -> str:
        """The dtype of the saved weights."""
        own = self.size.dtype if self.size.dtype in {"float32", "bfloat16", "float16"} else "float32"
        return str(own if self.config.save_dtype == "auto" else self.config.save_dtype)

    def settings(self) -> dict[str, Any]:
        """What decides the result: the folder is of these settings."""
        return {"stage": self.stage.name, "config": self.config.identity(), "model": self.start.identity,
                "data": [one.source.fingerprint for one in self.data],
                "eval_data": [one.source.fingerprint for one in self.eval_data]}

    def preparer(self) -> Preparer:
        """What turns the data's rows into the trainer's."""
        loss = getattr(self.config, "loss", "answers") if self.stage.format == "tokens" else "all"
        return Preparer(self.config, self.stage.format, Encoder(self.tokenizer, answers_only=loss == "answers"))


def get_ready(stage: Stage[Any], config: TrainConfig, say: Callable[[str], None] = lambda text: None) -> Ready:
    """Look for everything that can be wrong before rows are read. Raises `UsageError`, `FolderError`, `Denied`."""
    no_telemetry()
    _one_device(config)
    need_packages()
    stage.check(config)
    module, _, name = stage.trl_config.partition(":")
    with calm():
        if module:
            check_trl(getattr(import_module(module), name), config.trl)
    _check_packages(config)
    place = find_place(config)
    keep = stage.keep(config)
    data = open_data(config.data, stage.format, keep)
    eval_data = open_data(config.eval_data, stage.format, keep) if config.eval_data else []
    goal = goal_of(data)
    start = find_model(config.model, config.revision)
    with calm():
        size = measure(start, stage.head)
        tokenizer = load_tokenizer(start.path, start.revision, config.template)
    context = tokenizer.model_max_length
    if config.max_length > context:
        say(f"max_length={config.max_length:,} is more than the {context:,} tokens that the tokenizer of {config.model} states")
    return Ready(stage, config, place, start, size, tokenizer, data, eval_data, goal)


def _one_device(config: TrainConfig) -> None:
    """One process uses one GPU: of several, the first. Must come before torch looks."""
    import os

    if config.processes == 1 and config.device in {"auto", "cuda"}:
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        if first != "":
            os.environ["CUDA_VISIBLE_DEVICES"] = first


def need_packages() -> None:
    """Raise `UsageError` where a package is missing that every training needs."""
    for name in PACKAGES:
        _need(name, 'the training stages; run: pip install "pica[train]"')


def _need(package: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{package} is not installed, which is needed for {what}")


def _check_packages(config: TrainConfig) -> None:
    for name in config.report_to:
        _need(name, f"report_to={name}; run: pip install {name}")
    if config.parallel in {"zero2", "zero3"}:
        _need("deepspeed", f"parallel={config.parallel}; run: pip install deepspeed, or say parallel=fsdp")
    if "bnb" in config.optimizer or "8bit" in config.optimizer:
        _need("bitsandbytes", f"optimizer={config.optimizer}; run: pip install bitsandbytes, or say "
                              "optimizer=adamw_torch_fused")


def plan(stage: Stage[Any], config: TrainConfig, out: Path | None = None) -> TrainPlan:
    """What `train` would do. Encodes a sample of the rows; loads no model."""
    ready = get_ready(stage, config)
    total, drawn = sum(len(one.source) for one in ready.data), sum(one.drawn for one in ready.data)
    preparer = ready.preparer()
    share, tokens = preparer.sample(ready.data, SAMPLE)
    rows = round(drawn * share)
    packs = ceil_div(rows * tokens, config.max_length) if getattr(config, "packing", False) else rows
    reference = stage.name == "dpo" and config.lora is None and not getattr(config, "precompute_reference", False)
    file = order_file(out, config.machine_rank)
    command = (shown(accelerate_command(config, ready.place, file)) if config.processes > 1
               else f"pica train {stage.name} (in one process)")
    left = [(f"left out: {reason}", f"{number} of the {preparer.read:,} rows that were looked at")
            for reason, number in _counted(preparer).items()]
    return TrainPlan(stage.name, config, ready.place, ready.size,
                     memory(config, ready.size, ready.place, reference=reference, tokens=preparer.longest),
                     rows, rows * tokens, total <= SAMPLE, total_steps(config, packs), command,
                     [*stage.plan(config), *_cap(config), *left])


def _cap(config: TrainConfig) -> list[tuple[str, str]]:
    """What a plan says of the cap on the time, where there is one."""
    seconds = config.budget.seconds
    return [] if seconds is None else [
        ("budget", f"{seconds:,g} s of training in the folder, then it stops after a step, with a checkpoint")]


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def _counted(preparer: Preparer) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in preparer.rejected:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    return counts


def train(stage: Stage[Any], config: TrainConfig, out: Path, *, update: bool = False, progress: TrainProgress | None = None,
          ) -> Outcome:
    """Train into the folder `out`, or go on with it, or find it complete.

    `update`: a folder of other settings is begun anew. Raises `UsageError`, `FolderError`, `Interrupted`, `BudgetSpent`,
    `Diverged`.
    """
    progress = progress or TrainProgress("quiet")
    began = time.monotonic()
    with _terminable():
        ready = get_ready(stage, config, progress.say)
        folder = ModelFolder(out, own=stage.files, rank=config.machine_rank)
        try:
            folder.refuse(ready.settings(), update=update)
            if (manifest := folder.complete()) is not None:
                return Outcome(out, manifest, fresh=False)
            if not config.machine_rank and (spent := read_work(out).over(config.budget.seconds)):
                raise spent
            (out / "manifest.json").unlink(missing_ok=True)
            manifest = _trained(ready, folder, progress, began)
        finally:
            folder.close()
    return Outcome(out, manifest, fresh=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, before and after the steps themselves, ends the command as Ctrl-C does."""
    def stop(number: int, frame: object) -> None:
        raise Interrupted("SIGTERM; give the same command to go on")

    before: Any = None
    with suppress(ValueError):  # not the main thread
        before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _trained(ready: Ready, folder: ModelFolder, progress: TrainProgress, began: float) -> dict[str, Any]:
    config = ready.config
    shutil.rmtree(folder.work, ignore_errors=True)
    folder.work.mkdir(parents=True)
    preparer = ready.preparer()
    with calm(progress.say):
        prepared = preparer.prepare(ready.data, folder.work / "data" / "train.arrow", progress.say)
        held = _eval(ready, folder, progress)
        ready.tokenizer.save_pretrained(folder.work / "tokenizer")
    ready.stage.check_data(config, prepared.rows, ready.size.context)
    _check_room(ready, folder, prepared)
    folder.claim(ready.settings())
    if not config.machine_rank:
        write_rejected(preparer.rejected, folder.path / "rejected.jsonl")
    resume = latest(folder.checkpoints, progress.say)
    if resume is not None:
        progress.say(f"going on from the checkpoint of step {step_of(resume):,}")
    done = launch(config, Order(
        stage=ready.stage.name, config=config.model_dump(mode="json"), model=ready.start.path, place=ready.place,
        work=str(folder.work.absolute()), out=str(folder.path.absolute()), data=str(Path(prepared.path).absolute()),
        eval_data=str(Path(held.path).absolute()) if held else "", resume=str(resume.absolute()) if resume else "",
        style=progress.style), progress)
    if config.machine_rank:  # machine 0 saves and describes
        return {"stage": ready.stage.name, "machine_rank": config.machine_rank, "steps": done.steps}
    progress.say("saving the model")
    with calm(progress.say):
        _take_in(ready, folder)
    metrics = read_metrics(folder.path / "metrics.jsonl")
    manifest = _manifest(ready, prepared, done, metrics, began)
    _describe(ready, folder, manifest, metrics, preparer.rejected)
    return manifest


def _eval(ready: Ready, folder: ModelFolder, progress: TrainProgress) -> Prepared | None:
    if not ready.eval_data:
        return None
    return ready.preparer().prepare(ready.eval_data, folder.work / "data" / "eval.arrow",
                                    lambda text: progress.say(f"eval_data: {text}"))


def _check_room(ready: Ready, folder: ModelFolder, prepared: Prepared) -> None:
    needed = needed_room(ready.config, ready.size, ready.place, ready.saved_dtype, total_steps(ready.config, prepared.rows))
    free = shutil.disk_usage(folder.path).free
    if free < needed:
        raise FolderError(f"no room in {folder.path}: about {needed / 1e9:.1f} GB are needed for a checkpoint and the model, and "
                          f"{free / 1e9:.1f} GB are free; free some, or give --out on another disk")


def _take_in(ready: Ready, folder: ModelFolder) -> None:
    """Bring the trained model into the folder, and the adapters beside it."""
    saved = folder.work / "model"
    model = finish_model(saved, folder.work, ready.config, ready.start, ready.stage.head, ready.saved_dtype)
    if ready.config.lora is not None:
        shutil.rmtree(folder.path / "adapter", ignore_errors=True)
        saved.replace(folder.path / "adapter")
    folder.take_in(model)


def _describe(ready: Ready, folder: ModelFolder, manifest: dict[str, Any], metrics: list[dict[str, Any]],
              rejected: Sequence[Rejected]) -> None:
    """Write card and report, remove the checkpoints, write the manifest last."""
    path = folder.path.absolute()
    folder.write_text("README.md", model_card(path.name, manifest))
    rows = ({"id": f"{one.source} {one.split} row {one.row}", "source": one.source, "row": one.row,
             "reject_reason": one.reason, "reject_detail": one.detail} for one in rejected)
    write_report(training_report(path, manifest, metrics, ready.stage.sections(metrics), rows), path / "report.html")
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    manifest["files"] = folder.files()
    folder.write_json("manifest.json", manifest)


def _manifest(ready: Ready, prepared: Prepared, done: Done, metrics: list[dict[str, Any]], began: float) -> dict[str, Any]:
    config, losses = ready.config, [line["loss"] for line in metrics if isinstance(line.get("loss"), float)]
    per_device, accumulation = config.batches()
    versions = {"pica": __version__, "python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    warnings = [f"{number:,} of {prepared.read:,} rows were left out: {reason}" for reason, number in prepared.rejected.items()]
    if prepared.cut:
        warnings.append(f"{prepared.cut:,} rows were cut to {config.max_length:,} tokens")
    manifest = {
        "stage": ready.stage.name, "config": config.model_dump(mode="json"), "seed": config.seed, "versions": versions,
        "model": {"name": ready.start.name, "identity": ready.start.identity, "parameters": ready.size.parameters},
        "data": _described(ready.data, config.data, prepared.sources),
        "rows": {"read": prepared.read, "used": prepared.rows, "cut": prepared.cut, "rejected": prepared.rejected},
        "order": ORDER, "batch": {"size": config.batch_size, "per_device": per_device, "accumulation": accumulation,
                                  "processes": config.processes},
        "steps": done.steps, "epochs": round(done.epochs, 4), "epoch_tokens": prepared.tokens,
        "tokens": int(max((line.get("num_tokens") or 0 for line in metrics), default=0)),
        "loss": {"first": losses[0] if losses else None, "last": losses[-1] if losses else None},
        "device": ready.place.name, "precision": ready.place.precision, "dtype": ready.saved_dtype,
        "seconds": round(max((line.get("seconds") or 0.0 for line in metrics), default=time.monotonic() - began), 3),
        "notes": {"warnings": warnings, **done.notes},
    }
    if ready.goal is not None:
        manifest["goal"] = ready.goal
    return manifest


def _described(opened: Sequence[Opened], uses: Sequence[DataSource], sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each source, with the hash of the manifest of a folder of ours."""
    described = []
    for one, use, about in zip(opened, uses, sources, strict=True):
        own = {} if one.source.manifest is None else {
            "manifest": hashlib.sha256(_bytes(Path(use.source) / "manifest.json", one.source.manifest)).hexdigest()}
        described.append({**about, **own})
    return described


def _bytes(file: Path, manifest: dict[str, Any]) -> bytes:
    return file.read_bytes() if file.is_file() else orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
