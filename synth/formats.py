"""The formats that datasets come in, read into conversations, preference pairs and scored candidates.

| format | columns |
|---|---|
| messages | `messages` (TRL's conversational language modelling) |
| sharegpt | `conversations` of `{from, value}` |
| prompt-completion | `prompt` and `completion`, texts or messages |
| alpaca | `instruction`, `output`, perhaps `input` |
| preference | `chosen` and `rejected`, perhaps `prompt`, `score_chosen`, `score_rejected` |
| ultrafeedback | `instruction` and `completions`, each with a response, its model, a score and ratings |
| prompt | `prompt` alone, a text or messages |

A row is a plain dict. A value of None is the same as none at all. A row that is not in its format raises `BadRow`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, assistant, system, user

Row = Mapping[str, Any]

#: what each format needs, in the order in which they are tried; and the words that show it to a user
FORMATS: dict[str, tuple[str, ...]] = {
    "preference": ("chosen", "rejected"),
    "ultrafeedback": ("instruction", "completions"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "prompt-completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "prompt": ("prompt",),
}
CONVERSATIONS = ("messages", "sharegpt", "prompt-completion", "alpaca")
PREFERENCES = ("preference",)
CANDIDATES = ("ultrafeedback",)
ROLES = ("system", "user", "assistant")
_SHAREGPT = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
             "system": "system"}
UNRATED = "N/A"  # how UltraFeedback writes that an aspect has no rating


class BadRow(ValueError):
    """A row that cannot be read. `reason` is a short constant phrase to count by; `detail` says what is special here."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt. `prompt` ends with the user; `chosen` and `rejected` hold only what follows it, begin and
    end with the assistant, and may hold several turns. Scores are None where the dataset has none."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    score_chosen: float | None = None
    score_rejected: float | None = None


@dataclass(frozen=True)
class Completion:
    """One scored answer. `ratings`: by aspect, None for an aspect that was not rated (written `N/A`)."""

    response: str
    model: str
    overall_score: float | None
    ratings: dict[str, float | None]

    @property
    def unrated(self) -> list[str]:
        """The aspects without a rating."""
        return [aspect for aspect, rating in self.ratings.items() if rating is None]

    @property
    def mean_rating(self) -> float | None:
        """The mean of the aspects that were rated; None where none was."""
        known = [rating for rating in self.ratings.values() if rating is not None]
        return math.fsum(known) / len(known) if known else None


@dataclass(frozen=True)
class Candidates:
    """An instruction, the dataset it was taken from, and its scored answers."""

    instruction: str
    source: str
    completions: list[Completion]


def detect(columns: Sequence[str], among: Sequence[str] = ()) -> str:
    """The name of the format that these columns are in, of those in `among` (default: all of `FORMATS`).

    A dataset may be in several (UltraFeedback's binarized pairs also have `messages`): `among` says which are of use, and
    the first in the order of `FORMATS` counts. Raises `UsageError` where there is none.
    """
    wanted = [name for name in FORMATS if not among or name in among]
    for name in wanted:
        if set(FORMATS[name]) <= set(columns):
            return name
    known = "; ".join(f"{name} ({', '.join(FORMATS[name])})" for name in wanted)
    have = ", ".join(columns) if columns else "none"
    raise UsageError(f"no format that is known here has these columns: {have}. Known: {known}. Rename the columns to one of "
                     "these")


def conversation(row: Row) -> list[Message]:
    """The conversation of a row that is in one of the formats `CONVERSATIONS`. Texts become a user's and an assistant's turn."""
    if row.get("messages") is not None:
        return messages(row["messages"], "messages")
    if row.get("conversations") is not None:
        return _sharegpt(row["conversations"])
    if row.get("prompt") is not None and row.get("completion") is not None:
        return [*_side(row["prompt"], "prompt", "user"), *_side(row["completion"], "completion", "assistant")]
    if row.get("instruction") is not None and row.get("output") is not None:
        return _alpaca(row)
    raise BadRow("no conversation", f"it has {_names(row)}")


def prompt_of(row: Row) -> list[Message]:
    """What stands before the last answer of a row in any format, ending with the user."""
    if row.get("chosen") is not None and row.get("rejected") is not None:
        return pair(row).prompt
    if row.get("prompt") is not None:
        found = _side(row["prompt"], "prompt", "user")
    elif row.get("messages") is None and row.get("conversations") is None and row.get("instruction") is not None:
        found = _alpaca({**row, "output": ""})
    else:
        found = conversation(row)
    end = _last_user(found)
    if not end or any(message["role"] != "assistant" for message in found[end:]):
        raise BadRow("no prompt", "no user's turn before the answer")
    return found[:end]


