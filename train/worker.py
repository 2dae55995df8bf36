"""The process that trains. With one process it is the command itself; with several, accelerate starts this module in each:

    python -m accelerate.commands.launch ... -m pica.train.worker M/.work/0/order.json
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pica.synth.errors import (
    BudgetSpent,
    FolderError,
    Interrupted,
    LedgerError,
    ModelError,
    PicaError,
    TooManyFailures,
    UsageError,
)
from pica.synth.progress import Style
from pica.train.checkpoints import checkpoints, step_of
from pica.train.config import TrainConfig
from pica.train.device import Place
from pica.train.progress import TrainProgress
from pica.train.stage import Job, Stage, load_stage
from pica.train.watch import Diverged, Watch, as_callback

_NO_ROOM = ("No space left", "file write failed", "unexpected pos", "File too large", "PytorchStreamWriter")
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class Order(msgspec.Struct, kw_only=True):
    """Everything that a worker needs to know. Paths are absolute."""

    stage: str
    config: dict[str, Any]
    model: str
    place: Place
    work: str
    out: str
    data: str
    eval_data: str = ""
    resume: str = ""
    style: Style = "quiet"


class Done(msgspec.Struct, kw_only=True):
    """What a training came to. `error`: kind and text of what ended it."""

    steps: int = 0
    epochs: float = 0.0
    notes: dict[str, Any] = {}
    error: tuple[str, str] | None = None


def work(order: Order, progress: TrainProgress | None = None) -> Done:
    """Train as ordered; the trained model is in `work/model` afterwards. Raises what ended the training."""
    stage = load_stage(order.stage)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    config = stage.config_class.model_validate(order.config)
    if "tensorboard" in config.report_to:  # beside the model, not among the checkpoints, which go
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(Path(order.out) / "tensorboard"))
    progress = progress or TrainProgress(order.style if rank == 0 else "quiet")
    watch = Watch(config, Path(order.out), rank=rank, show=progress.step)
    with calm(progress.say), watch.signals():
        job = _job(stage, config, order, rank, world, progress.say)
        try:
            with job.closing:
                return _run(stage, job, watch, order)
        finally:
            progress.unwatch()


def _job(stage: Stage[Any], config: TrainConfig, order: Order, rank: int, world: int, say: Callable[[str], None]) -> Job[Any]:
    import datasets
    from transformers import AutoTokenizer

    return Job(config=config, model=order.model, head=stage.head, dataset=datasets.Dataset.from_file(order.data),
               eval_dataset=datasets.Dataset.from_file(order.eval_data) if order.eval_data else None,
               tokenizer=AutoTokenizer.from_pretrained(Path(order.work) / "tokenizer", trust_remote_code=False),
               out=Path(order.out), say=say, rank=rank, world=world, common=common(config, order))


def common(config: TrainConfig, order: Order) -> dict[str, Any]:
    """What every TRL config is given, by TRL's names. Logging and saving are the watch's business."""
    place = order.place
    per_device, accumulation = config.batches()
    checkpointing = {"auto": place.checkpointing, "on": True, "off": False}[config.gradient_checkpointing]
    return {
        "output_dir": str(Path(order.out) / "checkpoints"), "seed": config.seed, "data_seed": config.seed,
        "learning_rate": config.learning_rate, "num_train_epochs": config.epochs, "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": per_device, "per_device_eval_batch_size": per_device,
        "gradient_accumulation_steps": accumulation, "max_length": config.max_length, "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup, "weight_decay": config.weight_decay, "adam_beta1": config.betas[0],
        "adam_beta2": config.betas[1], "optim": config.optimizer, "max_grad_norm": config.max_grad_norm,
        "bf16": place.precision == "bf16", "fp16": place.precision == "fp16", "gradient_checkpointing": checkpointing,
        "model_init_kwargs": {"dtype": place.dtype, "revision": config.revision or None, "device_map": None},
        "use_cpu": place.device == "cpu", "dataloader_pin_memory": place.device == "cuda",
        "logging_strategy": "no", "save_strategy": "no", "eval_strategy": "no", "logging_nan_inf_filter": False,
        "report_to": list(config.report_to) or "none", "disable_tqdm": True, "push_to_hub": False,
    }


def _run(stage: Stage[Any], job: Job[Any], watch: Watch, order: Order) -> Done:
    job.callbacks.append(as_callback(watch))
    trainer = None
    try:
        trainer = stage.trainer(job)
        _without_printing(trainer)
        trainer.train(resume_from_checkpoint=order.resume or None)
        watch.check_end(trainer.state)
        trainer.save_model(str(Path(order.work) / "model"))
        return Done(steps=trainer.state.global_step, epochs=float(trainer.state.epoch or 0), notes=job.notes)
    except PicaError:
        raise
    except Exception as error:
        raise _explained(error, trainer, job, order) from error
    finally:
        del trainer
        gc.collect()


def _without_printing(trainer: Any) -> None:
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    for kind in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(kind)


def _explained(error: Exception, trainer: Any, job: Job[Any], order: Order) -> Exception:
    """What a user can act on instead of `error`; the error itself where it is none of the known ones."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return _no_memory(job, order.place)
    if trainer is not None and (broken := _unsealed(Path(order.out) / "checkpoints", trainer.state.global_step)):
        return _not_saved(broken, text, error)
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full or any(words in text for words in _NO_ROOM):
        return FolderError(f"no room in {order.out} ({text[:160]}); free some and give the same command again: checkpoints are "
                           "kept")
    if trainer is None and isinstance(error, ValueError | TypeError | OSError | NotImplementedError):
        return UsageError(f"TRL or transformers refuse this training: {text[:400]}")
    return error


