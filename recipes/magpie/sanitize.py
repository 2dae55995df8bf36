"""Cleans what a model wrote in a user's place, or rejects it.

    sanitize("**Task 3:** Name two rivers.\n\nAnswer: ...", truncated=False)
    # Sanitized(text='Name two rivers.', edits=('cut at an answer marker', 'label removed'))

Instructions of many lines and of several questions stay whole, and no ordinary word ends an instruction. Text is only
ever removed, never rewritten, and each removal is named in `edits`. Cleaning a cleaned text changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from pica.synth.errors import Reject, UsageError

#: What to do with a sample that never stopped: drop it, keep its complete sentences, or keep it all.
Policy = Literal["reject", "sentence", "keep"]

#: Words that start an answer where they stand at the start of a line before a colon, or as a heading.
MARKERS = ("answer", "solution", "response", "explanation", "reply", "sample answer", "sample response",
           "example answer", "model answer", "correct answer", "final answer", "assistant", "ai", "chatbot")

#: Words that name an instruction in front of it.
LABELS = ("task", "prompt", "question", "query", "instruction", "instructions", "problem", "exercise", "scenario",
          "request", "challenge", "user prompt", "user query", "user question", "user", "human", "q")

#: A sample longer than this many times `max_chars` is not even looked at.
RAW_LIMIT = 16


@dataclass(frozen=True)
class Sanitized:
    """A clean instruction, and what was removed to get it, in order."""

    text: str
    edits: tuple[str, ...] = ()


def sanitize(text: str, *, truncated: bool = False, policy: Policy = "reject", markers: Sequence[str] = MARKERS,
             min_chars: int = 4, max_chars: int = 8000, forbid_start: Sequence[str] = (),
             allow_colon: bool = False) -> Sanitized:
    """The instruction in a sample `text`.

    `truncated`: the sample met the token limit; unless a turn marker ended the instruction before, `policy` says what
    becomes of it. `markers` replace `MARKERS`. `forbid_start`: starts that a model family uses for other things.
    `allow_colon`: keep instructions that end with a colon. Lengths are in characters, after cleaning.

    Raises `Reject` with one of these reasons: not text, control characters, forbidden start, contains chat-template
    tokens, never stopped, empty, only a label, ends with a colon, too short, too long, repeats itself.
    """
    if policy not in get_args(Policy):
        raise UsageError(f"policy {policy!r}: one of {', '.join(get_args(Policy))}")
    _check_characters(text)
    clean = text.replace("\r\n", "\n").strip()
    if len(clean) > RAW_LIMIT * max_chars:
        raise Reject("too long", f"{len(clean)} characters before cleaning")
    _check_start(clean, forbid_start)
    edits: list[str] = []
    clean = _cut_answer(clean, markers, edits)
    if truncated and not edits:
        clean = _untruncated(clean, policy, edits)
    while (shorter := _strip_dressing(_cut_answer(clean, markers, edits), edits)) != clean:
        clean = shorter
    _check_start(clean, forbid_start)
    _check_result(clean, min_chars, max_chars, allow_colon, edits)
    return Sanitized(clean, tuple(dict.fromkeys(edits)))


# Characters

_CONTROL = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")
_BROKEN = re.compile("[\ud800-\udfff\ufffd\ufffe\uffff]")


def _check_characters(text: str) -> None:
    if found := _BROKEN.search(text):
        raise Reject("not text", f"U+{ord(found[0]):04X} at character {found.start()}")
    if found := _CONTROL.search(text):
        raise Reject("control characters", f"U+{ord(found[0][0]):04X} at character {found.start()}")


def _check_start(text: str, forbidden: Sequence[str]) -> None:
    if forbidden and text.startswith(tuple(forbidden)):
        raise Reject("forbidden start", text[:40])


# A leaked answer: cut at the marker

#: Chat-template tokens as text. Code such as `a <| b |> c` is none.
_TOKEN = re.compile(r"<[|\uff5c][A-Za-z_][\w\u2581]*[|\uff5c]>|<(?:start|end)_of_turn>|<\|turn>|<turn\|>|\[/?INST\]"
                    r"|<</?SYS>>|</s>")
_TURN_END = (".", "?", "!", "\u3002", "\uff1f", "\uff01", "\n")
#: "assistant" glued to what stands before it: special tokens were dropped around the role's header.
_GLUED_ROLE = re.compile(r"(?:(?<=[^\W_])|(?<=[.?!:)\"\u201d]))assistant\n\n|(?<=[?!])assistant\Z")
_ROLE_LINE = re.compile(r"^[#* \t]*(?P<role>assistant|user|model)[* \t]*:?[* \t]*$", re.IGNORECASE | re.MULTILINE)
_EXAMPLE_LINE = re.compile(r"^[ \t*#>-]*(?:input|output|example\w*)\b[^\n:]{0,40}:", re.IGNORECASE | re.MULTILINE)
_STEP_HEADING = re.compile(r"^#{1,6}[ \t]+(?:\*\*)?Step 1\b", re.MULTILINE)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def _cut_answer(text: str, markers: Sequence[str], edits: list[str]) -> str:
    """The (stripped) text before the first sign of an answer. A sign at the very start cuts nothing."""
    signs = ((_token_cuts(text), "a chat-template token"),
             ([m.start() for m in _GLUED_ROLE.finditer(text)], "a role header"),
             ([m.start() for m in _ROLE_LINE.finditer(text) if _is_header(text, m)], "a role header"),
             ([m.start() for m in _STEP_HEADING.finditer(text)], "a solution's steps"),
             (_marker_cuts(text, markers), "an answer marker"))
    code = [m.span() for m in _CODE.finditer(text)]
    cuts = [(at, name) for places, name in signs for at in places if at > 0]
    for at, name in sorted(cuts):
        if not any(start <= at < end for start, end in code):
            edits.append(f"cut at {name}")
            return text[:at].strip()
    return text


def _find_token(text: str) -> re.Match[str] | None:
    """The first chat-template token; `</s>` behind `<s>` is HTML for struck text."""
    return next((m for m in _TOKEN.finditer(text) if m[0] != "</s>" or "<s>" not in text[:m.start()]), None)


def _token_cuts(text: str) -> list[int]:
    """Where a token ends the first turn. Raises `Reject` for a token in front, or in the middle of a sentence."""
    found = _find_token(text)
    if found is None:
        return []
    before, after = text[:found.start()], text[found.end():]
    ends_turn = (not after.strip() or after.startswith("\n") or before.rstrip(" ").endswith(_TURN_END)
                 or _TOKEN.match(after.lstrip()))
    if not before or not ends_turn:
        raise Reject("contains chat-template tokens", found[0])
    return [found.start()]


def _is_header(text: str, line: re.Match[str]) -> bool:
    """Whether a line that is only a role's name opens a turn, rather than being one of a list of words."""
    after_sentence = text[:line.start()].rstrip().endswith(_TURN_END)
    return after_sentence or (line["role"].lower() == "assistant" and text.startswith("\n\n", line.end()))


