"""The skill file and the merging of names: nothing stands twice, nothing depends on order, bad files get one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pica.recipes.skillmix.merge import Named, merge_entries, merge_skills
from pica.recipes.skillmix.skills import Entry, Skill, SkillFile, level_name, read_skills
from pica.synth.embed import HashEmbedder, open_embedder
from pica.synth.errors import UsageError

NAMES = ["Budgeting", "budgeting", "Budgeting!", "Household budgeting", "Negotiation", "Negotiating", "negotiating", "Debugging",
         "Debugging code", "World building"]


def test_the_starter_file() -> None:
    file = read_skills("starter")
    topics = {topic for skill in file.skills for topic in skill.topics}
    assert (len(file.skills), len(topics), len(file.query_types)) == (62, 13, 12)
    assert all(entry.description for entry in (*file.skills, *file.query_types))
    assert all(len(skill.topics) == 1 for skill in file.skills)


def test_no_starter_skill_means_the_same_as_another() -> None:
    file = read_skills("starter")
    named = [Named(skill.name, skill.description, skill.topics[0]) for skill in file.skills]
    assert len(merge_skills(named, open_embedder("minilm"), 0.7)) == len(file.skills)


def test_a_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    file = SkillFile(skills=(Skill(name="Ünïcode: #tricky", description="a - b: c", topics=("One", "no"), found=3, merged=("x",)),
                             Skill(name="Plain")),
                     query_types=(Entry(name="planning"),), provenance={"how": "asked", "named": 4})
    (tmp_path / "skills.yaml").write_text(file.text(), encoding="utf-8")
    assert read_skills(str(tmp_path / "skills.yaml")) == file
    (tmp_path / "skills.json").write_text(json.dumps(yaml.safe_load(file.text())), encoding="utf-8")
    assert read_skills(str(tmp_path / "skills.json")) == file


QUERY = "query_types: [{name: planning}]"


@pytest.mark.parametrize(("text", "message"), [
    (f"skills: [{{name: Cooking}}, {{name: 'cooking!'}}]\n{QUERY}",
     "skill 'cooking!' stands twice (also as 'Cooking'); remove one"),
    ("skills: [{name: A}]\nquery_types: [{name: plan}, {name: Plan}]", "query type 'Plan' stands twice (also as 'plan')"),
    (f"skills: []\n{QUERY}", "skills=[]: tuple should have at least 1 item"),
    ("skills: [{name: A}]\nquery_types: []", "query_types=[]: tuple should have at least 1 item"),
    (f"skills: [{{name: A}}]\n{QUERY}\nskill: 1",
     "unknown key 'skill'; did you mean 'skills'? Known: skills, query_types, provenance"),
    (f"skills: [{{name: A, topic: B}}]\n{QUERY}", "skills.0.topic='B': extra inputs are not permitted"),
    (f"skills: [{{name: ''}}]\n{QUERY}", "skills.0.name='': string should have at least 1 character"),
    (f"skills: [{{name: '?!'}}]\n{QUERY}", "skill '?!' has neither letters nor digits; give it a name"),
    (f"skills: [{{name: 7}}]\n{QUERY}", "skills.0.name=7: input should be a valid string"),
    (f"skills: [Cooking]\n{QUERY}", "skills.0='Cooking': input should be a valid dictionary"),
    ("skills: [{name: A}]", "query_types"),
    ("", "skills"),
    ("- A\n- B", "holds a list; write `key: value` lines"),
    ("skills: [", "is not YAML"),
])
def test_a_bad_file_gets_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_skills(str(tmp_path / "mine.yaml"))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"skills={tmp_path / 'mine.yaml'}: ")
    assert "\n" not in str(caught.value)


def test_a_file_full_of_faults_gets_a_short_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"skills: [{', '.join(['{name: 1}'] * 500)}]\n{QUERY}")
    with pytest.raises(UsageError) as caught:
        read_skills(str(tmp_path / "mine.yaml"))
    assert len(str(caught.value)) < 600


def test_no_such_file() -> None:
    with pytest.raises(UsageError, match="skills='startr' is no file; did you mean 'starter'\\? Known: starter, ask, extract"):
        read_skills("startr")


def test_equal_names_are_one() -> None:
    merged = merge_skills([Named("Time management", "b", "Work"), Named("time  management", "a", "Home"),
                           Named("Time management", "b", "work"), Named("Cooking", "", "Home")], None, 0.4)
    assert merged == [
        Skill(name="Cooking", topics=("Home",)),
        Skill(name="Time management", description="b", found=3, merged=("time  management",), topics=("Home", "Work"))]


def test_equal_meanings_are_one() -> None:
    names = ["Conflict resolution", "Resolving conflicts", "Conflict resolution", "Meal planning", "Planning meals",
             "Linear algebra", "Calculus", "Managing time", "Time management"]
    merged = merge_entries([Named(name, "") for name in names], open_embedder("minilm"), 0.4)
    assert [(entry.name, entry.merged, entry.found) for entry in merged] == [
        ("Calculus", (), 1), ("Conflict resolution", ("Resolving conflicts",), 3), ("Linear algebra", (), 1),
        ("Managing time", ("Time management",), 2), ("Meal planning", ("Planning meals",), 2)]


@given(st.lists(st.sampled_from(NAMES), max_size=25), st.randoms(), st.sampled_from([0.0, 0.6, 1.2]))
def test_merging_does_not_depend_on_order(names: list[str], random: object, distance: float) -> None:
    named = [Named(name, f"about {name.lower()}", f"topic {len(name) % 3}") for name in names]
    merged = merge_skills(named, HashEmbedder(), distance)
    random.shuffle(named)  # type: ignore[attr-defined]
    assert merge_skills(named, HashEmbedder(), distance) == merged
    assert sum(skill.found for skill in merged) == len(names)
    assert {name for skill in merged for name in (skill.name, *skill.merged)} == set(names)
    levels = [level_name(skill.name) for skill in merged]
    assert levels == sorted(set(levels))


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=25), st.sampled_from([0.6, 1.2]))
def test_what_is_merged_lies_near_what_stands_for_it(names: list[str], distance: float) -> None:
    embedder = HashEmbedder()
    kept = merge_entries([Named(name, "") for name in names], embedder, distance)
    vectors = embedder.embed([entry.name for entry in kept])
    for place, entry in enumerate(kept):
        for other in range(place):
            assert ((vectors[place] - vectors[other]) ** 2).sum() > distance
        for name in entry.merged:
            near = [level_name(name) == level_name(entry.name),
                    any(((embedder.embed([twin])[0] - vectors[place]) ** 2).sum() <= distance + 1e-6 for twin in NAMES
                        if level_name(twin) == level_name(name))]
            assert any(near)
