"""Where a training runs and in which arithmetic, decided and checked before anything is loaded."""

from __future__ import annotations

import msgspec

from pica.synth.errors import UsageError
from pica.train.config import TrainConfig


class Place(msgspec.Struct, frozen=True):
    """`device` is cpu, cuda or mps; `precision` bf16, fp16 or fp32; `dtype` that of the weights while training."""

    device: str
    precision: str
    dtype: str
    name: str

    @property
    def checkpointing(self) -> bool:
        """Whether `gradient_checkpointing=auto` means yes."""
        return self.device == "cuda"


def find_place(config: TrainConfig) -> Place:
    """The place for this config on this machine. Raises `UsageError` for what is not there."""
    import torch

    device = config.device
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if cuda else "mps" if mps else "cpu"
    if (device == "cuda" and not cuda) or (device == "mps" and not mps):
        what = "no GPU that torch can use" if device == "cuda" else "no Apple GPU"
        raise UsageError(f"device={device} and this machine has {what}; say device=cpu, or check the driver and that torch was "
                         "installed for it")
    _check_processes(config, device, torch.cuda.device_count() if cuda else 0)
    precision = _precision(config, device)
    dtype = config.dtype
    if dtype == "auto":
        dtype = "bfloat16" if config.lora and precision == "bf16" else "float32"
    if dtype == "float16" and config.lora is None:
        raise UsageError("dtype=float16 loses small updates of full fine-tuning; say float32 (with precision=fp16), or lora=true")
    name = torch.cuda.get_device_name(0) if device == "cuda" else device
    return Place(device, precision, dtype, name)


def _check_processes(config: TrainConfig, device: str, gpus: int) -> None:
    here = config.processes // config.machines
    if device == "cuda" and here > gpus:
        raise UsageError(f"processes={config.processes} on machines={config.machines} are {here} on this machine, which has "
                         f"{gpus} GPUs; give processes={gpus * config.machines} or fewer")
    if device != "cuda" and here > 1 and config.device == "auto":
        raise UsageError(f"processes={config.processes} and this machine has no GPU that torch can use; say processes=1, or "
                         "device=cpu to share the work among processors")
    if device != "cuda" and config.parallel != "ddp":
        raise UsageError(f"parallel={config.parallel} needs GPUs; on device={device} there is parallel=ddp")
    if config.parallel != "ddp" and config.processes == 1:
        raise UsageError(f"parallel={config.parallel} spreads a model over GPUs, and processes=1; give processes=2 or more")


def _precision(config: TrainConfig, device: str) -> str:
    import torch

    native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if config.precision == "auto":
        return "bf16" if native else "fp32"
    if config.precision == "bf16" and device == "cuda" and not native:
        raise UsageError(f"precision=bf16 and {torch.cuda.get_device_name(0)} has no bfloat16; say precision=fp16 or fp32")
    if config.precision == "fp16" and device != "cuda":
        raise UsageError(f"precision=fp16 is for GPUs, and the device is {device}; say precision=fp32")
    return config.precision
