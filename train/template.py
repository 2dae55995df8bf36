"""A chat template for a tokenizer that has none: a family's layout, written as the Jinja that tokenizers carry."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any

from pica.synth.errors import UsageError
from pica.synth.templates import FAMILIES, Segments

_JINJA = """\
{%- if messages[0]['role'] == 'system' -%}
{%- set turns = messages[1:] -%}BEGIN_SYSTEM
{%- else -%}
{%- set turns = messages -%}
{{- begin -}}
{%- endif -%}
{%- for turn in turns -%}
{%- if turn['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}
{{- raise_exception('roles must go user, assistant, user, ... after an optional system message') -}}
{%- endif -%}
{%- if turn['role'] == 'user' -%}
{{- turn['content']USER_TRIM -}}
{%- if not loop.last -%}{{- to_assistant -}}
{%- elif add_generation_prompt -%}{{- generation -}}
{%- else -%}{{- user_end -}}{%- endif -%}
{%- else -%}
{{- turn['content']ANSWER_TRIM -}}
{%- if loop.last -%}{{- end -}}{%- else -%}{{- to_user -}}{%- endif -%}
{%- endif -%}
{%- endfor -%}
"""


def give_template(tokenizer: Any, family: str) -> None:
    """Give `tokenizer` the chat template of `family`, and let its token that ends a text be the one that ends a turn.

    Raises `UsageError` for an unknown family, and for one whose end of a turn is no token of this tokenizer: a model
    trained so would never learn to stop.
    """
    if family not in FAMILIES:
        near = get_close_matches(family, FAMILIES, n=1)
        raise UsageError(f"unknown template family {family!r}{f'; did you mean {near[0]!r}?' if near else '.'} Known: "
                         f"{', '.join(FAMILIES)}")
    layout = FAMILIES[family].layout
    end = layout.end.strip()
    vocabulary = tokenizer.get_vocab()
    if end not in vocabulary:
        fitting = [name for name, known in FAMILIES.items() if known.layout.end.strip() in vocabulary]
        raise UsageError(f"template={family} ends a turn with {end!r}, which is no token of this tokenizer; families that it "
                         f"has tokens for: {', '.join(fitting) or 'none'}")
    tokenizer.chat_template = layout_template(layout)
    tokenizer.eos_token = end


def layout_template(layout: Segments) -> str:
    """The Jinja text that renders as `layout` does."""
    fixed = {"begin": layout.begin, "to_assistant": layout.to_assistant, "to_user": layout.to_user, "end": layout.end,
             "user_end": layout.user_end,
             "generation": layout.to_assistant if layout.generation is None else layout.generation}
    if layout.begin_system is None:
        opening = "{{- raise_exception('this family has no system role') -}}"
    else:
        trim = "|trim" if "system" in layout.trims else ""
        opening = (f"{{{{- {_text(layout.begin_system)} -}}}}{{{{- messages[0]['content']{trim} -}}}}"
                   f"{{{{- {_text(layout.after_system)} -}}}}")
    head = "".join(f"{{%- set {name} = {_text(text)} -%}}\n" for name, text in fixed.items())
    body = _JINJA.replace("BEGIN_SYSTEM", f"\n{opening}")
    for mark, role in (("USER_TRIM", "user"), ("ANSWER_TRIM", "assistant")):
        body = body.replace(mark, "|trim" if role in layout.trims else "")
    return head + body


def _text(text: str) -> str:
    """A Jinja literal."""
    return json.dumps(text, ensure_ascii=False)
