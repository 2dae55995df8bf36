"""The two ways to skills: asking the mentor for them, and extracting them from an instruction dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from pica.recipes.skillmix import schemas
from pica.recipes.skillmix.config import SkillMixConfig
from pica.recipes.skillmix.merge import Named, merge_entries, merge_skills
from pica.recipes.skillmix.prompts import PROMPTS
from pica.recipes.skillmix.skills import Entry, SkillFile, level_name
from pica.synth.embed import Embedder, open_embedder
from pica.synth.errors import ModelError, PicaError, UsageError
from pica.synth.models.base import user
from pica.synth.prompts import TooLong
from pica.synth.run import Draft, Run, derive_seed, together
from pica.synth.structured import Unparsed, ask_json

TRIES = 3  # for a list that can be read


class NoSkills(PicaError):
    """The mentor named nothing that could be read."""


async def gather(run: Run, config: SkillMixConfig) -> SkillFile:
    """The skills of `skills=ask` or `skills=extract`, merged. Raises `NoSkills`, and what stops a run."""
    embedder = None if config.merge.embedder == "none" else open_embedder(config.merge.embedder)
    with run.draining():
        return await (_ask(run, config, embedder) if config.skills == "ask" else _extract(run, config, embedder))


async def _ask(run: Run, config: SkillMixConfig, embedder: Embedder | None) -> SkillFile:
    run.say(f"asking {_mentor(config)} for {config.ask.topics} topics and {config.ask.query_types} query types")
    topics, kinds = await together(
        _list(run.draft("topics"), config, "topics", config.ask.topics),
        _list(run.draft("query types"), config, "query_types", config.ask.query_types))
    run.say(f"asking for {config.ask.skills} skills of each of {len(topics)} topics")
    several: list[list[Named]] = await together(*(
        _list(run.draft(f"skills of {topic.name}"), config, "skills_of_topic", config.ask.skills, topic=topic)
        for topic in topics))
    found = [skill for some in several for skill in some]
    if not found or not kinds:
        raise _nothing(config, "skills" if kinds else "query types")
    return _file(config, embedder, found, kinds, config.ask.query_types, {
        "how": "asked", "topics": len(topics), "topics_without_skills": sum(not some for some in several)})


async def _list(draft: Draft, config: SkillMixConfig, prompt: str, number: int, *, topic: Named | None = None) -> list[Named]:
    """Up to `number` different names: asked for, and for more of them, until there are enough or `ask.rounds` are over.

    An answer that cannot be read ends it with what there is.
    """
    found: dict[str, Named] = {}
    about = {"topic": f"{topic.name}: {topic.description}"} if topic is not None else {}
    for turn in range(config.ask.rounds):
        known = "\n".join(one.name for one in found.values()) or "(none)"
        text = PROMPTS[prompt].fill(number=str(number - len(found)), known=known, **about)
        try:
            answer = await _asked(draft, config, prompt, text, schemas.LIST, first=turn * TRIES)
        except Unparsed:
            break
        for item in answer["items"]:
            one = _named(item, topic.name if topic is not None else "")
            found.setdefault(level_name(one.name), one)
        found.pop("", None)
        if len(found) >= number:
            break
    return list(found.values())[:number]


async def _asked(draft: Draft, config: SkillMixConfig, step: str, text: str, schema: dict[str, Any], first: int = 0,
                 ) -> dict[str, Any]:
    """The mentor's answer to `text`; `first` is the number of its first attempt. Raises `Unparsed`."""
    assert config.mentor is not None
    mentor = config.mentor
    return await ask_json(lambda attempt: draft.chat(step, mentor, [user(text)], config.listing, attempt=first + attempt,
                                                     schema=schema), schema, tries=TRIES)


async def _extract(run: Run, config: SkillMixConfig, embedder: Embedder | None) -> SkillFile:
    texts, about = sample(config)
    run.say(f"asking {_mentor(config)} for the skills of {len(texts)} instructions of {config.data}")
    answers: list[dict[str, Any] | None] = await together(*(
        _read(run.draft(f"extract {place}"), config, text) for place, text in texts))
    found, kinds = [], []
    for answer in answers:
        if answer is not None:
            found += [_named(item, " ".join(answer["topic"].split())) for item in answer["skills"]]
            kinds.append(_named(answer["query_type"]))
    if not found:
        raise _nothing(config, "skills")
    return _file(config, embedder, found, kinds, config.extract.query_types, {
        "how": "extracted", **about, "instructions": len(texts), "instructions_without_answer": answers.count(None)})


def sample(config: SkillMixConfig) -> tuple[list[tuple[int, str]], dict[str, Any]]:
    """((row number, first instruction) of the rows that are read, what the skill file says of the data).

    `extract.rows` rows drawn by the seed; a row without an instruction is left out and counted.
    """
    from pica.synth.formats import BadRow, first_instruction
    from pica.synth.source import open_source

    source = open_source(config.data, split=config.extract.split, revision=config.extract.revision)
    number = min(config.extract.rows, len(source))
    chosen = set(Random(derive_seed("extract", config.seed)).sample(range(len(source)), number))
    texts, bad = [], Counter[str]()
    for place, row in enumerate(source):
        if place in chosen:
            try:
                texts.append((place, first_instruction(row)))
            except BadRow as error:
                bad[str(error)] += 1
    if not texts:
        raise UsageError(f"data={config.data}: none of {number} rows has an instruction, the first because: {next(iter(bad))}")
    return texts, {"data": source.describe(), "rows_without_instruction": bad.total()}


async def _read(draft: Draft, config: SkillMixConfig, text: str) -> dict[str, Any] | None:
    """What the mentor says of one instruction; None where nothing can be read."""
    try:
        return await _asked(draft, config, "extract", PROMPTS["extract"].fill(request=text), schemas.EXTRACT)
    except (Unparsed, TooLong):
        return None
    except ModelError as error:
        if error.fatal or error.retry:
            raise
        return None  # this text alone cannot be served: too long for the context, refused by a filter


def _file(config: SkillMixConfig, embedder: Embedder | None, found: Sequence[Named], kinds: Sequence[Named], most: int,
          about: dict[str, Any]) -> SkillFile:
    skills = merge_skills(found, embedder, config.merge.distance)
    merged = merge_entries(kinds, embedder, config.merge.distance)
    ranked = sorted(merged, key=lambda entry: (-entry.found, level_name(entry.name)))[:most]
    types: list[Entry] = sorted(ranked, key=lambda entry: level_name(entry.name))
    return SkillFile(skills=tuple(skills), query_types=tuple(types), provenance={
        **about, "model": _mentor(config), "seed": config.seed, "named": len(found), "merged_away": len(found) - len(skills),
        "query_types_left_out": len(merged) - len(types), "merge": config.merge.model_dump()})


def _named(item: dict[str, str], topic: str = "") -> Named:
    return Named(" ".join(item["name"].split()), " ".join(item["description"].split()), topic)


def _mentor(config: SkillMixConfig) -> str:
    assert config.mentor is not None
    return config.mentor.name


def _nothing(config: SkillMixConfig, what: str) -> NoSkills:
    return NoSkills(f"{_mentor(config)} named no {what} in an answer that could be read; give another mentor, raise "
                    "listing.max_tokens, or take skills=starter")
