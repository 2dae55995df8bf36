"""Rows that fit a trainer's limit on tokens, so that none of its truncations can touch the goal.

Lengths are those of TRL's preprocessing: the chat template over prompt and answer. Nothing is cut from a goal, a system
message or an answer. `shorten` leaves out the earliest turns, then the first words of the one turn that is left, which
are those that stand behind the goal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pica.synth.errors import Reject, UsageError
from pica.synth.models.base import Message, user
from pica.synth.models.goal import Goal

TooLong = Literal["reject", "shorten"]
_WORD = re.compile(r"\S+")


class Fitter:
    """Makes prompts fit `max_length` tokens of `tokenizer` together with their longest answer (0: no limit)."""

    def __init__(self, tokenizer: Any, max_length: int = 0, policy: TooLong = "reject") -> None:
        self.tokenizer, self.max_length, self.policy = tokenizer, max_length, policy

    def __call__(self, prompt: list[Message], answers: Sequence[list[Message]], goals: Sequence[Goal]) -> list[Message]:
        """The prompt without a goal, as it fits with the longest of `goals` and `answers`. Raises `Reject`."""
        def tokens(short: list[Message]) -> int:
            prompts = [goal.wrap(short) for goal in goals] or [short]
            return max(self.tokens([*full, *answer]) for full in prompts for answer in answers)

        needed = tokens(prompt)
        if not self.max_length or needed <= self.max_length:
            return prompt
        found = self._shortened(prompt, lambda short: tokens(short) <= self.max_length) if self.policy == "shorten" else None
        if found is None:
            raise Reject("too long", f"{needed} tokens with the goal and the longer answer; max_length is {self.max_length}")
        return found

    def tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation, as TRL counts them. Raises `Reject` where the chat template refuses it."""
        from jinja2 import TemplateError

        try:
            return len(self.tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=True)["input_ids"])
        except TemplateError as error:
            raise Reject("the chat template refuses it", " ".join(str(error).split())[:200]) from error

    def check(self, goal: Goal) -> None:
        """Raise `UsageError` where the chat template does not show `goal` exactly once."""
        from jinja2 import TemplateError

        name = getattr(self.tokenizer, "name_or_path", "the tokenizer")
        if not self.tokenizer.chat_template:
            raise UsageError(f"{name} has no chat template; name the tokenizer of a chat model")
        try:
            shown = str(self.tokenizer.apply_chat_template(goal.wrap([user("Hello.")]), tokenize=False))
        except TemplateError as error:
            shown, why = "", " ".join(str(error).split())
        else:
            why = f"it shows it {shown.count(goal.text())} times"
        if shown.count(goal.text()) != 1:
            other = "prefix" if goal.style == "system" else "system"
            raise UsageError(f"the chat template of {name} has no place for the goal with style={goal.style} ({why}); "
                             f"give style={other}")

    def _shortened(self, prompt: list[Message], fits: Callable[[list[Message]], bool]) -> list[Message] | None:
        head = prompt[:1] if prompt[0]["role"] == "system" else []
        turns = prompt[len(head):]
        while not fits([*head, *turns]):
            after = next((place for place in range(1, len(turns)) if turns[place]["role"] == "user"), None)
            if after is None:
                return self._last_words(head, turns, fits)
            turns = turns[after:]
        return [*head, *turns]

    def _last_words(self, head: list[Message], turns: list[Message], fits: Callable[[list[Message]], bool],
                    ) -> list[Message] | None:
        """With as few words missing at the beginning of the one turn as possible; None where not even the last word fits."""
        text = turns[0]["content"]
        starts = [match.start() for match in _WORD.finditer(text)]
        low, high = 1, len(starts)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(_from(head, turns, starts[middle])) else (middle + 1, high)
        return _from(head, turns, starts[low]) if low < len(starts) else None


def _from(head: list[Message], turns: list[Message], start: int) -> list[Message]:
    return [*head, {**turns[0], "content": turns[0]["content"][start:]}, *turns[1:]]


def load_tokenizer(name: str) -> Any:
    """The tokenizer in a folder, of a hub id, or of a model `hf/...`, `vllm/...` or `local`. Raises `UsageError`."""
    from transformers import AutoTokenizer

    provider, _, target = name.partition("/")
    where = target if provider in {"hf", "vllm"} and not Path(name).exists() else name
    if name == "local":
        from pica.synth.models.embedded import checkpoint_path

        where = str(checkpoint_path())
    if "/" not in where and not Path(where).exists():
        raise UsageError(f"tokenizer={name}: no folder of that name; give a checkpoint folder, a hub id ORG/NAME, or local")
    try:
        return AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError) as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(f"tokenizer={name}: no tokenizer there ({why[:160]}); give a checkpoint folder or a hub id") from None
