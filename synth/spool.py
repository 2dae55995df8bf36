"""Finished rows on disk in the order they finish, found again in the order of their index.

A spool needs 20 bytes of memory a row. It is not durable and need not be: everything in it can be made again from the
ledger.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

PENDING, ACCEPTED, REJECTED = 0, 1, 2


class Spool:
    """Rows as JSON lines in file `path` (emptied at the start), by candidate index 0, 1, 2, ..."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[bytes] = path.open("w+b", buffering=1 << 18)
        self._offset = array("Q")
        self._length = array("I")
        self._rows = array("H")
        self._state = bytearray()
        self._end = 0
        self.accepted = 0          # rows, of all candidates
        self.reasons: Counter[str] = Counter()
        self.failed = 0            # candidates that were rejected because a model gave no answer

    def __len__(self) -> int:
        """Candidates that were started."""
        return len(self._state)

    def start(self) -> int:
        """A new candidate's index."""
        self._offset.append(0)
        self._length.append(0)
        self._rows.append(0)
        self._state.append(PENDING)
        return len(self._state) - 1

    def accept(self, index: int, rows: Sequence[bytes]) -> None:
        """Candidate `index` made these rows (JSON, one line each)."""
        self._put(index, ACCEPTED, rows)
        self.accepted += len(rows)

    def reject(self, index: int, row: bytes, reason: str, *, failed: bool = False) -> None:
        """Candidate `index` was dropped for `reason`; `row` is what there is of it, with the reason in it."""
        self._put(index, REJECTED, [row])
        self.reasons[reason] += 1
        self.failed += failed

    def _put(self, index: int, state: int, rows: Sequence[bytes]) -> None:
        data = b"".join(row + b"\n" for row in rows)
        self._file.write(data)
        self._offset[index], self._length[index] = self._end, len(data)
        self._rows[index], self._state[index] = len(rows), state
        self._end += len(data)

    def prefix(self, want: int) -> int:
        """The smallest number of first candidates that hold `want` accepted rows (all of them, if there are fewer)."""
        rows = 0
        for index, state in enumerate(self._state):
            if rows >= want:
                return index
            rows += self._rows[index] if state == ACCEPTED else 0
        return len(self._state)

    def count(self, candidates: int) -> int:
        """Accepted rows of the first `candidates`."""
        return sum(self._rows[index] for index in range(candidates) if self._state[index] == ACCEPTED)

    def read(self, candidates: int, state: int) -> Iterator[bytes]:
        """The rows (lines without their end) of the first `candidates` in this state, in order of index."""
        self._file.flush()
        with self.path.open("rb") as file:
            for index in range(candidates):
                if self._state[index] == state and self._length[index]:
                    file.seek(self._offset[index])
                    yield from file.read(self._length[index])[:-1].split(b"\n")

    def close(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)
