"""A detector of low-effort answers ("shirkers"): a few of them in a training set cost more than many good ones bring.

    shirk("Write a 500-word essay on tides.", "Tides are caused by the moon.")  -> Shirk("too short", "6 words of about 200")

It reads English surfaces, not meaning: it finds refusals, answers that only offer help or ask for more, answers far
shorter than what was asked, answers that say nothing in particular, and answers that repeat themselves or the question.
The thresholds are the constants below. An answer in another language is judged by its length and repetition alone.
Source of the idea: Kaur et al., Instruct-SkillMix (2024), where brief or junk answers in a fifth of the data undo much
of its effect.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from pica.synth.filters.exact import normalise

Kind = Literal["refusal", "stalls", "too short", "vague", "repeats itself", "echoes the instruction"]
KINDS: Final[tuple[Kind, ...]] = ("refusal", "stalls", "too short", "vague", "repeats itself",
                                    "echoes the instruction")

#: A refusal must stand in the first characters, and in an answer of fewer words than this.
REFUSAL_STARTS_WITHIN, REFUSAL_WORDS = 120, 100
#: An answer is too short below this share of the length that was asked for ("500 words", "three paragraphs").
ASKED_SHARE = 0.4
#: Words that a sentence, a paragraph and an item of a list stand for.
WORDS_OF: Final = {"word": 1, "sentence": 10, "paragraph": 40}
ITEM_WORDS = 6
#: Words that a long form needs at least (an essay, a plan, a story, ...).
LONG_FORM_WORDS = 80
#: Otherwise an answer needs this many words, and this share of the words of its instruction.
LEAST_WORDS, LEAST_SHARE, MOST_BY_SHARE = 12, 0.5, 60
#: Where a number of items is asked for, that decides alone, up to an instruction of so many words.
LONG_INSTRUCTION = 30
#: Stalls: fewer words than this are left without the sentences that offer help, ask for details or hold a placeholder.
STALL_WORDS = 12
#: Vague: at least so many sentences, this share of them with a phrase that says nothing, fewer specifics in 100 words.
VAGUE_SENTENCES, VAGUE_SHARE, SPECIFICS = 3, 0.5, 3.0
#: Repeats itself: at least so many words, fewer than this share of its runs of four words distinct.
LOOP_WORDS, LOOP_SHARE = 24, 0.6
#: Echoes: this share of the answer's runs of four words stand in the instruction.
ECHO_WORDS, ECHO_SHARE = 8, 0.6


class Shirk(NamedTuple):
    """What kind of low effort, and what shows it."""

    kind: Kind
    detail: str


def shirk(instruction: str, response: str) -> Shirk | None:
    """Why `response` is a low-effort answer to `instruction`, or None."""
    words, given = _words(response), _words(instruction)
    least = least_words(instruction, len(given))
    for found in (_refuses(response, len(words)), _echoes(given, words), _loops(words), _stalls(response, least),
                  _too_short(response, len(words), least), _vague(response, len(words))):
        if found is not None:
            return found
    return None


def _words(text: str) -> list[str]:
    """Words without case and punctuation; in scripts without spaces two characters count as one."""
    found = []
    for word in normalise(text, keep_punctuation=False).split():
        found += [word[i:i + 2] for i in range(0, len(word), 2)] if _UNSPACED.match(word) else [word]
    return found


_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")

# Refusals

_CANNOT = (r"(?:can ?not|can['\u2019]?t|am not able to|am unable to|['\u2019]m unable to|['\u2019]m not able to|won['\u2019]t|"
           r"will not)")
_HELP = (r"(?:help|assist|answer|provide|fulfil+|comply|do (?:that|this)|complete|generate|create|write|give|offer|"
         r"support|discuss|engage|respond|continue)")
_REFUSAL = re.compile(
    rf"\bI {_CANNOT} (?:currently |really |directly )?{_HELP}\b|\bI{_CANNOT} {_HELP}\b|\bas an? (?:AI|artificial|language)\b"
    rf"[^.]{{0,60}}\bI (?:{_CANNOT}|do not|don['\u2019]t)\b|\bI must (?:decline|refuse)\b"
    r"|\bI(?:['\u2019]m| am) sorry,? but (?:I|this|that)\b|\bI(?:['\u2019]d| would) rather not\b"
    r"|\bI (?:do not|don['\u2019]t) (?:know|have (?:an answer|enough information))\b", re.IGNORECASE)


def _refuses(response: str, words: int) -> Shirk | None:
    found = _REFUSAL.search(response[:REFUSAL_STARTS_WITHIN])
    return Shirk("refusal", found[0]) if found and words < REFUSAL_WORDS else None


# Offers instead of an answer

_STALL = re.compile("|".join((
    r"\b(?:please|could you|can you|would you)(?: please)? (?:provide|share|specify|give|tell|clarify|send|let me know)\b",
    r"\[(?:insert|your (?:answer|response|text)|answer|response)\b[^\]]*\]", r"\blet me know\b",
    r"\b(?:happy|glad|ready|here|delighted|able|like) to (?:help|assist|support|provide|offer)\b",
    r"\bI (?:can|will|['\u2019]ll|would love to)(?: definitely| certainly)? (?:help|assist|provide|offer|guide)\b",
    r"\bhow (?:I|we) can (?:help|assist|proceed)\b")), re.IGNORECASE)


def _stalls(response: str, least: int) -> Shirk | None:
    sentences = [found[0] for found in _SENTENCE.finditer(response)]
    empty = [sentence.strip() for sentence in sentences if _STALL.search(sentence)]
    left = len(_words(" ".join(sentence for sentence in sentences if not _STALL.search(sentence))))
    return Shirk("stalls", empty[0]) if empty and left < min(least, STALL_WORDS) else None


# Length

_NUMBERS: Final = {word: n for n, word in enumerate(
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1)}
_ITEMS = (r"items?|steps?|tips?|ways?|ideas?|examples?|reasons?|questions?|points?|options?|strategies|facts|names|titles|"
          r"arguments?|differences|exercises")
_ASKED = re.compile(rf"(?P<limit>under|at most|no more than|maximum of|up to|fewer than|less than|within)?\s*\b"
                    rf"(?P<n>\d{{1,5}}|{'|'.join(_NUMBERS)})[ -]"
                    rf"(?:(?:\w+[ -]){{0,2}}?)(?P<unit>words?|paragraphs?|sentences?|{_ITEMS})\b", re.IGNORECASE)
_LONG = re.compile(r"\b(?:write|draft|compose|create|make|prepare|develop|design|produce|need|want|give me)\b[^.?!\n]{0,40}"
                   r"\b(?:essay|report|article|blog post|story|speech|proposal|tutorial|guide|analysis|letter|plan|review|"
                   r"lesson|dialogue|script)\b|\bstep[- ]by[- ]step\b|\bin (?:depth|detail)\b", re.IGNORECASE)
_BRIEF = re.compile(r"\b(?:brief(?:ly)?|in short|short answer|concise(?:ly)?|one[- ](?:word|line|sentence)|single (?:word|line|"
                    r"sentence)|yes or no|true or false|haiku|tweet|slogan|headline|title|tagline|subject line|only the|"
                    r"just the|translate|which (?:one|of)|what is the (?:name|capital|value|result))\b", re.IGNORECASE)
_WORK = re.compile(r"```|\$|\\\(|\\frac|[=<>]\s*-?\d")  # code and formulas say much in few words


def _too_short(response: str, words: int, least: int) -> Shirk | None:
    wanted = least // 3 if _WORK.search(response) else least
    return Shirk("too short", f"{words} words, where at least {wanted} were expected") if words < wanted else None


def least_words(instruction: str, words: int) -> int:
    """The fewest words that an answer with some effort has, going by what the instruction (of so many words) asks for."""
    asked = [_Asked.of(found) for found in _ASKED.finditer(instruction)]
    lengths = [one.words for one in asked if one.length and not one.limit]
    items = [one.words for one in asked if not one.length and not one.limit]
    by_share = min(int(LEAST_SHARE * words), MOST_BY_SHARE)
    if lengths:
        least = int(ASKED_SHARE * max(lengths))
    elif _BRIEF.search(instruction):
        least = 1
    elif items:
        least = max(int(ASKED_SHARE * max(items)), by_share if words > LONG_INSTRUCTION else 0)
    else:
        least = max(LEAST_WORDS, by_share, LONG_FORM_WORDS if _LONG.search(instruction) else 0)
    return max(1, min([least, *(int(ASKED_SHARE * one.words) for one in asked if one.limit and one.length)]))


class _Asked(NamedTuple):
    """What "five sentences", "ten tips" or "under 300 words" comes to. `length`: it is no number of items."""

    words: int
    length: bool
    limit: bool

    @classmethod
    def of(cls, found: re.Match[str]) -> _Asked:
        unit = found["unit"].lower().rstrip("s")
        number = _NUMBERS.get(found["n"].lower()) or int(found["n"])
        return cls(number * WORDS_OF.get(unit, ITEM_WORDS), unit in WORDS_OF, bool(found["limit"]))


# Vagueness

_SOME = r"(?:many|various|several|different|numerous|a number of|a variety of|all kinds of|certain)"
_MATTER = (r"(?:important|essential|crucial|vital|key|good|best|necessary|worth|helpful)")
_HEDGE = re.compile("|".join((
    r"\bit (?:really |all )?depends\b", r"\bdepends on (?:many|various|several|the)\b",
    rf"\b{_SOME} (?:\w+ )?(?:factors|ways|things|aspects|options|approaches|reasons|possibilities|elements|perspectives|"
    r"people|considerations|strategies|steps|resources|opportunities|challenges)\b",
    r"\bthere (?:are|is) (?:many|no (?:single|one|right)|a lot|lots|always)\b",
    rf"\bit(?: is|['\u2019]s) (?:also |very |really |always )?{_MATTER}\b", rf"\bone of the most {_MATTER}\b",
    r"\b(?:can|may|might) (?:also )?(?:be|vary|help|have)\b", r"\bkeep in mind\b", r"\bmake sure\b", r"\bbest practices\b",
    r"\bin (?:many|some|most) (?:cases|ways|situations)\b",
    r"\b(?:generally|overall|in general|somehow|and so on|etc|as needed)\b",
    r"\bdo your best\b", r"\bwhen it comes to\b", r"\bplays? an? (?:key|vital|crucial|big|important) role\b",
    r"\bthink (?:carefully )?about\b", r"\bat the end of the day\b", r"\bvarious\b", r"\bthings\b")), re.IGNORECASE)
_SPECIFIC = re.compile(r"\d+|```|`[^`]+`|[\"\u201c\u201d]|(?:^|\n)\s*[-*\u2022]\s|\bfor (?:example|instance)\b|\bsuch as\b")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")


def _vague(response: str, words: int) -> Shirk | None:
    sentences = [found[0] for found in _SENTENCE.finditer(response) if len(found[0].split()) > 2]
    if len(sentences) < VAGUE_SENTENCES or not words:
        return None
    hedged = sum(bool(_HEDGE.search(sentence)) for sentence in sentences)
    specific = 100 * (len(_SPECIFIC.findall(response)) + len(_NAME.findall(response))) / words
    if hedged < VAGUE_SHARE * len(sentences) or specific >= SPECIFICS:
        return None
    return Shirk("vague", f"{hedged} of {len(sentences)} sentences say nothing in particular, {specific:.1f} specifics in 100 "
                          "words")


# Repetition

def _runs(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[i:i + 4]) for i in range(len(words) - 3)]


def _loops(words: list[str]) -> Shirk | None:
    runs = _runs(words)
    if len(words) < LOOP_WORDS or len(set(runs)) >= LOOP_SHARE * len(runs):
        return None
    return Shirk("repeats itself", f"{len(set(runs))} of {len(runs)} runs of four words are distinct")


def _echoes(given: list[str], words: list[str]) -> Shirk | None:
    runs, asked = _runs(words), set(_runs(given))
    shared = sum(run in asked for run in runs)
    if len(words) < ECHO_WORDS or shared < ECHO_SHARE * len(runs):
        return None
    return Shirk("echoes the instruction", f"{shared} of {len(runs)} runs of four words stand in it")
