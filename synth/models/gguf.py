"""The metadata of a GGUF file, read without loading its weights (format: ggml's `docs/gguf.md`, versions 2 and 3)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

from pica.synth.errors import UsageError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def gguf_metadata(path: Path) -> dict[str, Any]:
    """All scalar and text values of the header by key; arrays (vocabularies) are left out.

    Raises `UsageError` where `path` is not a whole GGUF header.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise UsageError(f"{str(path)!r} is no GGUF file; give a .gguf file that llama.cpp can run")
            version, _, count = _unpack(file, "I"), _unpack(file, "Q"), 0
            if version not in (2, 3):
                raise UsageError(f"{str(path)!r} has GGUF version {version}; known: 2, 3; convert the model anew")
            count = _unpack(file, "Q")
            return {key: value for key, value in (_pair(file) for _ in range(count)) if value is not None}
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror}; give a .gguf file that exists") from error
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(path)!r} is damaged: its header ends early or is garbled; fetch it anew") from error


def _pair(file: IO[bytes]) -> tuple[str, Any]:
    key = _text(file)
    return key, _value(file, _unpack(file, "I"))


def _value(file: IO[bytes], kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        _skip(file, _unpack(file, "I"), _unpack(file, "Q"))
        return None
    return _unpack(file, _SCALARS[kind])


def _skip(file: IO[bytes], kind: int, count: int) -> None:
    """Pass over an array of `count` values."""
    if kind in _SCALARS:
        file.seek(count * struct.calcsize(_SCALARS[kind]), 1)
        return
    for _ in range(count):
        if kind == _STRING:
            file.seek(_unpack(file, "Q"), 1)
        else:
            _skip(file, _unpack(file, "I"), _unpack(file, "Q"))


def _text(file: IO[bytes]) -> str:
    size = _unpack(file, "Q")
    data = file.read(min(size, 1 << 24))
    if len(data) != size:
        raise struct.error("text ends early")
    return data.decode()


def _unpack(file: IO[bytes], code: str) -> Any:
    return struct.unpack("<" + code, file.read(struct.calcsize("<" + code)))[0]
