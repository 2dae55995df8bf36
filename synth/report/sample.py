"""Which rows a page shows, and how they are packed: a hashed sample in bounded memory, as base64 deflated JSON."""

from __future__ import annotations

import base64
import heapq
import json
import math
import numbers
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

#: Characters of one text that a page holds at most; the page says so where it cuts.
TEXT_LIMIT = 1_000_000
_CHUNK = 512 * 1024
_SAFE_INTEGER = 2**53 - 1


class Sample:
    """The rows with the smallest hashes of their place: at most `rows` of them, in at most `size` bytes of JSON.

    The hash depends on the place alone, so equal input gives an equal sample, whatever the process.
    """

    def __init__(self, rows: int, size: int) -> None:
        self.rows, self.size = rows, size
        self.seen = self.held = 0
        self._heap: list[tuple[int, int, bytes]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, place: int, row: Mapping[str, Any]) -> None:
        """Offer the row that stood at `place` in the input."""
        self.seen += 1
        rank = -_mix(place)
        full = len(self._heap) >= self.rows or self.held >= self.size
        if full and (not self._heap or rank <= self._heap[0][0]):
            return
        text = encode(row)
        self.held += len(text)
        heapq.heappush(self._heap, (rank, place, text))
        self.shrink(self.rows)

    def shrink(self, rows: int) -> None:
        """Drop rows of the largest hashes until at most `rows` (and `size` bytes, but for a last row) are left."""
        while len(self._heap) > rows or (self.held > self.size and len(self._heap) > 1):
            self.held -= len(heapq.heappop(self._heap)[2])

    def items(self) -> list[tuple[int, bytes]]:
        """(place, JSON) of every row that is kept."""
        return [(place, text) for _, place, text in self._heap]


def choose(rows: Iterable[Mapping[str, Any]], max_rows: int, max_bytes: int) -> tuple[list[bytes], Sample, Sample]:
    """The JSON of the rows to show, in the order given, and the samples of accepted and rejected rows.

    Each of the two is assured half of the room; what one does not need is the other's.
    """
    accepted, rejected = Sample(max_rows, max_bytes // 2), Sample(max_rows, max_bytes // 2)
    for place, row in enumerate(rows):
        (rejected if row.get("reject_reason") else accepted).add(place, row)
    half = max_rows // 2
    accepted.shrink(max(max_rows - half, max_rows - len(rejected)))
    rejected.shrink(max_rows - len(accepted))
    return [text for _, text in sorted(accepted.items() + rejected.items())], accepted, rejected


def pack(texts: Sequence[bytes]) -> Iterator[str]:
    """Base64 of deflated JSON arrays of about half a megabyte each."""
    start = held = 0
    for i, text in enumerate(texts):
        held += len(text)
        if held >= _CHUNK or i == len(texts) - 1:
            yield squeeze(b"[" + b",".join(texts[start : i + 1]) + b"]")
            start, held = i + 1, 0


def squeeze(text: bytes) -> str:
    """Deflated (with the zlib header, which holds neither time nor system) and in base64."""
    return base64.b64encode(zlib.compress(text, 6)).decode("ascii")


def encode(value: object) -> bytes:
    """JSON of anything that a row may hold; what JSON cannot say becomes text."""
    try:
        return orjson.dumps(plain(value))
    except (orjson.JSONEncodeError, TypeError):  # a lone surrogate: JSON can escape it, UTF-8 cannot hold it
        return json.dumps(plain(value), separators=(",", ":")).encode("ascii")


def plain(value: object) -> object:  # noqa: PLR0911 - one line a type
    """`value` in the types of JSON, exact in a browser: large integers and numbers that are not finite become text."""
    match value:
        case None | bool():
            return value
        case str():
            return value if len(value) <= TEXT_LIMIT else _cut(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case bytes() | bytearray():
            return bytes(value).hex()
        case numbers.Integral():
            return int(value) if abs(int(value)) <= _SAFE_INTEGER else str(int(value))
        case numbers.Real():
            return float(value) if math.isfinite(value) else str(float(value))
        case Sequence() | set() | frozenset():
            return [plain(item) for item in value]
        case _:
            return str(value)


def _cut(text: str) -> str:
    return f"{text[:TEXT_LIMIT]}\n[cut here: {len(text):,} characters in all, {TEXT_LIMIT:,} of them in this page]"


def _mix(place: int) -> int:
    """A well-mixed 64-bit value of `place` (the finalizer of splitmix64)."""
    z = (place + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return z ^ z >> 31