def first_instruction(row: Row) -> str:
    """The first user's message of a row in any format."""
    if row.get("completions") is not None:
        return _text(row.get("instruction"), "instruction")
    spoken = prompt_of(row)
    return next(message["content"] for message in spoken if message["role"] == "user")


def pair(row: Row) -> Pair:
    """The preference pair of a row in TRL's preference format.

    Messages: `chosen` and `rejected` are answers, or whole conversations that repeat the prompt. Without a `prompt`, or
    where it is a text beside whole conversations, it is the longest shared beginning that ends with a user's turn.
    Texts: with a `prompt` they are answers as they stand; without one, the shared beginning is the prompt, as in TRL's
    `extract_prompt`. Raises `BadRow` for anything else, and for scores that are not finite numbers.
    """
    for name in ("chosen", "rejected"):
        if row.get(name) is None:
            raise BadRow("no preference pair", f"no {name}; it has {_names(row)}")
    scores = number(row.get("score_chosen"), "score_chosen"), number(row.get("score_rejected"), "score_rejected")
    chosen, rejected, prompt = row["chosen"], row["rejected"], row.get("prompt")
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise BadRow("chosen and rejected differ in kind", f"{_kind(chosen)} and {_kind(rejected)}")
    if prompt is None and isinstance(chosen, str):
        return Pair(*_split_texts(chosen, rejected), *scores)
    sides = _side(chosen, "chosen", "assistant"), _side(rejected, "rejected", "assistant")
    return Pair(*_split(prompt, *sides), *scores)


def candidates(row: Row) -> Candidates:
    """The scored answers of a row in UltraFeedback's own format. An aspect rated `N/A` is None: what that means for the
    answer is the caller's policy."""
    found = row.get("completions")
    if not isinstance(found, (list, tuple)):
        raise BadRow("no completions", f"it has {_names(row)}")
    source = row.get("source")
    return Candidates(_text(row.get("instruction"), "instruction"), source if isinstance(source, str) else "",
                      [_completion(item, f"completion {place}") for place, item in enumerate(found, 1)])


def messages(value: Any, name: str) -> list[Message]:
    """`value` as messages: a list of them, or a single one. `name` is the column, for errors."""
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, (list, tuple)):
        raise BadRow("not messages", f"{name} is {_kind(value)}")
    if not items:
        raise BadRow("no messages", f"{name} is an empty list")
    return [_message(item, f"{name}, message {place}") for place, item in enumerate(items, 1)]