def _no_memory(job: Job[Any], place: Place) -> PicaError:
    per_device, accumulation = job.config.batches()
    mends = []
    if per_device > 1:
        smaller = next(size for size in range(per_device // 2, 0, -1) if per_device * accumulation % size == 0)
        mends.append(f"per_device_batch_size={smaller} (now {per_device}; batch_size stays as it is)")
    if not job.common["gradient_checkpointing"]:
        mends.append("gradient_checkpointing=on")
    mends += [f"max_length={job.config.max_length // 2}", "lora=true" if job.config.lora is None else "a smaller model"]
    return FolderError(f"the memory of {place.name} does not suffice; try {', or '.join(mends)}. With the first ones the same "
                       "command goes on from the last checkpoint")


def _unsealed(root: Path, step: int) -> Path | None:
    from pica.train.checkpoints import SEAL

    broken = root / f"checkpoint-{step}"
    return broken if broken.is_dir() and not (broken / SEAL).exists() else None


def _not_saved(broken: Path, text: str, error: Exception) -> PicaError:
    """Remove what there is of a checkpoint that could not be written; say what is left."""
    size = sum(file.stat().st_size for file in broken.rglob("*") if file.is_file())
    shutil.rmtree(broken, ignore_errors=True)
    good = next((f"that of step {step_of(one)} is kept" for one in checkpoints(broken.parent)), "there is none before it")
    free = shutil.disk_usage(broken.parent).free
    return FolderError(f"the checkpoint of step {step_of(broken)} could not be written after {size / 1e6:,.0f} MB "
                       f"({text[:160] or type(error).__name__}; {free / 1e6:,.0f} MB are free in {broken.parent}); {good}. Free "
                       "some space and give the same command to go on")


@contextmanager
def calm(say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """The libraries' own progress bars and warnings silenced; what TRL warns of is said once each, in our own way."""
    import datasets
    import transformers

    relay = _Relay(say)
    loud = {name: logging.getLogger(name) for name in ("trl", "transformers", "datasets", "accelerate", "peft", "torch")}
    before = {name: (logger.level, logger.propagate) for name, logger in loud.items()}
    bars = transformers.utils.logging.is_progress_bar_enabled(), datasets.utils.are_progress_bars_disabled()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for name, logger in loud.items():
        logger.setLevel(logging.WARNING if name == "trl" else logging.ERROR)
    loud["trl"].addHandler(relay)
    loud["trl"].propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        loud["trl"].removeHandler(relay)
        for name, (level, propagate) in before.items():
            loud[name].setLevel(level)
            loud[name].propagate = propagate
        if bars[0]:
            transformers.utils.logging.enable_progress_bar()
        if not bars[1]:
            datasets.enable_progress_bars()


class _Relay(logging.Handler):
    """Says each warning once, in a line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text not in self._said:
            self._said.add(text)
            self._say(f"TRL says: {text[:400]}")


def no_telemetry() -> None:
    """Nothing is sent anywhere: TRL reports each trainer to its makers unless it is told not to."""
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:  # read when that was imported
        constants.HF_HUB_DISABLE_TELEMETRY = True  # type: ignore[attr-defined]


#: what can end a worker, by name, so that the command ends as one process would
ENDS: list[type[PicaError]] = [UsageError, FolderError, LedgerError, Interrupted, BudgetSpent, TooManyFailures, Diverged,
                               *ModelError.__subclasses__()]
ERRORS = {kind.__name__: kind for kind in ENDS}


def main() -> int:
    """Train as the order in the file says; leave what it came to beside it."""
    no_telemetry()
    file = Path(sys.argv[1])
    order = msgspec.json.decode(file.read_bytes(), type=Order)
    rank = int(os.environ.get("RANK", "0"))
    try:
        done = work(order)
    except PicaError as error:
        done = Done(error=(type(error).__name__, str(error)))
    if done.error or os.environ.get("LOCAL_RANK", "0") == "0":
        name = f"error-{rank}.json" if done.error else "done.json"
        (file.parent / name).write_bytes(msgspec.json.encode(done))
    if done.error:
        os._exit(1)  # the others wait for this one in a collective; accelerate ends them
    return 0


if __name__ == "__main__":
    sys.exit(main())