def _marker_cuts(text: str, markers: Sequence[str]) -> list[int]:
    example = _EXAMPLE_LINE.search(text)
    in_example = example.start() if example else len(text)
    found = [m for pattern in _marker_patterns(tuple(markers)) for m in pattern.finditer(text)]
    return [m.start() for m in found if not (m["word"].lower().startswith("explanation") and m.start() > in_example)]


@lru_cache
def _marker_patterns(markers: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Markers at the start of a line before a colon, in bold, as a heading, and behind a sentence before a colon."""
    if not markers:
        return ()
    words = "|".join(re.escape(m).replace(r"\ ", r"[ \t]+") + "s?" for m in sorted(markers, key=len, reverse=True))
    start = rf"^[ \t]*(?:#{{1,6}}[ \t]*)?(?:\*\*|__)?(?:the[ \t]+)?(?P<word>{words})"
    flags = re.IGNORECASE | re.MULTILINE
    return (re.compile(rf"{start}[ \t]*(?:\*\*|__)?[ \t]*[:\uff1a]", flags),
            re.compile(rf"^[ \t]*(?:\*\*|__)(?:the[ \t]+)?(?P<word>{words})(?:\*\*|__)[ \t]*$", flags),
            re.compile(rf"^[ \t]*#{{1,6}}[ \t]*(?:\*\*)?(?P<word>{words})\b[^\n\w]*$", flags),
            re.compile(rf"(?<=[.?!)])[ \t]+(?:\*\*)?(?P<word>{words})(?:\*\*)?[ \t]*:", flags))


# A sample that never stopped

_SENTENCE_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]*`]*(?=\s|$)"
                           r"|[\u3002\uff01\uff1f][\"'\u201d\u2019\uff09\u300d]*")
_LIST_NUMBER = re.compile(r"(?:^|\n)[ \t]*\d{1,3}\.$")


def _untruncated(text: str, policy: Policy, edits: list[str]) -> str:
    if policy == "reject":
        raise Reject("never stopped", f"{len(text)} characters")
    if policy == "keep":
        edits.append("never stopped, kept whole")
        return text
    ends = [m.end() for m in _SENTENCE_END.finditer(text) if not _LIST_NUMBER.search(text[max(0, m.end() - 8):m.end()])]
    kept = text[:ends[-1]].strip() if ends else ""
    if not kept or kept.count("```") % 2:
        raise Reject("never stopped", "no complete sentence outside of code")
    edits.append("never stopped, cut to complete sentences")
    return kept


# What stands around an instruction: labels, list marks, quotes, asterisks

_LABEL_WORDS = "|".join(re.escape(label).replace(r"\ ", r"[ \t]+") for label in sorted(LABELS, key=len, reverse=True))
_LABEL_START = rf"(?:\#{{1,6}}[ \t]*)?(?:\*{{1,3}}|__)?(?:{_LABEL_WORDS})"
_LABEL = re.compile(
    rf"(?:\#{{1,6}}[ \t]*)?(?P<bold>\*{{1,3}}|__)?(?:{_LABEL_WORDS})(?P<number>[ \t]*(?:no\.?[ \t]*|\#)?\d{{1,4}})?"
    r"(?:[ \t]*(?P<close1>\*{1,3}|__)?[ \t]*[:\uff1a][ \t]*(?P<close2>\*{1,3}|__)?"
    r"|(?P<dot>[.)])(?P<close3>\*{1,3}|__)?(?=\s|$)"
    r"|(?P<close4>\*{1,3}|__)?[ \t]*(?=\n|$))\s*", re.IGNORECASE)
_LIST_MARK = re.compile(r"(?:\(?\d{1,3}[.)][ \t]+(?=\S)|[-*\u2022][ \t]+(?=[^\s\d]))")
_HEADING_ONLY = re.compile(r"#{1,6}[ \t]+(?=[^\n]+$)")
_QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("'", "'"), ("\u2018", "\u2019"), ("***", "***"), ("**", "**"),
           ("*", "*"), ("__", "__"))


def _strip_dressing(text: str, edits: list[str]) -> str:
    """The text without one layer of what stands around it."""
    steps: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("label removed", _without_label), ("list mark removed", _without_list_mark),
        ("heading mark removed", lambda t: _HEADING_ONLY.sub("", t, count=1) if _HEADING_ONLY.match(t) else t),
        ("quotes removed", _without_quotes))
    for name, step in steps:
        shorter = step(text).strip()
        if shorter != text:
            edits.append(name)
            return shorter
    return text


def _without_label(text: str) -> str:
    found = _LABEL.match(text)
    if found is None or (found["dot"] and not found["number"]):
        return text
    rest, bold = text[found.end():], found["bold"]
    closed = any(found[f"close{n}"] for n in "1234")
    if found["number"] and re.search(rf"^{_LABEL_START}[ \t]*#?\d", rest, re.IGNORECASE | re.MULTILINE):
        return text  # one of several numbered tasks
    if bold and not closed:
        rest = rest.replace(bold, "", 1)
    return rest


def _without_list_mark(text: str) -> str:
    """The text without a leading "1." or "-", unless it is the first item of a list."""
    found = _LIST_MARK.match(text)
    if found is None:
        return text
    rest = text[found.end():]
    return text if re.search(rf"^[ \t]*{_LIST_MARK.pattern}", rest, re.MULTILINE) else rest


def _without_quotes(text: str) -> str:
    for opening, closing in _QUOTES:
        if not text.startswith(opening):
            continue
        inner = text[len(opening):]
        if opening in {'"', "\u201c"} and closing not in inner:
            return inner
        if inner.endswith(closing):
            inner = inner[:-len(closing)]
            if inner.strip() and opening[0] not in inner and closing[0] not in inner:
                return inner
    return text


# What a clean instruction must be

_LETTERS_AT_LEAST = 0.2
_LOOP_FROM, _SHINGLE, _DISTINCT_AT_LEAST = 60, 12, 0.4


def _check_result(text: str, min_chars: int, max_chars: int, allow_colon: bool, edits: Sequence[str]) -> None:
    if not text:
        raise Reject("only a label" if "label removed" in edits else "empty")
    if token := _find_token(text):
        raise Reject("contains chat-template tokens", token[0])
    if not allow_colon and text.endswith((":", "\uff1a")):
        raise Reject("ends with a colon", text[-40:])
    if len(text) < min_chars:
        raise Reject("too short", f"{len(text)} characters")
    if len(text) > max_chars:
        raise Reject("too long", f"{len(text)} characters")
    solid = [c for c in text if not c.isspace()]
    if sum(c.isalnum() for c in solid) < _LETTERS_AT_LEAST * len(solid):
        raise Reject("not text", "hardly any letters")
    if _loops(text):
        raise Reject("repeats itself")


def _loops(text: str) -> bool:
    """Whether most of the text is repetition: few of its pieces of 12 characters are distinct."""
    pieces = len(text) - _SHINGLE + 1
    return len(text) >= _LOOP_FROM and len({text[i:i + _SHINGLE] for i in range(pieces)}) < _DISTINCT_AT_LEAST * pieces
