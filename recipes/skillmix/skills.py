"""The skill file: skills with descriptions and topics, query types, and where they come from. For people to edit and share.

    skills:
    - name: Conflict resolution
      description: Settling a disagreement so that both sides can live with the result.
      topics: [Working with others]
    query_types:
    - name: planning
      description: asks for a plan under stated limits

YAML or JSON. `skills=FILE` brings one; every run writes the one it used into its folder as `skills.yaml`.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pica.synth.config import load_config
from pica.synth.errors import UsageError
from pica.synth.filters.exact import normalise

HERE = Path(__file__).parent / "skills"
WAYS = ("starter", "ask", "extract")
LONGEST = 400  # characters of a message about a bad file


class Entry(BaseModel):
    """Something with a name and a one-line description. `found`: how often it was named before merging; `merged`: other names
    that were merged into it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=1000)
    found: int = Field(1, ge=1)
    merged: tuple[str, ...] = ()


class Skill(Entry):
    """A skill, and the topics that it belongs to."""

    topics: tuple[str, ...] = ()


class SkillFile(BaseModel):
    """Skills and query types. `provenance` is free text and numbers: who named them, how they were merged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skills: tuple[Skill, ...] = Field(min_length=1)
    query_types: tuple[Entry, ...] = Field(min_length=1)
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> SkillFile:
        for what, entries in (("skill", self.skills), ("query type", self.query_types)):
            seen: dict[str, str] = {}
            for entry in entries:
                level = level_name(entry.name)
                if not level:
                    raise ValueError(f"{what} {entry.name!r} has neither letters nor digits; give it a name")
                if level in seen:
                    raise ValueError(f"{what} {entry.name!r} stands twice (also as {seen[level]!r}); remove one")
                seen[level] = entry.name
        return self

    def text(self) -> str:
        """The file's YAML; fields that say nothing are left out."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def level_name(name: str) -> str:
    """The form in which two names are compared: without case, width, punctuation and extra white space."""
    return normalise(name, keep_punctuation=False)


def file_of(name: str) -> Path:
    """The skill file that `skills=NAME` means. Raises `UsageError` when there is none."""
    if name == "starter":
        return HERE / "starter.yaml"
    path = Path(name)
    if path.is_file():
        return path
    near = get_close_matches(name, WAYS, n=1)
    raise UsageError(f"skills={name!r} is no file{f'; did you mean {near[0]!r}?' if near else '.'} Known: {', '.join(WAYS)}, or "
                     "a YAML or JSON file of skills")


def read_skills(name: str) -> SkillFile:
    """The skill file that `skills=NAME` means. Raises `UsageError` with the first problems of a bad one, in one line."""
    path = file_of(name)
    try:
        return load_config(SkillFile, file=path)
    except UsageError as error:
        text = str(error).removesuffix(".")
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        raise UsageError(f"skills={name}: {text}") from None
