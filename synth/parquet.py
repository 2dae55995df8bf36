"""Parquet files, a batch at a time, with an error that says what to do when one is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pica.synth.errors import FolderError

_MAGIC = b"PAR1"  # at both ends of every file


def batches(file: Path) -> Iterator[Any]:
    """The record batches (arro3) of a Parquet file. Raises `FolderError` for a file that is damaged or none."""
    from arro3.io import read_parquet

    _check_ends(file)
    try:
        yield from read_parquet(str(file))
    except GeneratorExit:
        raise
    except BaseException as error:  # the reader raises plain Exceptions, and for a bad footer one that is not even that
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise _unreadable(file, " ".join(str(error).split())) from None


def _check_ends(file: Path) -> None:
    try:
        with file.open("rb") as handle:
            start, size = handle.read(4), handle.seek(0, 2)
            handle.seek(max(0, size - 8))
            end = handle.read()
    except OSError as error:
        raise _unreadable(file, error.strerror or "no such file") from None
    if start != _MAGIC or end[4:] != _MAGIC or int.from_bytes(end[:4], "little") > size - 12:
        raise _unreadable(file, "cut short, or no Parquet file")


def _unreadable(file: Path, why: str) -> FolderError:
    return FolderError(f"{file} cannot be read ({why}); remove it and give the command that made it again: the answers "
                       "are in the ledger")
