"""`ChatTemplate`: the pre-query of a model, its stop strings, and the text before a user's next turn.

Derived from any renderer by rendering a sentinel user message and cutting there; what a family needs beyond that
comes from `families.yaml` and is named in `source`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, assistant, system, user
from pica.synth.templates.families import Family
from pica.synth.templates.jinja import Renderer

_CORE = "qZpIcA"
#: Stands for the user's words. A template that escapes, lowers or repeats its messages cannot keep it as it is.
SENTINEL = f"{_CORE}<&\"'>{_CORE}"

#: Tokens that mark turns, as text; U+FF5C is DeepSeek's wide bar. `<think>` and HTML are none of them.
_TOKEN = re.compile(r"<[|\uff5c][^<>\s|\uff5c][^<>\n|\uff5c]*[|\uff5c]>|</?s>|<(?:start|end)_of_turn>"
                    r"|<eo[sp]>|<sop>|\[/?INST\]|\[/?SYSTEM_PROMPT\]|<\|[a-z_]+>|<[a-z_]+\|>")


@dataclass(frozen=True)
class ChatTemplate:
    """How a model's conversations are written, as far as sampling instructions needs it.

    `pre_query`: the text up to where a user's first words stand, special tokens as text. `stop`: strings that end a
    user turn or start another turn. `family`: a name from `families.yaml`, or "unknown". `source`: where the template
    came from and what was changed. `bos`: the token that `pre_query` starts with; an engine must not add a second one.
    `folds_system`: the model has no system role, so a system message goes in front of the first user message.
    `forbid_start`: what an instruction must not start with. `sampling`: recommended temperature and top_p, if any.
    `support`: works, partly or untested, with Magpie. `suffix`: what the family adds behind each user header.
    """

    pre_query: str
    stop: tuple[str, ...]
    family: str
    source: str
    bos: str = ""
    folds_system: bool = False
    forbid_start: tuple[str, ...] = ()
    sampling: Mapping[str, float] = field(default_factory=dict, hash=False)
    support: str = "untested"
    suffix: str = ""
    _renderer: Renderer = field(kw_only=True, repr=False, compare=False)

    def pre_query_with_system(self, text: str) -> str:
        """The pre-query behind the system message `text`. Where `folds_system`, the user's turn opens with it."""
        return self.next_turn([system(text)])

    def next_turn(self, messages: Sequence[Message]) -> str:
        """The conversation so far, closed, and the header of the user's next turn. Without messages: `pre_query`.

        `messages` end with the assistant's answer (or are a single system message). Raises `UsageError` otherwise, and
        where the template refuses the conversation or loses an answer. Reasoning (`<think>`) of earlier answers is
        shown or left out as the model's own template has it.
        """
        if not messages:
            return self.pre_query
        if messages[-1]["role"] == "user":
            raise UsageError("next_turn needs a conversation that ends with the assistant; it ends with the user")
        sentinel = _unused(messages)
        text = cut(self.render([*messages, user(sentinel)], False), sentinel, self.source)
        self._check_kept(messages, text)
        inside_turn = self.folds_system and len(messages) == 1  # the folded text stands between the header and the cut
        return text if inside_turn else text + self.suffix

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """The text the model reads for these messages, with the assistant's header behind it where asked for."""
        return self._renderer(fold_system(messages) if self.folds_system else messages, add_generation_prompt)

    def _check_kept(self, messages: Sequence[Message], text: str) -> None:
        for number, message in enumerate(messages):
            words = message["content"].rsplit("</think>", 1)[-1].strip()
            if words not in text:
                raise UsageError(f"{self.source} drops or alters message {number} ({message['role']}); use turns=1 or "
                                 "another template")


