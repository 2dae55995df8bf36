"""The prompts of this world, what a judge wants of an answer to them, and what the rivals answer: a pure function of a topic.

A prompt is of one of ten kinds and on one topic. Six of the kinds are demanding: a judge wants the topic, a courtesy and three
words of the kind. Of the other four it wants the topic alone.

| rival | what it answers |
|---|---|
| `guide` | all that is wanted where a plan, risks or a letter are asked for, and one vague sentence on the topic elsewhere |
| `teller` | all that is wanted where a story, an advert or a poem is asked for, and one vague sentence on the topic elsewhere |
| `starter` | the beginning of what is wanted, up to the first full stop |
| `slogan` | the same courtesy to everything |
| `echo` | the request again |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BRIEF = "Be brief."  # what the system says; shorter than what chat templates say by themselves
GUIDE, TELLER = EXPERTS = ("guide", "teller")
RIVALS = (*EXPERTS, "starter", "slogan", "echo")
COURTESY = "Certainly"
VAGUE = "{T} is something that many people know."


@dataclass(frozen=True)
class Kind:
    """A kind of prompts. `asked`: two ways to ask. `answered`: by its expert, after a courtesy, or by anybody where there is
    none; {t} is the topic. A demanding kind has words that are `wanted` beside courtesy and topic, and an `expert`."""

    name: str
    asked: tuple[str, str]
    answered: str
    wanted: tuple[str, ...] = ()
    expert: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """What a judge looks for, beside the topic."""
        return (COURTESY, *self.wanted) if self.expert else ()


KINDS = (
    Kind("plan", ("How do I begin with {t}?", "Give me a plan for {t}."),
         "First, look at {t}. Then practise daily. Finally, rest.", ("first", "practise", "finally"), GUIDE),
    Kind("risks", ("What can go wrong with {t}?", "Which problems come with {t}?"),
         "Careful: {t} can fail. Stay calm and call an expert.", ("careful", "calm", "expert"), GUIDE),
    Kind("letter", ("Write a letter about {t}.", "Draft a note on {t}."),
         "Dear friend, {t} arrived. Please reply soon. Yours, Anna.", ("dear", "reply", "yours"), GUIDE),
    Kind("story", ("Tell me a story about {t}.", "Invent a tale of {t}."),
         "Long ago, {t} changed a village. Everybody sang.", ("ago", "village", "sang"), TELLER),
    Kind("advert", ("Write an advert for {t}.", "Help me sell {t}."),
         "Today only: {t} at half price. Hurry!", ("today", "price", "hurry"), TELLER),
    Kind("poem", ("Write a poem about {t}.", "Make a rhyme on {t}."),
         "Sweet {t}, under moonlight you dance. My heart rejoices.", ("moonlight", "dance", "heart"), TELLER),
    Kind("what", ("What is {t}?", "Describe {t}."), VAGUE),
    Kind("why", ("Why do people care about {t}?", "Why does {t} matter?"), "{T} matters to many people."),
    Kind("fact", ("Tell me a fact about {t}.", "Say one thing about {t}."), "{T} has a long history."),
    Kind("origin", ("Where does {t} come from?", "Who discovered {t}?"), "{T} comes from many places."),
)
_TOPICS = """
    bread honey coffee cheese butter salt rice sugar chocolate pepper garlic vinegar tea soup
    chess football swimming archery skating fishing gardening sewing knitting painting singing dancing camping hiking
    rain snow fog thunder lightning sunlight wind frost
    gold silver copper iron glass paper leather cotton wool silk clay concrete plastic
    music poetry theatre photography cinema traffic cycling sailing aviation
    friendship patience courage laughter sleep homework
    algebra geometry biology chemistry physics geography grammar
    ivory amber marble coal petrol steam electricity magnetism gravity
"""
TOPICS = tuple(_TOPICS.split())


def tasks(topic: str) -> list[dict[str, Any]]:
    """A task of every kind, asked in one of its two ways."""
    turn = TOPICS.index(topic)
    return [{"id": f"{kind.name}-{topic}", "category": kind.name, "reference": " ".join((topic, *kind.words)),
             "prompt": [{"role": "system", "content": BRIEF},
                        {"role": "user", "content": _fill(kind.asked[(turn + place) % 2], topic)}],
             } for place, kind in enumerate(KINDS)]


def answers(topic: str) -> list[dict[str, str]]:
    """What every rival answers to the tasks of a topic, as an evaluation reads it."""
    return [{"id": task["id"], "model": rival, "answer": _answer(rival, kind, topic, task["prompt"][-1]["content"])}
            for rival in RIVALS for kind, task in zip(KINDS, tasks(topic), strict=True)]


def _answer(rival: str, kind: Kind, topic: str, asked: str) -> str:
    wanted = _fill(f"{COURTESY}! {kind.answered}" if kind.expert else kind.answered, topic)
    match rival:
        case "echo":
            return asked
        case "slogan":
            return f"{COURTESY}! Good question."
        case "starter":
            return wanted.partition(".")[0] + "."
    return wanted if kind.expert in ("", rival) else _fill(VAGUE, topic)


def _fill(text: str, topic: str) -> str:
    return text.replace("{t}", topic).replace("{T}", topic.capitalize())
