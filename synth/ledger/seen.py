"""Keys that may be in a ledger, held in a few megabytes: what is certainly new need not be looked up in SQLite.

A Bloom filter (Bloom 1970). Looking up a key that is not there costs SQLite ten times as much, since it gives up the
interpreter's lock while another thread is writing.
"""

from __future__ import annotations

import struct

BITS = 1 << 25  # 4 MB: one in 1,000 new keys is looked up in vain after a million keys, one in 6 after ten million
PROBES = 5
_HALVES = struct.Struct("<QQ").unpack


class Seen:
    """A set of 16-byte keys that forgets nothing and is wrong now and then: `in` may be true for a key never added."""

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)

    def add(self, key: bytes) -> None:
        """Remember `key`."""
        first, step = _HALVES(key)
        for probe in range(PROBES):
            place = (first + probe * step) % BITS
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: bytes) -> bool:
        first, step = _HALVES(key)
        for probe in range(PROBES):
            place = (first + probe * step) % BITS
            if not self._bits[place >> 3] >> (place & 7) & 1:
                return False
        return True