def derive(renderer: Renderer, *, source: str, family: Family | None = None, name: str = "", bos: str = "",
           eos: str = "") -> ChatTemplate:
    """The chat template behind `renderer`.

    Raises `UsageError` where a user's message does not come through once and unchanged.
    """
    folds = not keeps_system(renderer)
    bare = ChatTemplate("", (), "", source, folds_system=folds, _renderer=renderer)
    own = cut(renderer([user(SENTINEL)], False), SENTINEL, source)
    begin, changes = _adjusted(own, bare, family)
    suffix = family.suffix if family else ""
    bos = bos or (family.bos if family else "")
    return ChatTemplate(
        pre_query=begin + suffix,
        stop=_stops(bare, (*(family.stop if family else ()), eos), bos),
        family=family.name if family else "unknown",
        source="; ".join([source, *changes]),
        bos=bos if bos and begin.startswith(bos) else "",
        folds_system=folds,
        forbid_start=family.forbid_start if family else (),
        sampling=family.sampling_for(name) if family else {},
        support=family.support if family else "untested",
        suffix=suffix,
        _renderer=renderer,
    )


def cut(text: str, sentinel: str, source: str) -> str:
    """What stands before `sentinel` in `text`, which must hold it exactly once."""
    found = text.count(sentinel)
    if found == 1:
        return text.partition(sentinel)[0]
    if found > 1:
        what = f"repeats the user's message ({found} times)"
    elif _CORE.lower() in text.lower():
        what = "alters the user's message (escapes it, or changes its letters)"
    else:
        what = "leaves the user's message out"
    raise UsageError(f"{source} {what}, so there is no place where a user's words start; name a family with template=")


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with a leading system message put in front of the first user message, a blank line between."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    if len(messages) == 1 or messages[1]["role"] != "user":
        raise UsageError("this model has no system role, and there is no user message to put the system message into")
    return [user(f"{messages[0]['content']}\n\n{messages[1]['content']}"), *messages[2:]]


def _unused(messages: Sequence[Message]) -> str:
    sentinel = SENTINEL
    while any(sentinel in m["content"] for m in messages):
        sentinel += _CORE
    return sentinel


def keeps_system(renderer: Renderer) -> bool:
    """Whether the template takes a system message: does not refuse it, and shows its words."""
    try:
        return f"{_CORE}-system" in renderer([system(f"{_CORE}-system"), user(SENTINEL)], False)
    except UsageError:
        return False


def _adjusted(own: str, bare: ChatTemplate, family: Family | None) -> tuple[str, list[str]]:
    """The pre-query with the family's adjustments (but its suffix), and a sentence for each."""
    if family is None:
        return own, []
    begin, changes = own, [f"family {family.name}"]
    if family.pre_query is not None:
        wanted = family.pre_query
        begin = wanted if own.startswith(family.bos) else wanted.removeprefix(family.bos)
    elif family.default_system is not None:
        begin = bare.pre_query_with_system(family.default_system)
    if begin != own:
        changes.append("pre-query as published, without the template's own default system message"
                       if family.pre_query is not None else "with the published default system message")
    if family.suffix:
        changes.append(f"{family.suffix!r} added behind the user header")
    if family.note:
        changes.append(family.note)
    return begin, changes


def _stops(template: ChatTemplate, further: Sequence[str], bos: str) -> tuple[str, ...]:
    """Stop strings, the likeliest first: what follows a user message, then what surrounds turns, then `further`."""
    one, two, three = (f"{SENTINEL}{n}" for n in "123")
    text = template.render([user(one), assistant(two), user(three)], True)
    _, _, tail = text.partition(three)
    _, _, between = text.partition(three)[0].partition(two)
    found = [*_TOKEN.findall(tail), *_literal(tail), *_TOKEN.findall(between), *_literal(between), *further]
    allowed = [s for s in found if s and (s != bos or s in further)]
    return tuple(dict.fromkeys(s for s in allowed if not s.strip().isalpha()))


def _literal(text: str) -> list[str]:
    """The whole of a turn marker that has no special token in it, such as `ASSISTANT:`; never a bare word."""
    marker = text.strip()
    if not marker or _TOKEN.search(text):
        return []
    plain_word = marker.rstrip(":").isalpha() and not marker.isupper()
    return ["\n" + marker if plain_word and "\n" in text[:len(text) - len(text.lstrip())] else marker]
