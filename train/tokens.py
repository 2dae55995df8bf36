"""Conversations as token ids, with a mask of what the assistant said.

Where TRL knows the chat template, its training version marks the assistant's turns. For any other template they are
found by rendering: what a conversation gains by an answer, up to the mark that ends the turn, is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pica.synth.errors import UsageError
from pica.synth.models.base import Message
from pica.train.template import give_template


class Encoded(msgspec.Struct):
    """Token ids of a conversation and, beside each, 1 where it carries loss. `fault` says why there are none."""

    ids: list[int] = []
    mask: list[int] = []
    fault: str = ""


class Encoder:
    """Encodes conversations by a tokenizer's chat template. `answers_only`: the mask leaves out what others said."""

    def __init__(self, tokenizer: Any, *, answers_only: bool = True) -> None:
        self.tokenizer = tokenizer
        self._answers_only = answers_only
        self._marked = _training_template(tokenizer) if answers_only else ""

    def encode(self, conversations: Sequence[Sequence[Message]]) -> list[Encoded]:
        """Ids and masks, in order. A conversation that the template refuses has a `fault` instead."""
        spans = [self._spans(messages) for messages in conversations]
        good = [text for text, _, fault in spans if not fault]
        tokens = iter(self._tokens(good))
        return [Encoded(fault=fault) if fault else _masked(next(tokens), marks) for _, marks, fault in spans]

    def lengths(self, conversations: Sequence[Sequence[Message]], *, ask: bool = False) -> list[int | str]:
        """Tokens of each conversation (`ask`: with the header of an answer), or why the template refuses it."""
        texts = [self._rendered(messages, ask) for messages in conversations]
        good = [text for text, fault in texts if not fault]
        counts = iter([len(ids) for ids, _ in self._tokens(good)])
        return [fault or next(counts) for _, fault in texts]

    def _rendered(self, messages: Sequence[Message], ask: bool) -> tuple[str, str]:
        """(text, fault)."""
        from jinja2 import TemplateError

        try:
            return self._text(messages, ask), ""
        except (TemplateError, TypeError, ValueError) as error:
            return "", f"the chat template refuses the messages ({' '.join(str(error).split())})"

    def _text(self, messages: Sequence[Message], ask: bool) -> str:
        return str(self.tokenizer.apply_chat_template([dict(m) for m in messages], tokenize=False, add_generation_prompt=ask))

    def _spans(self, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]], str]:
        """(text, stretches of it that carry loss, fault)."""
        from jinja2 import TemplateError

        try:
            if not self._answers_only:
                text = self._text(messages, False)
                return text, [(0, len(text))], ""
            if self._marked:
                return self._by_marks(messages)
            return self._by_rendering(messages)
        except (TemplateError, TypeError, ValueError) as error:
            return "", [], f"the chat template refuses the messages ({' '.join(str(error).split())})"

    def _by_marks(self, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]], str]:
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, marks = render_jinja_template(
            conversations=[[dict(m) for m in messages]], chat_template=self._marked, return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map)
        return texts[0], [(start, end) for start, end in marks[0]], "" if marks[0] else "the template marks no answer"

    def _by_rendering(self, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]], str]:
        whole, spans = self._text(messages, False), []
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            start = _shared(self._text(messages[:place], True), whole)
            end = _shared(self._text(messages[:place + 1], False), whole)
            said = whole[start:end].rstrip()
            if message["content"].strip() not in said:
                return "", [], "the chat template rewrites an answer, so its tokens cannot be told from others; use loss=all"
            spans.append((start, start + len(said)))
        return whole, spans, ""

    def _tokens(self, texts: list[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """(ids, the stretch of text of each id) of each text."""
        if not texts:
            return []
        found = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False,
                               verbose=False)
        return list(zip(found["input_ids"], found["offset_mapping"], strict=True))


def _shared(text: str, whole: str) -> int:
    """How many characters `text` and `whole` begin with in common."""
    if whole.startswith(text):
        return len(text)
    differ = (at for at, (one, other) in enumerate(zip(text, whole, strict=False)) if one != other)
    return next(differ, min(len(text), len(whole)))


def _masked(tokens: tuple[list[int], list[tuple[int, int]]], spans: list[tuple[int, int]]) -> Encoded:
    """A token carries loss where it begins in a span; tokens without text of their own do not."""
    ids, stretches = tokens
    mask = [0] * len(ids)
    at = iter(spans)
    span = next(at, None)
    for place, (start, end) in enumerate(stretches):
        while span is not None and start >= span[1]:
            span = next(at, None)
        if span is None:
            break
        mask[place] = int(end > start >= span[0])
    return Encoded(ids, mask)


def _training_template(tokenizer: Any) -> str:
    """TRL's version of the tokenizer's chat template that marks what the assistant says; empty where it has none."""
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template["default"]
    if has_generation_markers(template):
        return str(template)
    try:
        return str(get_training_chat_template(tokenizer) or template)
    except ValueError:
        return ""


def load_tokenizer(model: str, revision: str, family: str) -> Any:
    """The tokenizer of `model`, with a chat template: its own, or that of the `family`. Raises `UsageError`."""
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, revision=revision or None, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:300]
        raise UsageError(f"transformers cannot load the tokenizer of {model!r} ({why}); give a checkpoint folder with its "
                         "tokenizer, or a hub id") from error
    if not tokenizer.is_fast:
        raise UsageError(f"the tokenizer of {model!r} has no fast version, which says which text a token stands for; save "
                         "one with tokenizer.json beside the model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if family:
        give_template(tokenizer, family)
    elif not tokenizer.chat_template:
        raise UsageError(f"{model!r} has no chat template, as base models have none; name a family, such as template=chatml "
                         "or template=llama-3, whose marks its tokenizer should know")
    return tokenizer
