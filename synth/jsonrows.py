"""JSON files as rows: an object a line, or one array of objects; UTF-8, perhaps behind gzip; read a piece at a time."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from pica.synth.errors import UsageError

SUFFIXES = tuple(f"{suffix}{packed}" for suffix in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz"))
_CHUNK = 1 << 20  # characters of an array that are read at a time
_NEAR = 32        # a fault this close to the end of what was read may be only that the rest is missing
_DIGITS = bytes(ord("0") if chr(code).isdigit() and code < 128 else 32 for code in range(256))
_LONG = b"0" * 19  # an integer with so many digits is one that orjson may round to a float
_BOM = b"\xef\xbb\xbf"


def json_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, in order; empty lines are none. Raises `UsageError` that names the line (or, in an array, the
    element) that is no object."""
    try:
        with _open(file) as handle:
            start = handle.read(4096)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UsageError(f"{file} is UTF-16; save it as UTF-8")
        if start.removeprefix(_BOM).lstrip()[:1] == b"[":
            yield from _array(file)
        else:
            yield from _lines(file)
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise UsageError(f"{file} cannot be read ({why}); check it, or fetch it again") from None


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with _open(file) as handle:
        for number, line in enumerate(handle, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield _object(_value(text, f"{file} line {number}"), f"{file} line {number}")


def _value(text: bytes, where: str) -> Any:
    """orjson where it loses nothing; Python's own reader for NaN and long integers, which tell more of what is wrong."""
    if _LONG not in text.translate(_DIGITS):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    try:
        found = json.loads(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply to be read") from None
    except ValueError as error:
        raise UsageError(f"{where} is not JSON ({error}); each line must be one object, without commas between "
                         "lines") from None
    return _whole(found, text.decode("utf-8"), where)


def _whole(value: Any, text: str, where: str) -> Any:
    """`value`, unless half of a surrogate pair is in it, which no file could hold again."""
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UsageError(f"{where} holds half a character (a lone surrogate); remove the escape") from None
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is {_KINDS.get(type(value), 'a number')}, not an object with columns")
    return value


_KINDS = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}


class _Array:
    """The elements of a JSON array, decoded one by one from a file that is read as it is needed."""

    def __init__(self, file: Path, handle: IO[str]) -> None:
        self.file, self.handle = file, handle
        self.text, self.place, self.ended = "", 0, False

    def more(self) -> None:
        """Read on, at least as much as is there, so that a large element is not decoded again and again."""
        self.text = self.text[self.place:]
        self.place = 0
        piece = self.handle.read(max(_CHUNK, len(self.text)))
        self.ended = not piece
        self.text += piece

    def sign(self) -> str:
        """The next character that is no space, taken; empty at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place].isspace():
                self.place += 1
            if self.place < len(self.text) or self.ended:
                self.place += 1
                return self.text[self.place - 1:self.place]
            self.more()

    def element(self, where: str) -> Any:
        """The element that begins at the last sign."""
        self.place -= 1
        decoder = json.JSONDecoder()
        while True:
            try:
                value, end = decoder.raw_decode(self.text, self.place)
            except RecursionError:
                raise UsageError(f"{where} is nested too deeply to be read") from None
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - _NEAR
                if self.ended or not cut:
                    raise UsageError(f"{where} is not JSON ({error.msg})") from None
            else:
                if end < len(self.text) or self.ended:
                    _whole(value, self.text[self.place:end], where)
                    self.place = end
                    return value
            self.more()


def _array(file: Path) -> Iterator[dict[str, Any]]:
    with _open(file) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as handle:
        yield from _elements(file, _Array(file, handle))


def _elements(file: Path, array: _Array) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        array.sign()  # the [ that made it an array
        sign = array.sign()
        closed = sign == "]"
        while not closed:
            where = f"{file} element {number + 1}"
            if not sign:
                raise UsageError(f"{file} ends within its array, after {number:,} elements; fetch it again")
            yield _object(array.element(where), where)
            number, sign = number + 1, array.sign()
            closed = sign == "]"
            if sign not in {",", "]", ""}:
                raise UsageError(f"{where} is followed by {sign!r} where , or ] must stand")
            sign = array.sign() if sign == "," else sign
        if array.sign():
            raise UsageError(f"{file} goes on behind its array; put one object a line, or everything in one array")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 near element {number + 1}; save it as UTF-8") from None
