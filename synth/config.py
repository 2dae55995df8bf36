"""Configs: typed, from defaults, a YAML file and `key=value` words, with messages that a user can act on."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pica.synth.budget import Budget
from pica.synth.errors import UsageError
from pica.synth.models.base import ModelConfig

C = TypeVar("C", bound=BaseModel)

LONGEST_SHOWN = 200  # characters of a bad value in a message

#: a user name, a password or a key in the URL of a model's name, which would be written to files with the settings
_SECRET = re.compile(r"https?://[^/|]*@|@[^/|@:]+:[^/|@]+@(?!https?://)|[?&][^=|]*(?:key|token|secret|pass|auth|sig)[^=|]*=",
                     re.IGNORECASE)

#: settings that change how a run goes, never what it makes
VOLATILE = ("concurrency", "budget", "ledger", "durability", "max_candidates")
VOLATILE_OF_MODELS = ("max_in_flight", "timeout", "api_key_env", "price_prompt", "price_completion", "batch")


class CallConfig(BaseModel):
    """What every config shares whose work asks models. `summary` says what is made. `roles` maps a role that may be left out
    to the one that stands in; `steps` maps a sampling step to the role whose `temperature`, `top_p` and `max_tokens` it
    takes over."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    summary: ClassVar[str] = ""
    roles: ClassVar[dict[str, str]] = {}
    steps: ClassVar[dict[str, str]] = {}

    n: int = Field(100, ge=1, le=1_000_000_000, description="accepted rows wanted")
    seed: int = Field(0, ge=0, lt=2**53, description="everything random follows from it")
    concurrency: int = Field(256, ge=1, le=65536, description="calls in flight at most, to each model")
    ledger: str = Field("", description="file of the ledger; default: ledger.sqlite in the output folder")
    durability: Literal["full", "normal"] = Field("full", description="full: answers survive a power cut")
    budget: Budget = Field(Budget(), description="caps; the run stops before a call would pass one")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Merge nested settings over their defaults; let roles stand in; hand a role's sampling to its steps."""
        if not isinstance(values, Mapping):
            return values
        filled = {name: over_default(cls, name, value) for name, value in cls.expand(dict(values)).items()}
        for role, substitute in cls.roles.items():
            stands_in = filled.get(substitute, cls.model_fields[substitute].default)
            given = filled.get(role)
            if given is None:
                filled[role] = stands_in
            elif isinstance(given, Mapping) and "name" not in given:  # responder.temperature=0.5
                filled[role] = {**_as_dict(stands_in), **given}
        for step, role in cls.steps.items():
            given = values.get(step, {})
            if isinstance(given, Mapping):
                more = {name: value for name, value in _sampling_of(filled.get(role)).items() if name not in given}
                filled[step] = {**_as_dict(filled.get(step, cls.model_fields[step].default)), **more}
        return filled

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What the user wrote, with presets put under it. For recipes that have presets."""
        return values

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made; two runs with the same ones make the same data."""
        return _without_volatile(self.model_dump(mode="json"))

    def models_by_role(self) -> dict[str, ModelConfig]:
        """The models by role; of a role that takes several, each with its number."""
        found: dict[str, ModelConfig] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            several = value if isinstance(value, list) else [value]
            for number, one in enumerate(several, 1):
                if isinstance(one, ModelConfig):
                    found[name if one is value else f"{name} {number}"] = one
        return found


class RunConfig(CallConfig):
    """What every recipe's config shares."""

    teacher: ModelConfig = Field(ModelConfig(name="local"), description="the model that writes, and stands in for roles "
                                                                        "left out")
    max_candidates: int = Field(0, ge=0, description="rows begun at most; 0: 20 n + 100")

    @property
    def candidate_limit(self) -> int:
        """Rows that may be begun."""
        return self.max_candidates or 20 * self.n + 100


def _as_dict(value: Any) -> dict[str, Any]:
    return value.model_dump() if isinstance(value, BaseModel) else dict(value) if isinstance(value, Mapping) else {}


