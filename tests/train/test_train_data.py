"""What is learnt from: every bad row is named, weights mean what they say, only answers carry loss."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessons import Write, pairs, talks

from pica.synth.config import parse_config
from pica.synth.errors import UsageError
from pica.synth.models.base import Message, assistant, system, user
from pica.synth.templates import FAMILIES
from pica.train.config import DataSource
from pica.train.data import Prepared, Preparer, goal_of, open_data, times
from pica.train.stage import Format, load_stage
from pica.train.template import layout_template
from pica.train.tokens import Encoder, load_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")

FORMS: dict[str, Format] = {"sft": "tokens", "dpo": "pair", "reward": "pair", "online": "prompt"}


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return load_tokenizer(str(tiny), "", "")


def prepared(tokenizer: Any, path: Path, stage: str, data: Any, **values: Any) -> tuple[Prepared, Preparer, Any]:
    import datasets

    config = parse_config(load_stage(stage).config_class, {"data": str(data) if isinstance(data, Path) else data, **values})
    form = FORMS[stage]
    preparer = Preparer(config, form, Encoder(tokenizer))
    made = preparer.prepare(open_data(config.data, form), path / "made" / "train.arrow")
    return made, preparer, datasets.Dataset.from_file(made.path)


def talk(*texts: str) -> dict[str, Any]:
    return {"messages": [(user, assistant)[place % 2](text) for place, text in enumerate(texts)]}


BAD_TALKS: list[tuple[list[Message], str]] = [
    ([user("a")], "does not end with the assistant"),
    ([assistant("a"), user("b"), assistant("c")], "roles out of order"),
    ([user("a"), user("b"), assistant("c")], "roles out of order"),
    ([user("a"), system("b"), assistant("c")], "roles out of order"),
    ([system("a")], "no messages"),
    ([user("a"), {"role": "tool", "content": "b"}, assistant("c")], "unknown role"),
    ([user("a"), assistant("  \n")], "empty answer"),
    ([user(" "), assistant("b")], "empty message"),
    ([], "no messages"),
]


@pytest.mark.parametrize(("messages", "reason"), BAD_TALKS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_conversation_that_cannot_be_learnt_from_is_named(messages: list[Message], reason: str, tokenizer: Any, lines: Write,
                                                            tmp_path: Path) -> None:
    data = lines("data", [*talks(3), {"messages": messages}, *talks(1), {"messages": messages}])
    with pytest.raises(UsageError) as error:
        prepared(tokenizer, tmp_path, "sft", data)
    assert str(error.value).startswith(f"{data}: 2 rows with {reason!r} (rows 4, 6")
    assert str(error.value).endswith("; mend them, or leave them out with bad_rows=reject")
    made, preparer, rows = prepared(tokenizer, tmp_path, "sft", data, bad_rows="reject")
    assert (made.read, made.rows, len(rows), made.rejected) == (6, 4, 4, {reason: 2})
    assert [one.row for one in preparer.rejected] == [4, 6]


@pytest.mark.parametrize(("row", "reason"), [
    ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen equals rejected"),
    ({"prompt": "a", "chosen": "", "rejected": "b"}, "empty answer"),
    ({"prompt": "a", "chosen": [assistant("b")], "rejected": "c"}, "chosen and rejected differ in kind"),
    ({"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": "high"}, "score is not a number"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_pair_that_cannot_be_learnt_from_is_named(row: dict[str, Any], reason: str, tokenizer: Any, lines: Write,
                                                    tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"1 row with '{reason}' \(row 3"):
        prepared(tokenizer, tmp_path, "dpo", lines("data", [*pairs(2), row]))


def test_a_score_that_is_nan_is_a_bad_row(tokenizer: Any, tmp_path: Path) -> None:
    from arro3.core import Table
    from arro3.io import write_parquet

    table = Table.from_pydict({name: _column(name) for name in ("prompt", "chosen", "rejected", "score_chosen")})
    write_parquet(table, tmp_path / "data.parquet")
    with pytest.raises(UsageError, match=r"score is not finite' \(row 2"):
        prepared(tokenizer, tmp_path, "reward", tmp_path / "data.parquet")


def _column(name: str) -> Any:
    from arro3.core import Array, DataType

    if name == "score_chosen":
        return Array([1.0, float("nan")], DataType.float64())
    return Array([f"{name} 0", f"{name} 1"], DataType.utf8())


def test_columns_that_are_not_there_are_listed(tokenizer: Any, lines: Write, tmp_path: Path) -> None:
    data = lines("data", [{"question": "a", "answer": "b"}])
    for stage in ("sft", "dpo"):
        with pytest.raises(UsageError, match=r"columns: question, answer\. Known: "):
            prepared(tokenizer, tmp_path, stage, data)


@pytest.mark.parametrize("stage", ["sft", "dpo", "reward", "online"])
def test_what_is_too_long_is_counted_and_left_out_or_an_error(stage: str, tokenizer: Any, lines: Write, tmp_path: Path) -> None:
    long = talk("word " * 400, "yes") if stage in {"sft", "online"} else {
        "prompt": "word " * 400, "chosen": "yes", "rejected": "no"}
    data = lines("data", [*(talks(2) if stage == "sft" else [talk("a", "b")] * 2 if stage == "online" else pairs(2)), long])
    made, preparer, rows = prepared(tokenizer, tmp_path, stage, data, max_length=300)
    assert made.rejected == {"too long": 1} and made.rows == len(rows) == 2 and made.longest <= 300
    assert preparer.rejected[0].row == 3 and "tokens, and max_length=300" in preparer.rejected[0].detail
    with pytest.raises(UsageError, match=r"too long' \(row 3; .*raise max_length, or say too_long=reject or truncate"):
        prepared(tokenizer, tmp_path, stage, data, max_length=300, too_long="error")


def test_truncation_keeps_the_beginning_and_some_answer(tokenizer: Any, lines: Write, tmp_path: Path) -> None:
    data = lines("data", [talk("a", "yes " * 300), talk("no " * 400, "b"), talk("a", "b")])
    made, _, rows = prepared(tokenizer, tmp_path, "sft", data, max_length=200, too_long="truncate")
    assert (made.cut, made.rejected) == (1, {"no answer within the limit": 1})
    assert len(rows[0]["input_ids"]) == 200 and sum(rows[0]["assistant_masks"]) > 0
    with pytest.raises(UsageError, match="too_long=truncate would judge answers by their beginnings"):
        load_stage("reward").check(parse_config(load_stage("reward").config_class, {"too_long": "truncate"}))


def test_a_pair_whose_prompt_fills_the_limit_is_never_cut(tokenizer: Any, lines: Write, tmp_path: Path) -> None:
    data = lines("data", [{"prompt": "word " * 300, "chosen": "b", "rejected": "c"}, *pairs(1)])
    made, _, _ = prepared(tokenizer, tmp_path, "dpo", data, max_length=200, too_long="truncate")
    assert (made.rows, made.cut, made.rejected) == (1, 0, {"no answer within the limit": 1})


def test_nothing_left_is_an_error(tokenizer: Any, lines: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no row is left to learn from"):
        prepared(tokenizer, tmp_path, "sft", lines("data", talks(2)), max_length=8)


@given(count=st.integers(1, 60), weight=st.floats(0.02, 5), seed=st.integers(0, 9))
def test_a_weight_is_how_often_a_row_is_seen(count: int, weight: float, seed: int) -> None:
    seen = [times(count, weight, seed, 0)(row) for row in range(count)]
    assert seen == [times(count, weight, seed, 0)(row) for row in range(count)]
    assert set(seen) <= {int(weight), int(weight) + 1}
    assert sum(seen) == int(weight) * count + round((weight - int(weight)) * count)


def test_a_mixture_is_its_sources_in_order(tokenizer: Any, lines: Write, tmp_path: Path) -> None:
    a, b = lines("a", [talk("a", f"{i}") for i in range(4)]), lines("b", [talk("b", f"{i}") for i in range(6)])
    mixture = [str(a), {"source": str(b), "weight": 1.5}]
    made, _, rows = prepared(tokenizer, tmp_path, "sft", mixture)
    texts = [tokenizer.decode(row["input_ids"], skip_special_tokens=True).split()[-1] for row in rows]
    assert texts[:4] == ["0", "1", "2", "3"] and texts[4:] == sorted(texts[4:])
    assert sorted(Counter(texts[4:]).values()) == [1, 1, 1, 2, 2, 2]
    assert [one["drawn"] for one in made.sources] == [4, 9] and made.rows == 13
    assert sum(len(row["input_ids"]) for row in rows) == made.tokens
    before = rows["input_ids"][:]
    assert prepared(tokenizer, tmp_path, "sft", mixture)[2]["input_ids"][:] == before
    assert prepared(tokenizer, tmp_path, "sft", mixture, seed=5)[2]["input_ids"][:] != before


def test_goals_of_a_mixture_must_agree(tmp_path: Path) -> None:
    class Stub:
        def __init__(self, goal: Any) -> None:
            self.manifest = None if goal is None else {"notes": {"goal": goal}}

    from pica.train.data import Opened

    def opened(*goals: Any) -> list[Any]:
        return [Opened(Stub(goal), DataSource(source=f"s{place}")) for place, goal in enumerate(goals)]  # type: ignore[arg-type]

    assert goal_of(opened(None)) is None
    assert goal_of(opened({"style": "system"}, None)) == {"style": "system"}
    with pytest.raises(UsageError, match="s0 and s1 state goals in different ways"):
        goal_of(opened({"style": "system"}, {"style": "prefix"}))


def learnt(tokenizer: Any, messages: list[Message]) -> str:
    """The text of the tokens that carry loss, those of one stretch together."""
    found = Encoder(tokenizer).encode([messages])[0]
    assert not found.fault, found.fault
    text, before = "", 0
    for token, mask in zip(found.ids, found.mask, strict=True):
        text += ("|" if mask and not before else "") + (tokenizer.decode([token]) if mask else "")
        before = mask
    return text


def test_only_what_the_assistant_says_and_the_end_of_its_turn_carries_loss(tokenizer: Any) -> None:
    messages = [system("Be brief."), user("Hi <|im_end|> there"), assistant(" Yo! \n"), user("Hi"), assistant("Hi <x> {y}")]
    assert learnt(tokenizer, messages) == "| Yo! \n<|im_end|>|Hi <x> {y}<|im_end|>"
    ids = Encoder(tokenizer).encode([messages])[0].ids
    assert ids == tokenizer.apply_chat_template(messages, return_dict=False)
    whole = Encoder(tokenizer, answers_only=False).encode([messages])[0]
    assert whole.ids == ids and set(whole.mask) == {1}


def test_marks_of_a_template_of_its_own_are_followed(tokenizer: Any) -> None:
    import copy

    own = copy.deepcopy(tokenizer)
    own.chat_template = ("{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
                         "<|im_end|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}")
    assert learnt(own, [user("a"), assistant("b b"), user("c"), assistant("d")]) == "|b b<|im_end|>|d<|im_end|>"


def test_a_template_that_rewrites_answers_is_refused(tokenizer: Any) -> None:
    import copy

    own = copy.deepcopy(tokenizer)
    own.chat_template = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
    assert "rewrites an answer" in Encoder(own).encode([[user("a"), assistant("bb")]])[0].fault
    own.chat_template = "{{ raise_exception('no system role') }}"
    fault = Encoder(own).encode([[user("a"), assistant("b")]])[0].fault
    assert fault == "the chat template refuses the messages (no system role)"


@pytest.mark.parametrize("family", ["chatml", "llama-3.1", "llama-2", "vicuna-v1.5", "mistral-v0.3", "zephyr", "olmo-2",
                                    "granite", "gemma-2", "phi-3"])
def test_a_family_is_written_as_jinja_that_renders_the_same(family: str, tokenizer: Any) -> None:
    import copy

    layout, own = FAMILIES[family].layout, copy.deepcopy(tokenizer)
    own.chat_template = layout_template(layout)
    turns = [user(" What {{ is }} it? "), assistant("It's \"3\".\n"), user("Sure?"), assistant("Yes")]
    for messages in (turns, turns[:2], turns[:3], *([[system("Be brief."), *turns]] if layout.begin_system is not None else [])):
        for ask in {False, messages[-1]["role"] == "user"}:
            text = own.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
            assert text == layout.render(messages, ask)


@pytest.mark.parametrize("stage", ["sft", "dpo", "reward"])
def test_trl_prepares_a_folder_of_ours_as_it_stands(stage: str, tiny: Path, tokenizer: Any, tmp_path: Path) -> None:
    """No row is lost, cut or changed by TRL's own preprocessing, and its sequences are ours."""
    import asyncio

    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

    from pica.recipes.magpie.config import MagpieConfig
    from pica.recipes.magpie.recipe import Magpie
    from pica.synth.recipe import make

    more = {} if stage == "sft" else {"preferences": {"k": 3}}
    asyncio.run(make(Magpie(parse_config(MagpieConfig, {"n": 6, "teacher": "fake/magpie", "filters": {"safe": False}, "tags":
                                                        [] if stage == "sft" else ["reward"], "duplicates": {"embedder": "hash"},
                                                        **more})), tmp_path / "D"))
    made, _, rows = prepared(tokenizer, tmp_path, stage, tmp_path / "D")
    kind, config = {"sft": (SFTTrainer, SFTConfig), "dpo": (DPOTrainer, DPOConfig),
                    "reward": (RewardTrainer, RewardConfig)}[stage]
    args = config(output_dir=str(tmp_path / "T"), max_length=2048, report_to="none", use_cpu=True, bf16=False, disable_tqdm=True)
    trainer = kind(str(tiny), args=args, train_dataset=rows, processing_class=tokenizer)
    ready = trainer.train_dataset
    assert len(ready) == made.rows == 6
    if stage == "sft":
        assert ready["input_ids"] == rows["input_ids"]
        assert [[label != -100 for label in labels] for labels in ready["labels"]] == [
            [bool(mask) for mask in masks] for masks in rows["assistant_masks"]]
    else:
        parts = [2 * len(row.get("prompt_ids", [])) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in ready]
        assert sum(parts) == made.tokens
