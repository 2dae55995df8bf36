"""KL to the start: exact sums on a model of four tokens, and clear words where a model gives no log-probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from small import Scripted, data, stored

from pica.eval.divergence import Divergence, DivergenceConfig, Kl
from pica.eval.ratio import Ratio
from pica.synth.config import parse_config
from pica.synth.errors import BadRequest, BudgetSpent, UsageError
from pica.synth.models.base import Answer, Request, TokenLogprob
from pica.synth.models.fake import Script
from pica.synth.recipe import Outcome, make
from pica.synth.source import open_source

LETTERS, END, PROMPT = "abc", "<end>", "ab"
TEMPLATE = "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}<end>\n{% endif %}{% endfor %}"
LONGEST = 3


def tasks(folder: Path, prompts: Iterable[str]) -> str:
    """A file of tasks."""
    file = folder / "tasks.jsonl"
    file.write_text("".join(json.dumps({"id": f"t{i}", "prompt": text}) + "\n" for i, text in enumerate(prompts)))
    return str(file)


def recipe(**values: Any) -> Divergence:
    return Divergence(parse_config(DivergenceConfig, {"durability": "normal", **values}))


def rows(out: Outcome) -> list[dict[str, Any]]:
    return list(open_source(str(out.folder)))


# four tokens --------------------------------------------------------------------------------------------------------------------


def build(folder: Path, seed: int) -> Path:
    """A Llama that writes a, b, c, or ends."""
    torch = pytest.importorskip("torch", reason='torch is not installed; pip install "pica[hf]"')
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({**{letter: i for i, letter in enumerate(LETTERS)}, END: 3}, unk_token="a"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Split(Regex("."), "isolated"), decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token=END)
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=4, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=32, bos_token_id=None, eos_token_id=3, pad_token_id=3))
    with torch.no_grad():
        model.lm_head.weight.mul_(15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and its start."""
    folder = tmp_path_factory.mktemp("models")
    return build(folder / "new", 0), build(folder / "old", 1)


