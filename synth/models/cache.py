"""Where models that Pica fetched are kept, and how two processes keep out of each other's way there.

The folder is `$PICA_CACHE` if that is set, else the platform's own place for caches: `~/.cache/pica` (or
`$XDG_CACHE_HOME/pica`), `~/Library/Caches/pica` on macOS, `%LOCALAPPDATA%\\pica` on Windows.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pica.synth.errors import Denied


def cache_dir() -> Path:
    """The cache folder's path; it may not exist yet."""
    named = os.environ.get("PICA_CACHE", "")
    if named:
        return Path(named).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "pica"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "pica"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "pica"


@contextmanager
def writing(folder: Path, needed: int) -> Iterator[None]:
    """Make `folder` and hold its lock, so that one process at a time writes there.

    `needed` (bytes) is what will be written, for the message if the disk is full. Raises `Denied` with the mend where
    the folder cannot be written or the disk is full; other errors of the block pass through.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a+b") as lock:
            _lock(lock)
            try:
                yield
            finally:
                _unlock(lock)
    except OSError as error:
        raise _denied(folder, needed, error) from error


def _denied(folder: Path, needed: int, error: OSError) -> Denied:
    """What to tell about a folder that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Denied(f"no room in {folder}: {needed / 1e6:.0f} MB are needed; free some, or set PICA_CACHE to a "
                      "folder on another disk")
    return Denied(f"cannot write to the cache folder {folder} ({error.strerror or error}); set PICA_CACHE to a folder "
                  "that you may write to")


if sys.platform == "win32":
    import msvcrt
    import time

    def _lock(file: IO[bytes]) -> None:
        while True:
            try:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            except OSError:  # held for more than the ten seconds that LK_LOCK waits
                time.sleep(0.1)
            else:
                return

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
