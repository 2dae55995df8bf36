"""Prompts as token ids, by a Hugging Face tokenizer: for the engines that take ids (transformers and vLLM)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from pica.synth.errors import BadRequest
from pica.synth.models.base import Message, Request, Sampling


class Prompts:
    """Turns requests into token ids that fit a context. `name` is for messages."""

    def __init__(self, tokenizer: Any, context: int, name: str) -> None:
        self.tokenizer, self.context, self.name = tokenizer, context, name

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """The text that the chat template makes. Raises `BadRequest` where there is no template or it refuses."""
        from jinja2 import TemplateError

        if not self.tokenizer.chat_template:
            raise BadRequest(f"{self.name} has no chat template; name an instruct model, add a chat_template.jinja to "
                             "its folder, or use raw completions")
        try:
            return str(self.tokenizer.apply_chat_template(list(messages), tokenize=False,
                                                          add_generation_prompt=add_generation_prompt))
        except TemplateError as error:
            raise BadRequest(f"the chat template of {self.name} refuses these messages ({' '.join(str(error).split())})"
                             "; send roles that it takes") from error

    def encode(self, request: Request) -> list[int]:
        """The ids of a `complete`, `chat` or `score` request, with room for at least one token of an answer."""
        if request.task == "complete":
            return self.fitting(self.with_start(request.prompt), 1)
        return self.fitting(self.with_start(self.render(request.messages, request.task == "chat")), 1)

    def with_start(self, text: str) -> list[int]:
        """Ids that begin with the token that begins a sequence exactly once, where the tokenizer adds one at all."""
        ids = self.plain(text)
        start = self._start
        return ids if ids[: len(start)] == start else start + ids

    def plain(self, text: str) -> list[int]:
        """The ids of the text alone."""
        ids: list[int] = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return ids

    def fitting(self, ids: list[int], room: int) -> list[int]:
        """The same ids. Raises `BadRequest` where they leave no `room` in the context, or there are none."""
        if not ids:
            raise BadRequest("the prompt has no tokens; give a prompt with text")
        if len(ids) + room > self.context:
            raise BadRequest(f"the prompt has {len(ids)} tokens and the context of {self.name} is {self.context}; "
                             "shorten it")
        return ids

    def special_stops(self, sampling: Sampling) -> set[int]:
        """The stop strings that are tokens of their own, which no decoded text would show."""
        added = self.tokenizer.get_added_vocab()
        return {added[stop] for stop in sampling.stop if stop in added}

    @cached_property
    def _start(self) -> list[int]:
        bos = self.tokenizer.bos_token_id
        added: list[int] = list(self.tokenizer("")["input_ids"])
        return [bos] if bos is not None and added[:1] == [bos] else []
