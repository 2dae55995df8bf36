"""Several processes, on one machine or more: the command that accelerate is started with, and what becomes of it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections import deque
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from pica.synth.errors import FolderError, PicaError
from pica.train.config import TrainConfig
from pica.train.device import Place
from pica.train.progress import TrainProgress
from pica.train.worker import ERRORS, Done, Order, work

LAST_LINES = 40  # of what the workers wrote, kept to be shown when they fail


def accelerate_command(config: TrainConfig, place: Place, order: Path) -> list[str]:
    """`python -m accelerate.commands.launch ...` for this machine. On a CPU it is torch's own launcher, since accelerate
    starts a single process there."""
    if place.device == "cpu":
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(config.processes // config.machines),
                   "--nnodes", str(config.machines), "--node_rank", str(config.machine_rank),
                   "--master_addr", config.main_address or "127.0.0.1", "--master_port", str(config.main_port)]
        return [*command, "-m", "pica.train.worker", str(order)]
    with as_file(files("pica.train").joinpath("accelerate", f"{config.parallel}.yaml")) as settings:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings)]
    command += ["--num_processes", str(config.processes), "--num_machines", str(config.machines),
                "--machine_rank", str(config.machine_rank), "--main_process_port", str(config.main_port),
                "--mixed_precision", "no" if place.precision == "fp32" else place.precision,
                "--gradient_accumulation_steps", str(config.batches()[1])]
    if config.main_address:
        command += ["--main_process_ip", config.main_address]
    return [*command, "-m", "pica.train.worker", str(order)]


def shown(command: list[str]) -> str:
    """The command as one types it."""
    return shlex.join(command)


def launch(config: TrainConfig, order: Order, progress: TrainProgress) -> Done:
    """Train as ordered, in this process or in several. Raises what ended the training."""
    if config.processes == 1:
        return work(order, progress)
    file = Path(order.work) / "order.json"
    file.write_bytes(msgspec.json.encode(order))
    tail: deque[str] = deque(maxlen=LAST_LINES)
    code, stopped = _follow(accelerate_command(config, order.place, file), config.processes // config.machines, tail)
    return _outcome(file.parent, code, stopped, tail)


def _follow(command: list[str], processes: int, tail: deque[str]) -> tuple[int, bool]:
    """(exit code, whether this process was asked to stop). Workers speak on; their last lines are kept in `tail`."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "TORCHELASTIC_ERROR_FILE": os.devnull}
    environment.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // processes, 1)))
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        running.send_signal(number)  # accelerate hands it to the workers, which save and end

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, errors="replace",
                          start_new_session=True) as running:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            assert running.stderr is not None
            for line in running.stderr:
                if line.startswith(("pica: ", "{", "\x1b", "━", "╌", "step ")):
                    sys.stderr.write(line)
                    sys.stderr.flush()
                else:
                    tail.append(line.rstrip())
            code = running.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code, stopped


def _outcome(folder: Path, code: int, stopped: bool, tail: deque[str]) -> Done:
    if code == 0 and (folder / "done.json").is_file():
        return msgspec.json.decode((folder / "done.json").read_bytes(), type=Done)
    for file in sorted(folder.glob("error-*.json")):
        error = msgspec.json.decode(file.read_bytes(), type=Done).error
        if error is not None:
            raise ERRORS.get(error[0], PicaError)(error[1])
    if stopped:
        raise KeyboardInterrupt
    sys.stderr.write("".join(f"{line}\n" for line in tail))
    raise FolderError(f"a process of the training ended with code {code}; its last words stand above. Checkpoints are kept: give "
                      "the same command to go on")