def number(value: Any, name: str) -> float | None:
    """`value` as a finite number; None stays None. `name` is the column, for errors."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise BadRow("score is not a number", f"{name} is {value!r:.60}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise BadRow("score is not finite", f"{name} is {value!r:.60}")
    return found


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, Mapping):
        raise BadRow("not messages", f"{where} is {_kind(item)}")
    role = item.get("role")
    if role not in ROLES:
        raise BadRow("unknown role", f"{where} has role {role!r:.60}; allowed: {', '.join(ROLES)}")
    if item.get("tool_calls"):
        raise BadRow("tool calls", f"{where}: only text can be read")
    return {"role": str(role), "content": _text(item.get("content"), f"{where}: content")}


def _side(value: Any, name: str, role: str) -> list[Message]:
    """A column that holds a text of `role`, or messages."""
    return [{"role": role, "content": value}] if isinstance(value, str) else messages(value, name)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRow("not a text", f"{name} is {_kind(value)}")
    return value


def _sharegpt(value: Any) -> list[Message]:
    if not isinstance(value, (list, tuple)) or not value:
        raise BadRow("not messages", f"conversations is {_kind(value) if value else 'empty'}")
    found: list[Message] = []
    for place, item in enumerate(value, 1):
        where = f"conversations, message {place}"
        if not isinstance(item, Mapping) or item.get("from") is None:
            found.append(_message(item, where))  # the same column is in use with role and content
            continue
        role = _SHAREGPT.get(str(item["from"]))
        if role is None:
            raise BadRow("unknown role", f"{where} is from {item['from']!r:.60}; allowed: {', '.join(_SHAREGPT)}")
        found.append({"role": role, "content": _text(item.get("value"), f"{where}: value")})
    return found


def _alpaca(row: Row) -> list[Message]:
    text = _text(row["instruction"], "instruction")
    if row.get("input") is not None and _text(row["input"], "input").strip():
        text = f"{text}\n\n{row['input']}"
    turns = [user(text), assistant(_text(row["output"], "output"))]
    if row.get("system") is not None and _text(row["system"], "system").strip():
        turns.insert(0, system(row["system"]))
    return turns


def _split_texts(chosen: str, rejected: str) -> tuple[list[Message], list[Message], list[Message]]:
    """(prompt, chosen, rejected) of two texts with one beginning; a space before the answers belongs to them."""
    end = _shared(chosen, rejected)
    if end == min(len(chosen), len(rejected)):
        raise BadRow("no prompt can be told", "one text is the beginning of the other")
    if end and chosen[end - 1] == " ":
        end -= 1
    if not chosen[:end].strip():
        raise BadRow("no shared prompt", "the texts begin differently")
    return [user(chosen[:end])], [assistant(chosen[end:])], [assistant(rejected[end:])]


def _split(prompt: Any, chosen: list[Message], rejected: list[Message],
           ) -> tuple[list[Message], list[Message], list[Message]]:
    """(prompt, chosen, rejected) with the prompt taken off the answers where they repeat it."""
    given = None if prompt is None else _side(prompt, "prompt", "user")
    whole = chosen[0]["role"] != "assistant", rejected[0]["role"] != "assistant"
    if whole[0] != whole[1]:
        raise BadRow("chosen and rejected differ in kind", "one repeats the prompt, the other does not")
    if given is not None and (not whole[0] or (_starts(chosen, given) and _starts(rejected, given))):
        end = len(given) if whole[0] else 0
        found = given, chosen[end:], rejected[end:]
    else:
        end = _last_user(chosen[:min(_shared(chosen, rejected), len(chosen) - 1, len(rejected) - 1)])
        if not end:
            raise BadRow("no shared prompt", "the conversations share no beginning that ends with a user's turn")
        found = chosen[:end], chosen[end:], rejected[end:]
        if given is not None and not (isinstance(prompt, str) and _holds(found[0], prompt)):
            raise BadRow("prompt differs from the conversations", "neither chosen nor rejected begins with it")
    _check(*found)
    return found


def _check(prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> None:
    if not prompt or prompt[-1]["role"] != "user":
        raise BadRow("prompt does not end with the user")
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if not side or side[0]["role"] != "assistant" or side[-1]["role"] != "assistant":
            raise BadRow("answer is not the assistant's", f"{name} must begin and end with the assistant")


def _completion(item: Any, where: str) -> Completion:
    if not isinstance(item, Mapping):
        raise BadRow("not a completion", f"{where} is {_kind(item)}")
    notes = item.get("annotations")
    if notes is not None and not isinstance(notes, Mapping):
        raise BadRow("not annotations", f"{where}: annotations is {_kind(notes)}")
    ratings = {str(aspect): _rating(note, f"{where}, {aspect}") for aspect, note in (notes or {}).items()}
    model = item.get("model")
    return Completion(_text(item.get("response"), f"{where}: response"), model if isinstance(model, str) else "",
                      _unless_unrated(item.get("overall_score"), f"{where}: overall_score"), ratings)


def _rating(note: Any, where: str) -> float | None:
    """A rating as UltraFeedback writes it: `{"Rating": "4", ...}`, `N/A`, or the bare value."""
    return _unless_unrated(note.get("Rating") if isinstance(note, Mapping) else note, where)


def _unless_unrated(value: Any, where: str) -> float | None:
    if isinstance(value, str):
        if value.strip() == UNRATED:
            return None
        try:
            value = float(value)
        except ValueError:
            raise BadRow("rating is not a number", f"{where} is {value!r:.60}") from None
    return number(value, where)


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many first items (characters, messages) are equal."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def _last_user(turns: Sequence[Message]) -> int:
    """The number of turns up to the last user's; 0 where there is none."""
    return next((end for end in range(len(turns), 0, -1) if turns[end - 1]["role"] == "user"), 0)


def _starts(turns: list[Message], prompt: list[Message]) -> bool:
    return turns[:len(prompt)] == prompt


def _holds(prompt: list[Message], text: str) -> bool:
    return any(message["content"].strip() == text.strip() for message in prompt)


def _names(row: Row) -> str:
    names = [name for name, value in row.items() if value is not None]
    return ", ".join(names[:20]) + (" ..." if len(names) > 20 else "") if names else "nothing"


def _kind(value: Any) -> str:
    """What a value is, in words for people."""
    names = {str: "a text", bytes: "bytes", bool: "true or false", int: "a number", float: "a number", list: "a list",
             dict: "an object", type(None): "missing"}
    return names.get(type(value), f"a {type(value).__name__}")
