"""Answers and requests to compressed bytes and back.

Each text is a zstd frame with a checksum, so damage shows. Texts of one ledger resemble each other: after its first
answers it trains a dictionary on them, which every later text is compressed with.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from pica.synth.models.base import Answer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pica.synth.ledger.store import Entry

__all__ = ["DICTIONARY_AFTER", "Codec", "zstd"]

DICTIONARY_AFTER = 2000  # answers; a dictionary trained on fewer generalises poorly
DICTIONARY_BYTES = 64 * 1024
SAMPLE_BYTES = 4096  # of a text, at most, that the dictionary is trained on
_LEVEL: dict[int, int] = {zstd.CompressionParameter.compression_level: 3, zstd.CompressionParameter.checksum_flag: 1}


class Codec:
    """Answers and requests to compressed bytes and back, with the dictionaries of one ledger."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Answer).decode
        self._dictionaries: dict[int, zstd.ZstdDict | None] = {0: None}
        for number, content in connection.execute("SELECT id, bytes FROM dictionaries"):
            self._dictionaries[number] = zstd.ZstdDict(content)
        self._use(max(self._dictionaries))
        self._samples: list[bytes] = []

    def _use(self, number: int) -> None:
        self._current = number
        dictionary = self._dictionaries[number]
        self._compressor = zstd.ZstdCompressor(options=_LEVEL, zstd_dict=dictionary and dictionary.as_digested_dict)

    def pack(self, answer: Answer, content: bytes) -> tuple[bytes, bytes, int]:
        """(compressed answer, compressed request, number of the dictionary used)."""
        zipper = self._compressor
        return (zipper.compress(self._encode(answer), zipper.FLUSH_FRAME), zipper.compress(content, zipper.FLUSH_FRAME),
                self._current)

    def answer(self, data: bytes, dictionary: int) -> Answer:
        """The answer in `data`; raises ZstdError when its checksum is wrong."""
        return self._decode(self.unpack(data, dictionary))

    def unpack(self, data: bytes, dictionary: int) -> bytes:
        """The bytes in `data`; raises ZstdError when their checksum is wrong or the dictionary is missing."""
        if dictionary not in self._dictionaries:
            raise zstd.ZstdError(f"dictionary {dictionary} is missing")
        return zstd.decompress(data, zstd_dict=self._dictionaries[dictionary])

    def learn(self, entries: Sequence[Entry], connection: sqlite3.Connection) -> None:
        """Collect samples; once there are enough, train a dictionary and store it in the open transaction."""
        if self._current:
            return
        for entry in entries:
            self._samples += [self._encode(entry.answer)[:SAMPLE_BYTES], entry.content[:SAMPLE_BYTES]]
        if len(self._samples) < 2 * DICTIONARY_AFTER:
            return
        samples, self._samples = self._samples, []
        try:
            content = zstd.train_dict(samples[:4 * DICTIONARY_AFTER], DICTIONARY_BYTES).dict_content
        except zstd.ZstdError:  # too little to learn from: short or equal texts, which do well without
            return
        for table in ("dictionaries", "dictionary_copies"):
            connection.execute(f"INSERT INTO {table}(id, bytes) VALUES(1, ?)", (content,))
        self._dictionaries[1] = zstd.ZstdDict(content)
        self._use(1)
