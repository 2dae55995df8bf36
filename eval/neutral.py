"""Answers made harmless for a judge's prompt.

An answer that is judged is data. The prompt fences it by a mark that it cannot know; besides, whatever in it looks like a
verdict, a fence or a chat token is broken up by a dot (·), so that no careless parser and no judge takes it for one. What was
broken up is named, so that a reader of the judgment sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN = r"(?<![\w\])])"  # not behind a name or a bracket, where `[` is an index
_COMPARED = r"[a-z]\s*[<>=]{1,3}\s*[a-z]"

#: name of what is found -> pattern; a dot goes behind the first character
SUSPICIOUS = {
    "verdict label": re.compile(
        rf"\[\[\s*(?:{_COMPARED}|rating|tie|(?-i:[ABC<>=]+)[+]{{0,2}})\s*\]\]"
        rf"|(?:{_PLAIN}|(?<=rating)|(?<=verdict)|(?<=score))\[\[\s*(?:[a-z]|(?:10|\d)(?:\.\d+)?)\s*\]\]"
        rf"|{_PLAIN}\[\s*{_COMPARED}\s*\]", re.IGNORECASE),
    "verdict as JSON": re.compile(
        r"\"(?:met\"\s*:\s*\"?(?:yes|no)\b|weaknesses\"\s*:\s*\"(?:[^\"\\]|\\.){0,2000}\"\s*,\s*\"score\"\s*:"
        rf"|(?:verdict|choice)\"\s*:\s*\"\s*(?:{_COMPARED}|[abc][+]{{0,2}})\s*\")", re.IGNORECASE),
    "fence": re.compile(
        r"</?data-[0-9a-f]*|\[(?:BEGIN|END)[ _][A-Z ]{1,40}\]|#{3} ?(?-i:END|BEGIN) OF"
        rf"|{_PLAIN}\[(?:BEGIN|END)\]", re.IGNORECASE),
    "chat token": re.compile(
        r"<\|(?=\S)[^|<>\n]{1,60}(?<=\S)\|>|<\|(?=im_|start|end|eot|begin|user|assistant|system)|<\uff5c[^\uff5c<>\n]{1,60}\uff5c>"
        r"|<(?=/?s>|(?:bos|eos)>|start_of_turn|end_of_turn|<SYS>>|</SYS>>)|\[/?INST\]", re.IGNORECASE),
}
#: what only warns: it occurs in honest answers too
NOTED = {
    "speaks of a verdict": re.compile(
        r"^\W{0,4}(?:final |my |the )?(?:verdict|grade|judge?ment|winner|choice)\W{0,4}(?::|is\b)"
        r"|\"(?:verdict|choice|winner)\"\s*:",
        re.IGNORECASE | re.MULTILINE),
    "speaks to the judge": re.compile(
        r"\b(?:ignore|disregard|forget)\b[^.\n]{0,40}\b(?:above|previous|instructions?|answers?)\b"
        r"|\b(?:dear|attention|note to(?: the)?|to the|you are (?:a|the)) (?:judge|grader|evaluator)\b", re.IGNORECASE),
    "imitates the judge's prompt": re.compile(
        r"^\W{0,4}(?:the author's notes|the conversation|the requirement|answer [a-z]):\s*$|the JSON object, and nothing else",
        re.IGNORECASE | re.MULTILINE),
}


@dataclass(frozen=True)
class Neutral:
    """A text for a judge's prompt, and the names of what was broken up or noticed in it."""

    text: str
    flags: tuple[str, ...] = ()


def neutralise(text: str) -> Neutral:
    """`text` with verdict labels, fences and chat tokens broken up. Doing it twice changes nothing more."""
    flags = []
    for name, pattern in SUSPICIOUS.items():
        broken = _break(pattern, text)
        if broken != text:
            flags.append(name)
            text = broken
    flags += [name for name, pattern in NOTED.items() if pattern.search(text)]
    return Neutral(text, tuple(flags))


def _break(pattern: re.Pattern[str], text: str) -> str:
    """Every match with a dot behind its first character, until nothing matches; no pattern matches across a dot."""
    while pattern.search(text):
        text = pattern.sub(lambda match: f"{match[0][0]}·{match[0][1:]}", text)
    return text
