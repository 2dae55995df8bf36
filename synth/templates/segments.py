"""A chat template taken apart: the fixed texts between the messages.

Two uses: the families of `families.yaml` are written as segments, and a server that shows its template only by
rendering (`Renders`) is asked for a few probe conversations, from which the segments are learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, assistant, system, user

#: A conversation to render, and whether the assistant's header is asked for.
Probe = tuple[tuple[Message, ...], bool]


@dataclass(frozen=True, kw_only=True)
class Segments:
    """What stands between messages.

    `begin`: before the first user message where there is no system message. `begin_system` and `after_system`: around
    the system message (None where the model has no system role: then it is folded into the first user message).
    `to_assistant`: between a user message and its answer. `to_user`: between an answer and the next user message.
    `end`: after the last answer. `user_end`: after a last user message where no answer is asked for. `generation`:
    after a last user message where one is (default: as `to_assistant`). `trims`: roles whose text loses outer space.
    `drops_reasoning`: whether `<think>` blocks vanish from answers.
    """

    begin: str
    to_assistant: str
    to_user: str
    end: str = ""
    user_end: str = ""
    begin_system: str | None = None
    after_system: str = ""
    generation: str | None = None
    trims: tuple[str, ...] = ()
    drops_reasoning: bool = False

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """The text of these messages. Raises `UsageError` unless roles go (system) user assistant user ..."""
        turns = list(messages)
        text = self.begin
        if turns and turns[0]["role"] == "system":
            if self.begin_system is None:
                raise UsageError("this family has no system role")
            text = self.begin_system + self._content(turns.pop(0)) + self.after_system
        self._check(turns)
        for message, following in pairwise(turns):
            text += self._content(message) + (self.to_assistant if following["role"] == "assistant" else self.to_user)
        text += self._content(turns[-1])
        if turns[-1]["role"] == "assistant":
            return text + self.end
        if not add_generation_prompt:
            return text + self.user_end
        return text + (self.to_assistant if self.generation is None else self.generation)

    @staticmethod
    def _check(turns: Sequence[Message]) -> None:
        roles = [m["role"] for m in turns]
        if not roles or roles != [("user", "assistant")[i % 2] for i in range(len(roles))]:
            raise UsageError(f"roles must go user, assistant, user, ... after an optional system message; got {roles}")

    def _content(self, message: Message) -> str:
        text = message["content"]
        if message["role"] == "assistant" and self.drops_reasoning and "</think>" in text:
            text = text.rsplit("</think>", 1)[1].lstrip("\n")
        return text.strip() if message["role"] in self.trims else text


_SYSTEM, _A, _B, _C, _D, _E, _WHY = (f"PiCa<&\"'>{name}qZ" for name in "SABCDEW")

#: What a server is asked to render so that `learn` can take its template apart.
PROBES: Mapping[str, Probe] = {
    "one": ((user(_A),), False),
    "talk": ((user(_A), assistant(_B), user(_C), assistant(_D), user(_E)), True),
    "answered": ((user(_A), assistant(_B)), False),
    "padded": ((user(f"\t{_A}\t"), assistant(f"\t{_B}\t"), user(_C)), False),
    "reasoned": ((user(_A), assistant(f"<think>\n{_WHY}\n</think>\n\n{_B}"), user(_C)), False),
    "system": ((system(_SYSTEM), user(_A), assistant(_B), user(_C)), True),
}


def learn(shown: Mapping[str, str], source: str) -> Segments:
    """The segments behind renderings of `PROBES` (those that the template refused are missing).

    Raises `UsageError` where the turns are not uniform, so that the template cannot be taken apart.
    """
    missing = {"one", "talk", "answered"} - set(shown)
    if missing:
        raise UsageError(f"{source} did not render {', '.join(sorted(missing))}; name a family with template=")
    begin, *inner, generation = _split(shown["talk"], (_A, _B, _C, _D, _E), source)
    if inner[0] != inner[2] or inner[1] != inner[3] or _split(shown["one"], (_A,), source)[0] != begin:
        raise UsageError(f"{source} renders later turns unlike the first; give the template as a folder or .jinja file")
    begin_system, after_system = _learn_system(shown.get("system"), source)
    padded, reasoned = shown.get("padded", ""), shown.get("reasoned", "")
    trims = tuple(role for role, text in (("user", _A), ("assistant", _B)) if padded and f"\t{text}\t" not in padded)
    return Segments(begin=begin, to_assistant=inner[0], to_user=inner[1], generation=generation,
                    end=_split(shown["answered"], (_A, _B), source)[2],
                    user_end=_split(shown["one"], (_A,), source)[1], begin_system=begin_system,
                    after_system=after_system, trims=trims, drops_reasoning=bool(reasoned) and _WHY not in reasoned)


def _learn_system(text: str | None, source: str) -> tuple[str | None, str]:
    if text is None or not 0 <= text.find(_SYSTEM) < text.find(_A):
        return None, ""
    before, after, *_ = _split(text, (_SYSTEM, _A, _B, _C), source)
    return before, after


def _split(text: str, marks: Sequence[str], source: str) -> list[str]:
    """The texts before, between and after `marks`, each of which must occur once and in order."""
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            raise UsageError(f"{source} alters, repeats or drops its messages; name a family with template=")
        parts.append(before)
    return [*parts, text]
