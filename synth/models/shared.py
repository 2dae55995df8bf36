"""Engines that several models of one process share.

Four roles that name the same weights (`teacher`, `responder`, `tagger`, `judge`) shall load them once. An engine is
made for its first user and closed after its last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

#: Held while transformers loads: it swaps functions of its own meanwhile, and two loads at once would leave them swapped.
LOADING = threading.RLock()


class Closes(Protocol):
    """Anything that can be closed, waiting for what it still does."""

    def close(self) -> None:
        """Free what is held."""
        ...


E = TypeVar("E", bound=Closes)


class Shared(Generic[E]):
    """Engines by key, each with a count of its users. Safe to use from many threads."""

    def __init__(self) -> None:
        self._engines: dict[Hashable, tuple[E, int]] = {}
        self._guard = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def acquire(self, key: Hashable, make: Callable[[], E]) -> E:
        """The engine under `key`, made by `make` if there is none; blocks while another thread makes it."""
        with self._guard:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._guard:
                if key in self._engines:
                    engine, users = self._engines[key]
                    self._engines[key] = (engine, users + 1)
                    return engine
            engine = make()
            with self._guard:
                self._engines[key] = (engine, 1)
            return engine

    def release(self, key: Hashable) -> None:
        """One user less; the last one closes the engine."""
        with self._guard:
            engine, users = self._engines.pop(key)
            if users > 1:
                self._engines[key] = (engine, users - 1)
                return
        engine.close()