def _nested(annotation: Any) -> type[BaseModel] | None:
    """The config class inside an annotation such as `ModelConfig | None`; a list of them is no nested setting."""
    if get_origin(annotation) in {list, tuple, dict}:
        return None
    return next((kind for kind in get_args(annotation) or (annotation,)
                 if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def over_default(cls: type[BaseModel], name: str, value: Any) -> Any:
    """A nested setting merged over its default; a bare value is the field that the class calls `bare`."""
    field = cls.model_fields.get(name)
    kind = _nested(field.annotation) if field else None
    if field is None or kind is None or value is None or isinstance(value, BaseModel):
        return value
    bare = getattr(kind, "bare", "")
    if not isinstance(value, Mapping):
        value = {bare: value} if bare else value
    elif "" in value:
        value = {bare or "": value[""], **{key: inner for key, inner in value.items() if key}}
    if not isinstance(value, Mapping) or not isinstance(field.default, BaseModel):
        return value
    if isinstance(field.default, ModelConfig) and "name" in value:
        return value
    return {**field.default.model_dump(exclude_unset=True), **value}  # what nobody set stays so (`model_fields_set`)


def _sampling_of(role: Any) -> dict[str, Any]:
    values = _as_dict(role)
    return {name: values[name] for name in ("temperature", "top_p", "max_tokens") if values.get(name) is not None}


def _without_volatile(values: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in values.items() if name not in VOLATILE}
    for name, value in kept.items():
        kept[name] = [_lasting(item) for item in value] if isinstance(value, list) else _lasting(value)
    return kept


def _lasting(value: Any) -> Any:
    """A model's settings without those that only say how it is asked."""
    if isinstance(value, dict) and "api_key_env" in value:
        return {key: inner for key, inner in value.items() if key not in VOLATILE_OF_MODELS}
    return value


def load_config(cls: type[C], *, file: Path | None = None, words: Sequence[str] = ()) -> C:
    """A config of class `cls` from the YAML `file` and `key=value` words (the words win). Raises `UsageError`."""
    values = _read(file) if file else {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"{word!r} is no setting; write key=value, such as n=100 (see --help for every key)")
        _set(values, key.split("."), _value(text), word)
    return parse_config(cls, values)


def parse_config(cls: type[C], values: dict[str, Any]) -> C:
    """A config of class `cls` from plain values. Raises `UsageError` naming every bad one."""
    _check_keys(cls, values)
    _check_secrets(values)
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"a setting holds {error.object[error.start:error.end]!r}, which is no valid Unicode; write it as "
                         "UTF-8") from None
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        own = [problem for problem in problems if problem["loc"][:1] in {(), *((name,) for name in values)}]
        raise UsageError("; ".join(_problem(problem) for problem in own or problems)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # a safe loader
    except OSError as error:
        raise UsageError(f"cannot read config {file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"config {file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict | None):
        raise UsageError(f"config {file} holds a {type(values).__name__}; write `key: value` lines")
    return values or {}


def _value(text: str) -> Any:
    try:
        value = yaml.load(text, _Loader) if text else ""  # noqa: S506  # a safe loader
    except (yaml.YAMLError, ValueError):  # a number of thousands of digits
        return text
    if value is None:
        return value if text in {"null", "~"} else text  # `# c` is no comment here
    return text if isinstance(value, str) and text[:1] not in "'\"" else value


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: `no` and `on` are words, `12:30` and dates too, `010` is ten, `1e-6` is a number."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # instead of YAML 1.1's


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:pica,2025:int", re.compile(r"[-+]?[0-9][0-9_]*\Z"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"),
    list("-+.0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])
_Loader.add_constructor("tag:pica,2025:int", lambda loader, node: int(str(node.value)))


def _set(values: dict[str, Any], path: list[str], value: Any, word: str) -> None:
    *parents, last = path
    for name in parents:
        inner = values.get(name)
        if isinstance(inner, str | int | float):  # teacher=local teacher.temperature=0.7
            inner = {"": inner}
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise UsageError(f"{word!r} sets a part of {name!r}, which is {inner!r}")
        values[name] = inner
        values = inner
    if isinstance(values.get(last), dict) and not isinstance(value, dict | list | None):
        values[last][""] = value
    else:
        values[last] = value


def _check_keys(cls: type[BaseModel], values: Mapping[str, Any], prefix: str = "") -> None:
    known = list(cls.model_fields)
    for name, value in values.items():
        if name not in known and name:
            near = get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {prefix + near[0]!r}?" if near else "."
            raise UsageError(f"unknown key {prefix + str(name)!r}{hint} Known: {', '.join(prefix + key for key in known)}")
        inner = _nested(cls.model_fields[name].annotation) if name else None
        if inner is not None and isinstance(value, Mapping):
            _check_keys(inner, value, f"{prefix}{name}.")


def _check_secrets(value: Any, place: str = "") -> None:
    """Refuse a secret in a model's name, without saying it again."""
    if isinstance(value, str) and value.startswith("openai/") and _SECRET.search(value):
        raise UsageError(f"{place}: the URL holds a user name, password or key, and settings are written to files; leave it out, "
                         "and set OPENAI_API_KEY in the environment (or the variable that api_key_env names)")
    if isinstance(value, Mapping | list | tuple):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_secrets(inner, f"{place}.{key}".strip("."))


def _problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"][0].lower() + problem["msg"][1:]
    given = problem.get("input")
    shown = "" if isinstance(given, dict | BaseModel) else f"={given!r}"
    if len(shown) > LONGEST_SHOWN:
        shown = f"{shown[:LONGEST_SHOWN]}..."
    return f"{place}{shown}: {text.removeprefix('value error, ')}" if place else text.removeprefix("value error, ")


def fields(cls: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, description) of every field, nested ones with their path."""
    for name, field in cls.model_fields.items():
        default, kind = field.default, _nested(field.annotation)
        description = field.description or ""
        if kind is None:
            yield prefix + name, type_name(field.annotation), yaml_value(default), description
        elif kind is ModelConfig:
            substitute = getattr(cls, "roles", {}).get(name)
            shown = default.name if isinstance(default, ModelConfig) else f"the {substitute}" if substitute else "null"
            yield prefix + name, "model", shown, description
        else:
            yield prefix + name, kind.__name__, "", description
            shown_default = default.model_dump() if isinstance(default, BaseModel) else {}
            for key, type_, own, what in fields(kind, f"{prefix}{name}."):
                inner = key.removeprefix(f"{prefix}{name}.")
                yield key, type_, yaml_value(shown_default[inner]) if inner in shown_default else own, what


def type_name(annotation: Any) -> str:
    """A type as a user would call it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return "|".join(str(argument) for argument in arguments)
    if origin in {Union, types.UnionType}:
        return "|".join(type_name(argument) for argument in arguments if argument is not type(None))
    if origin in {list, tuple, set}:
        return f"list of {type_name(arguments[0])}" if arguments else "list"
    if annotation is ModelConfig:
        return "model"
    return {str: "text", int: "whole number", float: "number", bool: "true|false", dict: "mapping"}.get(
        origin or annotation, getattr(annotation, "__name__", str(annotation)))


def yaml_value(value: Any) -> str:
    """A value as one writes it after `key=`."""
    if value is None:
        return "null"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    value = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()
