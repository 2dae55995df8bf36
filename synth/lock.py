"""One process at a time: an advisory lock on a file, released by the system when the process ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pica.synth.errors import PicaError


class FileLock:
    """An exclusive lock on `path` (made if absent), held until `release`.

    The file holds the owner's process number, for the message that a second process gets. Raises `error` at once when
    another process holds it, or the file cannot be made. Not reliable on network file systems without locks.
    """

    def __init__(self, path: Path, *, what: str, error: type[PicaError]) -> None:
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as problem:
            raise error(f"{what} cannot be used: {path} cannot be opened for writing ({problem.strerror}); make the "
                        "folder writable, free space, or give this run another place") from None
        try:
            _lock(self._handle)
        except OSError as problem:
            if problem.errno not in {errno.EAGAIN, errno.EACCES, errno.EDEADLK}:
                os.close(self._handle)
                raise error(f"{what} cannot be locked ({problem.strerror}); put it on a file system that has "
                            "locks") from None
            owner = os.read(self._handle, 32).decode(errors="replace").strip()
            os.close(self._handle)
            self._handle = -1
            raise error(f"{what} is in use by another process{f' (pid {owner})' if owner else ''}; "
                        "wait for it to end, or give this run another place") from None
        with suppress(OSError):  # a full disk: the number is a courtesy
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, str(os.getpid()).encode())

    def release(self) -> None:
        """Let the next process in. Harmless when released before."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
                 ) -> None:
        self.release()


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 1 << 30, os.SEEK_SET)  # far behind the text, which stays readable for others
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
