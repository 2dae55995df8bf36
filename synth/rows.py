"""The row types and their Parquet schemas.

A recipe's row is a class that adds fields to `SFTRow` or `PreferenceRow`. Fields are flat and in snake_case; each says
in its annotation what it is: `Annotated[float | None, "squared distance to the nearest other instruction"]`. A
third part of the annotation says how a report shows the column; by default numbers and `Literal`s are shown.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from pica.synth.parquet import batches

Messages = list[dict[str, str]]


class Provenance(msgspec.Struct, kw_only=True):
    """What every row says of its making."""

    id: Annotated[str, "unique in this dataset, the same in every run with this config"]
    recipe: Annotated[str, "recipe that made the row"]
    model: Annotated[str, "model that wrote the answers"]
    seed: Annotated[int, "seed of the row; all its calls' seeds follow from it"]
    calls: Annotated[list[str], "ledger keys of the calls that made the row"]


class SFTRow(Provenance, kw_only=True):
    """A conversation to learn from, in TRL's conversational format."""

    messages: Annotated[Messages, "the conversation, ending with the assistant"]


class PreferenceRow(Provenance, kw_only=True):
    """A preference pair, in TRL's conversational format."""

    prompt: Annotated[Messages, "the conversation up to the answers"]
    chosen: Annotated[Messages, "the preferred answer"]
    rejected: Annotated[Messages, "the other answer"]
    score_chosen: Annotated[float | None, "score of the preferred answer"]
    score_rejected: Annotated[float | None, "score of the other answer"]


class Column(msgspec.Struct, frozen=True):
    """A column of a dataset: its name, Python type, and what it means. `kind` is how a report shows it: `number`,
    `category` (few values, `order` ranks them), or not at all."""

    name: str
    type: Any
    description: str
    kind: str = ""
    order: tuple[str, ...] = ()


#: columns that `rejected/` has besides the row's own
REJECTED_COLUMNS = (Column("index", int, "number of the candidate"),
                    Column("reject_reason", str, "why the row was dropped"),
                    Column("reject_detail", str, "what is special about this case"))
_FIRST = ("id", "messages", "prompt", "chosen", "rejected", "score_chosen", "score_rejected")
_LAST = ("recipe", "model", "seed", "calls")


def columns(row: type[msgspec.Struct]) -> list[Column]:
    """The columns of a row type: conversation first, then the recipe's own, provenance last."""
    hints = get_type_hints(row, include_extras=True)
    found = {name: _column(name, hint) for name, hint in hints.items() if name in row.__struct_fields__}
    names = [name for name in _FIRST if name in found]
    names += [name for name in row.__struct_fields__ if name not in _FIRST + _LAST]
    return [found[name] for name in [*names, *(name for name in _LAST if name in found)]]


def _column(name: str, hint: Any) -> Column:
    description, kind = "", ""
    if get_origin(hint) is Annotated:
        hint, description, *more = get_args(hint)
        kind = more[0] if more else ""
    plain = [part for part in get_args(hint) if part is not type(None)] if _optional(hint) else [hint]
    order = tuple(str(value) for value in get_args(plain[0])) if get_origin(plain[0]) is Literal else ()
    if not kind and name not in _FIRST + _LAST:
        kind = "category" if order else "number" if plain[0] in {int, float} else ""
    return Column(name, hint, description, kind, order)


def _optional(hint: Any) -> bool:
    return get_origin(hint) in {Union, types.UnionType}


def arrow_schema(wanted: list[Column]) -> Any:
    """The Arrow schema (arro3) of these columns; every field may be null."""
    from arro3.core import Field, Schema

    return Schema([Field(column.name, arrow_type(column.type), nullable=True) for column in wanted])


def arrow_type(hint: Any) -> Any:
    """The Arrow type (arro3) of a Python type: str, int, float, bool, list[...], dict[str, str] of a message, a struct."""
    from arro3.core import DataType, Field

    simple = {str: DataType.utf8, int: DataType.int64, float: DataType.float64, bool: DataType.bool}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return arrow_type(arguments[0])
    if _optional(hint):
        return arrow_type(next(argument for argument in arguments if argument is not type(None)))
    if origin is list:
        return DataType.list(Field("item", arrow_type(arguments[0]), nullable=True))
    if origin is dict:  # a message
        return DataType.struct([Field("role", DataType.utf8()), Field("content", DataType.utf8())])
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        inner = get_type_hints(hint, include_extras=True)
        return DataType.struct([Field(name, arrow_type(inner[name]), nullable=True) for name in hint.__struct_fields__])
    if origin is not Literal and hint not in simple:
        raise TypeError(f"a row's field cannot be {hint}; allowed: str, int, float, bool, list, messages, a msgspec struct, None "
                        "beside them")
    return DataType.utf8() if origin is Literal else simple[hint]()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file as dicts, a batch in memory at a time. Raises `FolderError` for a damaged file."""
    for batch in batches(path):
        names = batch.schema.names
        lists = [batch[name].to_pylist() for name in names]
        for values in zip(*lists, strict=True):
            yield dict(zip(names, values, strict=True))
