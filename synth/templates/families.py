"""The families of `families.yaml`: what is known of a model beyond what its template says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from pica.synth.templates.segments import Segments


class FamilySampling(BaseModel):
    """Sampling that the published recipe used for instructions, for the models whose id matches one of `ids`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: tuple[str, ...] = ()
    temperature: float
    top_p: float


class Family(BaseModel):
    """One entry of `families.yaml`, whose head explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    ids: tuple[str, ...]
    marks: tuple[str, ...]
    tells: tuple[str, ...] = ()
    system_role: bool | None = None
    layout: Segments
    bos: str = ""
    stop: tuple[str, ...]
    pre_query: str | None = None
    suffix: str = ""
    default_system: str | None = None
    forbid_start: tuple[str, ...] = ()
    sampling: tuple[FamilySampling, ...] = ()
    support: Literal["works", "partly", "untested"]
    note: str = ""

    @cached_property
    def _id_patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(pattern, re.IGNORECASE) for pattern in self.ids)

    def has_id(self, name: str) -> bool:
        """Whether a hub id, path or file name speaks of this family."""
        return any(pattern.search(name) for pattern in self._id_patterns)

    def sampling_for(self, name: str) -> dict[str, float]:
        """Recommended `temperature` and `top_p` for the model `name`; empty where nothing is recommended."""
        for entry in self.sampling:
            if not entry.ids or any(re.search(pattern, name, re.IGNORECASE) for pattern in entry.ids):
                return {"temperature": entry.temperature, "top_p": entry.top_p}
        return {}


def _load() -> Mapping[str, Family]:
    data = yaml.safe_load(files(__package__).joinpath("families.yaml").read_text(encoding="utf-8"))
    return MappingProxyType({name: _family(name, entry, data["layouts"]) for name, entry in data["families"].items()})


def _family(name: str, entry: dict[str, Any], layouts: dict[str, dict[str, Any]]) -> Family:
    values = layouts[entry["layout"]] | entry.pop("segments", {})
    layout = Segments(**(values | {"trims": tuple(values.get("trims", ()))}))
    return Family.model_validate(entry | {"name": name, "layout": layout})


#: Every known family by name, in the order in which they are tried.
FAMILIES: Mapping[str, Family] = _load()


def recognise(name: str = "", texts: Sequence[str] = (), system_role: bool | None = None) -> Family | None:
    """The family of a model, from its hub id or file name and from texts: its template, and what it renders.

    Where texts are given, all marks of the family must stand in one of them, so that a model that is named after one
    family but speaks another's language is taken for what it speaks. `system_role`: whether the template takes one.
    """
    fitting = [f for f in FAMILIES.values() if not texts or any(all(m in t for m in f.marks) for t in texts)]
    if name:
        for family in fitting:
            if family.has_id(name):
                return family
    for family in fitting if texts else ():
        told = family.tells and all(any(tell in text for text in texts) for tell in family.tells)
        if told and family.system_role in {None, system_role}:
            return family
    return None
