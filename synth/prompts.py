"""Prompt files with named slots, filled in one pass, and untrusted text fenced so that it cannot act as instructions.

    prompt = Prompt.load(Path("prompts/tag_quality.txt"))
    text = prompt.fill(instruction="Write a haiku.")

A slot is `{{name}}` (the text as it is), `{{name:fenced}}` (the text between two lines that bear a mark) or
`{{name:mark}}` (that mark, so that the prompt can speak of it). Marks are hashes of the prompt and of what is inserted:
the same call always has the same prompt (the ledger needs that), and a text cannot hold the hash of itself.

What stays the same from call to call stands first in a prompt file and what changes last, marks included: servers then
read the common beginning once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pica.synth.errors import PicaError, UsageError
from pica.synth.structured import Unparsed, ask_json, parse_json, writable

__all__ = ["DEFAULT_LIMIT", "Filled", "Prompt", "TooLong", "Unparsed", "ask_json", "fence", "parse_json", "writable"]

#: Characters an inserted text may have, unless a prompt says otherwise.
DEFAULT_LIMIT = 100_000

_SLOT = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*(?::\s*(\w+)\s*)?\}\}")
_KINDS = ("", "fenced", "mark")


class TooLong(PicaError, ValueError):
    """A text is too long to be put into a prompt; nothing is ever cut silently."""


@dataclass(frozen=True)
class Filled:
    """A prompt with its slots filled.

    `marks`: for each fenced slot, the mark of its fence. `repaired`: slots whose text held NUL or lone surrogates, each
    of which stands as U+FFFD in `text`.
    """

    text: str
    marks: Mapping[str, str]
    repaired: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A prompt text with slots. `limit`: characters that a single inserted text may have."""

    text: str
    name: str = "prompt"
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        unknown = sorted({m[0] for m in _SLOT.finditer(self.text) if (m[2] or "") not in _KINDS})
        if unknown:
            raise UsageError(f"{self.name}: {', '.join(unknown)}: a slot is {{{{name}}}}, {{{{name:fenced}}}} or "
                             "{{name:mark}}")

    @classmethod
    def load(cls, path: Path | str, limit: int = DEFAULT_LIMIT) -> Prompt:
        """The prompt in a UTF-8 text file; outer blank lines do not count. Raises `UsageError` if it cannot be read."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the prompt {path}: {error.__class__.__name__}: {error}") from None
        if not text.strip():
            raise UsageError(f"the prompt {path} is empty")
        return cls(text.strip("\r\n"), name=path.name, limit=limit)

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in the order of their first use."""
        return tuple(dict.fromkeys(m[1] for m in _SLOT.finditer(self.text)))

    @cached_property
    def hash(self) -> str:
        """A short content hash, for manifests: it changes with any letter of the prompt."""
        return hashlib.blake2b(self.text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def fill(self, **values: str) -> str:
        """The prompt with every slot filled. See `filled`."""
        return self.filled(values).text

    def filled(self, values: Mapping[str, str]) -> Filled:
        """Fills every slot in one pass, so inserted text is never searched for slots.

        Raises `UsageError` where a value is missing or unknown, `TooLong` where one is longer than `limit`.
        """
        self._check(values)
        clean = {name: writable(value) for name, value in values.items()}
        fenced = dict.fromkeys(m[1] for m in _SLOT.finditer(self.text) if m[2])
        marks = {name: self._mark(name, clean) for name in fenced}

        def put(slot: re.Match[str]) -> str:
            name, kind = slot[1], slot[2] or ""
            if kind == "mark":
                return marks[name]
            return fence(clean[name], marks[name]) if kind == "fenced" else clean[name]

        repaired = tuple(name for name, value in values.items() if clean[name] != value)
        return Filled(_SLOT.sub(put, self.text), marks, repaired)

    def _check(self, values: Mapping[str, str]) -> None:
        missing = [name for name in self.slots if name not in values]
        unknown = [name for name in values if name not in self.slots]
        if missing or unknown:
            raise UsageError(f"{self.name} has the slots {', '.join(self.slots) or '(none)'}; "
                             f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}")
        for name, value in values.items():
            if len(value) > self.limit:
                raise TooLong(f"{self.name}: {name!r} has {len(value):,} characters and {self.limit:,} are allowed; "
                              "reject the row or raise the limit")

    def _mark(self, name: str, values: Mapping[str, str]) -> str:
        """A mark that occurs neither in the prompt nor in any inserted text."""
        texts = (self.text, *values.values())
        for attempt in range(1000):
            parts = (name, str(attempt), self.hash, *(f"{k}={len(v)}:{v}" for k, v in sorted(values.items())))
            digest = hashlib.blake2b("\x00".join(parts).encode("utf-8"), digest_size=6).hexdigest()
            mark = f"data-{digest}"
            if not any(mark in text for text in texts):
                return mark
        raise AssertionError("a thousand hashes of a text stand in the text")


def fence(text: str, mark: str) -> str:
    """The text between an opening and a closing line that bear `mark`."""
    return f"<{mark}>\n{text}\n</{mark}>"
