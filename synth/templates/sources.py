"""Where chat templates come from: a family's name, a Jinja file, a tokenizer folder, the hub, or the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import orjson

from pica.synth.errors import BadRequest, Denied, UsageError
from pica.synth.models.base import Message, Model, Renders, user
from pica.synth.templates.families import FAMILIES, recognise
from pica.synth.templates.jinja import TEMPLATE_DATE, Renderer, TemplateRefused, jinja_renderer
from pica.synth.templates.segments import PROBES, learn
from pica.synth.templates.template import SENTINEL, ChatTemplate, derive, keeps_system

_FILES = ("tokenizer_config.json", "chat_template.jinja", "chat_template.json", "special_tokens_map.json")


def from_jinja(text: str, *, bos_token: str = "", eos_token: str = "", name: str = "", source: str = "chat template",
               today: date = TEMPLATE_DATE, variables: Mapping[str, Any] | None = None) -> ChatTemplate:
    """The chat template that the Jinja program `text` is.

    `name` (a hub id, say) helps to recognise the family. `today` is the day the template is told it is; `variables`
    are further values for it, such as `{"enable_thinking": False}`. Raises `UsageError` where it cannot be used.
    """
    renderer = _taking_parts(jinja_renderer(text, bos_token=bos_token, eos_token=eos_token, today=today,
                                            variables=variables, source=source))
    shown = renderer([user(SENTINEL)], True)
    family = recognise(name, [text, shown], keeps_system(renderer))
    source += f" (dated {today.isoformat()})" if "strftime_now" in text or "date_string" in text else ""
    return derive(renderer, source=source, family=family, name=name, bos=bos_token,
                  eos=eos_token)


def from_file(path: str | Path) -> ChatTemplate:
    """The chat template in a Jinja file; its neighbours in a tokenizer folder give the special tokens."""
    path = Path(path)
    text = _read(path)
    if path.suffix == ".json":
        return from_tokenizer_folder(path.parent)
    bos, eos = _special_tokens(path.parent)
    return from_jinja(text, bos_token=bos, eos_token=eos, name=f"{path.parent.name}/{path.name}",
                      source=f"template file {path.name}")


def from_tokenizer_folder(path: str | Path, *, name: str = "", source: str = "") -> ChatTemplate:
    """The chat template of a checkpoint or tokenizer folder, read without transformers.

    Of several named templates the one called "default" is taken. Raises `UsageError` where the folder has none.
    """
    folder = Path(path)
    text = _template_text(folder)
    if text is None:
        known = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) if folder.is_dir() else "no such folder"
        raise UsageError(f"{folder} has no chat template ({known}); a base model cannot be asked for instructions: "
                         "name a chat model, or template=FAMILY or a .jinja file")
    bos, eos = _special_tokens(folder)
    return from_jinja(text, bos_token=bos, eos_token=eos, name=name or folder.resolve().name,
                      source=source or f"tokenizer folder {folder}")


def from_hub(model_id: str, revision: str | None = None) -> ChatTemplate:
    """The chat template of a model on the hub; fetches only the tokenizer's small files.

    Raises `UsageError` without huggingface_hub, without a connection, or where the model is unknown or closed.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UsageError(f"template {model_id!r} is a hub id, which needs: pip install huggingface_hub; "
                         f"or name a folder, a .jinja file or a family: {', '.join(FAMILIES)}") from None
    try:
        folder = snapshot_download(model_id, revision=revision, allow_patterns=list(_FILES))
    except (OSError, ValueError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"template {model_id!r} could not be fetched from the hub ({why[:160]}); use a local "
                         f"folder, a .jinja file or a family: {', '.join(FAMILIES)}") from None
    return from_tokenizer_folder(folder, name=model_id, source=f"hub {model_id}")


def from_family(name: str) -> ChatTemplate:
    """The chat template of a known family, as `families.yaml` writes it. Raises `UsageError` for an unknown name."""
    if name not in FAMILIES:
        raise UsageError(_unknown(name))
    family = FAMILIES[name]
    return derive(family.layout.render, source="built-in layout", family=family, name=name)