def chances(folder: Path) -> dict[tuple[str, bool], float]:
    """The log-probability of every answer there is to the prompt, (text, whether it was cut), by the plainest loop."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder)

    def of(ids: list[int]) -> float:
        start, total = [LETTERS.index(letter) for letter in PROMPT], 0.0
        for place, token in enumerate(ids):
            with torch.no_grad():
                logits = model(torch.tensor([start + ids[:place]])).logits[0, -1].double()
            total += float(logits.log_softmax(-1)[token])
        return total

    texts = ["".join(text) for length in range(LONGEST + 1) for text in product(LETTERS, repeat=length)]
    return {(text, len(text) == LONGEST): of([LETTERS.index(letter) for letter in text] + [3] * (len(text) < LONGEST))
            for text in texts}


async def test_the_estimate_is_of_the_exact_sum(tmp_path: Path, models: tuple[Path, Path]) -> None:
    new, old = chances(models[0]), chances(models[1])
    assert sum(map(exp, new.values())) == pytest.approx(1, abs=1e-6)
    exact = sum(exp(new[one]) * (new[one] - old[one]) for one in new)
    made = await make(recipe(model=f"hf/{models[0]}", start=f"hf/{models[1]}", tasks=tasks(tmp_path, [PROMPT] * 300),
                             tokens=LONGEST, level=0.999), tmp_path / "d")
    seen = {(row["answer"], row["cut"]) for row in rows(made)}
    for row in rows(made):
        one = row["answer"], row["cut"]
        assert [row["logprob_model"], row["logprob_start"]] == pytest.approx([new[one], old[one]], abs=1e-4)
        assert row["kl"] == row["logprob_model"] - row["logprob_start"]
        assert row["tokens"] == len(row["answer"]) + (not row["cut"])
    notes = made.manifest["notes"]["kl"]
    assert exact > 0.1
    assert notes["kl_lower"] < exact < notes["kl_upper"] < 2 * exact
    length = sum(exp(new[one]) * (len(one[0]) + (not one[1])) for one in new)
    assert notes["kl_per_token_lower"] < exact / length < notes["kl_per_token_upper"]
    assert {len(text) for text, _ in seen} == {0, 1, 2, 3}  # answers that end at once count too
    assert notes["kl_prompts"] == 300


async def test_the_same_model_is_at_zero(tmp_path: Path, models: tuple[Path, Path]) -> None:
    same = build(tmp_path / "copy", 0)  # another folder with the same weights
    made = await make(recipe(model=f"hf/{models[0]}", start=f"hf/{same}", tasks=tasks(tmp_path, [PROMPT, "c", "abc"]), tokens=8),
                      tmp_path / "d")
    assert [row["kl"] for row in rows(made)] == [0, 0, 0]
    assert made.manifest["notes"]["kl"] == {"kl": 0, "kl_lower": 0, "kl_upper": 0, "kl_per_token": 0, "kl_per_token_lower": 0,
                                            "kl_per_token_upper": 0, "kl_prompts": 3}
    assert stored(tmp_path / "d") == 1 + 3 + len({(row["prompt"][0]["content"], row["answer"]) for row in rows(made)})


async def test_a_prompt_that_is_too_long_is_left_out_and_named(tmp_path: Path, models: tuple[Path, Path]) -> None:
    made = await make(recipe(model=f"hf/{models[0]}", start=f"hf/{models[1]}", tasks=tasks(tmp_path, ["a" * 40, "ab", "b"]),
                             tokens=2), tmp_path / "d")
    assert made.manifest["rows"] == {"in": 3, "out": 2, "rejected": {"no answer: bad request": 1}, "splits": {"train": 2}}
    assert made.manifest["notes"]["warnings"] == [
        "1 of 3 prompts are left out (see rejected/); the divergence is that of the others"]
    assert made.manifest["notes"]["kl"]["kl_prompts"] == 2


# known numbers ------------------------------------------------------------------------------------------------------------------


def says(per_word: float, *, refuse: bool = False) -> Script:
    """A model that answers with the words of its prompt, each of this log-probability."""
    def answer(request: Request, sample: int) -> str | Answer:
        if request.task != "logprobs":
            text = request.messages[-1]["content"]
            return Answer(text=text, finish="length" if "cut" in text else "stop")
        if refuse:
            raise BadRequest("scripted gives none")
        words = request.continuation.replace("<|im_end|>", " <|im_end|>").split()
        return Answer(logprobs=tuple(TokenLogprob(word, per_word) for word in words))

    return answer


async def known(tmp_path: Path, scripted: Scripted, **values: Any) -> Outcome:
    scripted("new", says(-0.5))
    scripted("old", says(-1.5))
    file = tasks(tmp_path, ["one", "one two three", "it is cut"])
    return await make(recipe(model="scripted/new", start="scripted/old", tasks=file, **values), tmp_path / "d")


async def test_numbers_by_hand(tmp_path: Path, scripted: Scripted) -> None:
    """One nat a word: answers of 2 and 4 tokens with their end, and of 3 that was cut."""
    made = await known(tmp_path, scripted)
    names = ("answer", "cut", "tokens", "logprob_model", "logprob_start", "kl")
    assert [tuple(row[name] for name in names) for row in rows(made)] == [
        ("one", False, 2, -1, -3, 2), ("one two three", False, 4, -2, -6, 4), ("it is cut", True, 3, -1.5, -4.5, 3)]
    half = 4.302652729911275 / 3 ** 0.5  # Student's t, 2 degrees of freedom; the spread is 1
    assert made.manifest["notes"]["kl"] == {
        "kl": 3, "kl_lower": pytest.approx(3 - half), "kl_upper": pytest.approx(3 + half), "kl_per_token": 1,
        "kl_per_token_lower": 1, "kl_per_token_upper": 1, "kl_prompts": 3}
    assert made.manifest["notes"]["kl_says"] == (
        "KL divergence to the start: 3 nats an answer (0.5159 to 5.484, 95% interval), 1 a token, from one sampled answer of at "
        "most 128 tokens to each of 3 prompts")
    assert "warnings" not in made.manifest["notes"]
    assert "KL divergence to the start: 3 nats" in (tmp_path / "d" / "README.md").read_text(encoding="utf-8")
    assert "0.5159 to 5.484" in (tmp_path / "d" / "report.html").read_text(encoding="utf-8")


async def test_it_goes_on_where_it_stopped(tmp_path: Path, scripted: Scripted) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = await known(tmp_path / "whole", scripted)
    with pytest.raises(BudgetSpent):
        await known(tmp_path / "cut", scripted, budget={"calls": 7})
    assert not (tmp_path / "cut" / "d" / "manifest.json").exists()
    made = await known(tmp_path / "cut", scripted)
    assert data(made.folder) == data(whole.folder)
    assert made.manifest["notes"] == whole.manifest["notes"]
    assert made.manifest["calls"]["cached"] + made.manifest["calls"]["made"] == whole.manifest["calls"]["made"] == 11
    assert not (await known(tmp_path / "cut", scripted)).fresh


# no log-probabilities -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["model", "start"])
async def test_a_model_without_log_probabilities_has_a_reason(tmp_path: Path, scripted: Scripted, role: str) -> None:
    scripted("good", says(-1))
    scripted("mute", says(-1, refuse=True))
    names = {"model": "scripted/good", "start": "scripted/good", role: "scripted/mute"}
    made = await make(recipe(tasks=tasks(tmp_path, ["one"] * 30), **names), tmp_path / "d")
    assert made.manifest["notes"]["kl"] == {**dict.fromkeys(
        ["kl", "kl_lower", "kl_upper", "kl_per_token", "kl_per_token_lower", "kl_per_token_upper"]), "kl_prompts": 0}
    why = ("There is no estimate of the KL divergence: scripted/mute gives no log-probabilities of an answer (scripted gives "
           "none); hf/PATH and vllm/PATH do")
    assert (made.manifest["notes"]["kl_says"], made.manifest["notes"]["warnings"]) == (why, [why])
    assert made.manifest["rows"]["in"] == 0
    again = await make(recipe(tasks=str(tmp_path / "tasks.jsonl"), **names), tmp_path / "d")
    assert (again.fresh, again.manifest["notes"]["kl_says"]) == (False, why)


@pytest.mark.real
async def test_the_embedded_model_has_a_reason(tmp_path: Path) -> None:
    made = await make(recipe(model="local", start="local", tasks=tasks(tmp_path, ["one"])), tmp_path / "d")
    assert made.manifest["notes"]["kl"]["kl"] is None
    assert made.manifest["notes"]["kl_says"].startswith(
        "There is no estimate of the KL divergence: local gives no log-probabilities of an answer (")


async def test_a_goal_and_a_temperature(tmp_path: Path, scripted: Scripted) -> None:
    scripted("new", says(-1))
    made = await make(recipe(model={"name": "scripted/new", "goal": 9}, start="scripted/new", tasks=tasks(tmp_path, ["one"])),
                      tmp_path / "d")
    assert "scripted/new is asked with a goal" in made.manifest["notes"]["kl_says"]
    with pytest.raises(UsageError, match=r"model.temperature=0.7: the divergence is that of answers sampled at temperature=1"):
        recipe(model={"name": "hf/x", "temperature": 0.7})
    assert recipe(model={"name": "hf/x", "temperature": 1.0, "top_p": 1}).config.model.name == "hf/x"


async def test_what_is_not_finite_is_left_out(tmp_path: Path, scripted: Scripted) -> None:
    scripted("new", says(log(0.5)))
    scripted("old", lambda request, sample: Answer(logprobs=(
        TokenLogprob("x", float("-inf") if "two" in request.prompt else -1.0),)))
    made = await make(recipe(model="scripted/new", start="scripted/old", tasks=tasks(tmp_path, ["one", "two"])), tmp_path / "d")
    assert made.manifest["rows"]["rejected"] == {"a log-probability is not finite": 1}
    assert made.manifest["notes"]["kl"]["kl"] == pytest.approx(2 * log(0.5) + 1)


def test_an_estimate_of_one_prompt_has_no_interval() -> None:
    one = Kl.of([{"kl": 2.0, "tokens": 0}], tokens=4)
    assert one == Kl(Ratio(2, None, None, 1, 0.95), Ratio(None, None, None, 1, 0.95), 4)
    assert one.explain() == ("KL divergence to the start: 2 nats an answer, from one sampled answer of at most 4 tokens to each "
                             "of 1 prompt")
    assert replace(one, answer=Ratio(None, None, None, 0, 0.95), reason="so").explain().endswith(": so")


def test_the_plan_and_what_the_folder_is_of(tmp_path: Path) -> None:
    made = recipe(tasks=tasks(tmp_path, ["one", "two"]), tokens=50)
    plan = made.plan()
    assert (plan.rows, [(step.name, step.calls) for step in plan.steps]) == (
        2, [("answer", 1), ("logprob model", 1), ("logprob start", 1)])
    before: Mapping[str, Any] = made.config.identity()
    tasks(tmp_path, ["one", "three"])
    assert made.config.identity() != before
