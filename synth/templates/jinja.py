"""Renders a model's Jinja chat template the way its tokenizer would, in a sandbox.

The template came with a model, so it is hostile until shown otherwise: it sees messages and a few plain values, cannot
reach attributes with underscores or change what it is given, and its loops and its output are bounded. Dates are fixed,
so the same template gives the same text on any day.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pica.synth.errors import UsageError
from pica.synth.models.base import Message

#: Renders messages to the text a model reads; the flag asks for the header of the assistant's next turn.
Renderer = Callable[[Sequence[Message], bool], str]

#: The day that templates are told it is: what Llama-3.1's own template says where it is told nothing.
TEMPLATE_DATE = date(2024, 7, 26)

MAX_OUTPUT = 20_000_000
MAX_STEPS = 200_000
MAX_FORMAT = 64


class TemplateRefused(UsageError):
    """The template raised, or did something that the sandbox does not allow."""


class _GenerationBlock(Extension):
    """`{% generation %}` marks what a trainer should learn from; for the text it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own protocol

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, with a bound on how large a value grows by an operator."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*" and _grown(left, right) > MAX_OUTPUT:
            raise TemplateRefused(f"it multiplies a text or list beyond {MAX_OUTPUT:,} items")
        if operator == "+" and isinstance(left, str) and len(left) > MAX_OUTPUT:
            raise TemplateRefused(f"it builds a text of more than {MAX_OUTPUT:,} characters")
        if operator == "**" and not (abs(left) < 10_000 and abs(right) < 64):
            raise TemplateRefused(f"it computes {left!r} ** {right!r}")
        if operator == "%" and isinstance(left, str) and re.search(r"\d{5}", left):
            raise TemplateRefused("it pads a text by more than 9,999 characters")
        return super().call_binop(context, operator, left, right)


def _grown(left: Any, right: Any) -> int:
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(times, int):
            return len(many) * times
    return 0


def _raise_exception(message: str) -> None:
    raise TemplateRefused(str(message))


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None,
            separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _strftime_now(today: date) -> Callable[[str], str]:
    def strftime_now(form: str) -> str:
        if len(form) > MAX_FORMAT or re.search(r"%\d", form):
            raise TemplateRefused(f"it asks for the date in the form {form[:MAX_FORMAT]!r}")
        return today.strftime(form)

    return strftime_now


def _counted_range() -> Callable[..., range]:
    """`range`, whose loops together may make `MAX_STEPS` steps in one rendering."""
    made = 0

    def limited(*bounds: int) -> range:
        nonlocal made
        numbers = range(*bounds)
        made += len(numbers) + 1
        if made > MAX_STEPS:
            raise TemplateRefused(f"its loops make more than {MAX_STEPS:,} steps")
        return numbers

    return limited


def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, autoescape=False,
                           extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name, None)
    return environment


def jinja_renderer(text: str, *, bos_token: str = "", eos_token: str = "", today: date = TEMPLATE_DATE,
                   variables: Mapping[str, Any] | None = None, source: str = "chat template") -> Renderer:
    """A renderer for the template `text`. Raises `UsageError` where it does not parse.

    `variables` are further values the template may look at, such as `{"enable_thinking": False}`.
    """
    try:
        template = _environment().from_string(text)
    except (jinja2.TemplateSyntaxError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        raise UsageError(f"{source} is not a Jinja template: line {line}: {error}; mend the file or name a family "
                         "with template=") from None
    values = {"bos_token": bos_token, "eos_token": eos_token, "tools": None, "documents": None,
              "strftime_now": _strftime_now(today), **(variables or {})}

    def render(messages: Sequence[Message], add_generation_prompt: bool) -> str:
        given = {**values, "messages": [dict(m) for m in messages], "add_generation_prompt": add_generation_prompt,
                 "range": _counted_range()}
        return _bounded(template, given, source)

    return render


def _bounded(template: jinja2.Template, values: dict[str, Any], source: str) -> str:
    pieces, size = [], 0
    try:
        for piece in template.generate(values):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_OUTPUT:
                raise TemplateRefused(f"it writes more than {MAX_OUTPUT:,} characters")
    except TemplateRefused as error:
        raise TemplateRefused(f"{source} refuses these messages: {error}") from None
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
            MemoryError) as error:
        raise TemplateRefused(f"{source} fails on these messages: {type(error).__name__}: {error}") from None
    return "".join(pieces)