async def from_model(model: Model) -> ChatTemplate:
    """The chat template that a model shows by rendering probe conversations (vLLM, llama.cpp, engines in process).

    A model that cannot show it is looked up by its name among the families; `source` says so. Raises `UsageError`
    where that fails too.
    """
    shown: dict[str, str] = {}
    if isinstance(model, Renders):
        for probe, (messages, generate) in PROBES.items():
            try:
                shown[probe] = await model.render(messages, add_generation_prompt=generate)
            except (BadRequest, Denied, UsageError):  # a refusal is an answer: no system role, or no template
                continue
    source = f"template of model {model.name}"
    if shown:
        layout = learn(shown, source)
        family = recognise(model.name, list(shown.values()), layout.begin_system is not None)
        return derive(layout.render, source=source, family=family, name=model.name)
    family = recognise(model.name)
    if family is None:
        raise UsageError(f"model {model.name!r} does not show its chat template and its name is of no known family; "
                         f"give template= a folder, a .jinja file, a hub id or one of: {', '.join(FAMILIES)}")
    return derive(family.layout.render, source=f"built-in layout, by the name of model {model.name}", family=family,
                  name=model.name)


async def chat_template(spec: str, model: Model | None = None) -> ChatTemplate:
    """The chat template that `spec` names: "auto" (from `model`), a path, a family, or a hub id, tried in this order.

    Raises `UsageError` naming the nearest and all known families otherwise.
    """
    if spec == "auto":
        if model is None:
            raise UsageError("template='auto' takes the template from the model, and there is none; name a folder, a "
                             f".jinja file, a hub id or one of: {', '.join(FAMILIES)}")
        return await from_model(model)
    return _named(spec)


def _named(spec: str) -> ChatTemplate:
    if not spec.strip() or "\0" in spec:
        raise UsageError(_unknown(spec))
    path = Path(spec).expanduser()
    if path.is_dir():
        return from_tokenizer_folder(path)
    if path.is_file():
        return from_file(path)
    if spec in FAMILIES:
        return from_family(spec)
    if spec.startswith((".", "/", "~", "\\")) or path.suffix in {".jinja", ".json"}:
        raise UsageError(f"template {spec!r}: there is no such file or folder")
    if spec.count("/") == 1 and all(spec.split("/")):
        return from_hub(spec)
    raise UsageError(_unknown(spec))


def _unknown(name: str) -> str:
    near = get_close_matches(name, FAMILIES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return (f"unknown template {name!r}{hint} Known families: {', '.join(FAMILIES)}; or 'auto', a tokenizer folder, a "
            ".jinja file, a hub id")


def _taking_parts(renderer: Renderer) -> Renderer:
    """The renderer, given text as a list of parts where that is the only form its template understands."""
    def in_parts(messages: Sequence[Message], add_generation_prompt: bool) -> str:
        parts: list[Any] = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
        return renderer(parts, add_generation_prompt)

    probe = [user(SENTINEL)]
    try:
        if SENTINEL in renderer(probe, False):
            return renderer
    except TemplateRefused:
        pass
    try:
        return in_parts if SENTINEL in in_parts(probe, False) else renderer
    except TemplateRefused:
        return renderer


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error.__class__.__name__}: {error}") from None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = orjson.loads(_read(path))
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    return value if isinstance(value, dict) else {}


def _template_text(folder: Path) -> str | None:
    """The template in the newest of the three places in which tokenizers have kept it."""
    if (folder / "chat_template.jinja").is_file():
        return _read(folder / "chat_template.jinja")
    for file in ("chat_template.json", "tokenizer_config.json"):
        found = _json(folder / file).get("chat_template")
        if isinstance(found, str):
            return found
        if found:
            return _named_default(found, folder / file)
    return None


def _named_default(found: Any, file: Path) -> str:
    try:
        named = found if isinstance(found, dict) else {entry["name"]: entry["template"] for entry in found}
    except (TypeError, KeyError):
        raise UsageError(f"{file}: 'chat_template' is neither a text nor a list of named templates") from None
    if "default" in named:
        return str(named["default"])
    raise UsageError(f"{file} names the templates {', '.join(named)} and none of them 'default'; copy the one you want "
                     "to a .jinja file")


def _special_tokens(folder: Path) -> tuple[str, str]:
    """The folder's BOS and EOS token; empty where it names none."""
    values = _json(folder / "special_tokens_map.json") | _json(folder / "tokenizer_config.json")
    bos, eos = (values.get(key) for key in ("bos_token", "eos_token"))
    return _token_text(bos), _token_text(eos)


def _token_text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
