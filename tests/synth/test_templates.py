"""Chat templates: layouts of families, derivation from real templates, hostile and unusual templates."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.errors import BadRequest, UsageError
from pica.synth.models.base import Answer, Message, Request, assistant, system, user
from pica.synth.templates import (
    FAMILIES,
    chat_template,
    from_family,
    from_file,
    from_hub,
    from_jinja,
    from_model,
    from_tokenizer_folder,
    recognise,
)
from pica.synth.templates.jinja import Renderer, jinja_renderer
from pica.synth.templates.segments import PROBES, learn

SMOLLM2 = (Path(__file__).parents[1] / "data" / "smollm2_chat_template.jinja").read_text(encoding="utf-8")
SMOLLM2_PREFIX = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                  "<|im_start|>user\n")
QWEN_SYSTEM = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
LLAMA3_PREFIX = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
VICUNA_PREFIX = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
                 "detailed, and polite answers to the user's questions. USER: ")

#: The published pre-queries, and the known layouts of further families.
PREFIXES = {
    "llama-3": LLAMA3_PREFIX, "llama-3.1": LLAMA3_PREFIX, "llama-3.2": LLAMA3_PREFIX, "llama-3.3": LLAMA3_PREFIX,
    "llama-2": "<s> [INST] ", "mistral-v0.3": "<s> [INST] ",
    "qwen2": "<|im_start|>user\n", "qwen3": "<|im_start|>user\n", "chatml": "<|im_start|>user\n",
    "qwen2.5": QWEN_SYSTEM + "<|im_start|>user\n", "qwen2.5-coder": QWEN_SYSTEM + "<|im_start|>user\n",
    "qwen2.5-math": QWEN_SYSTEM + "<|im_start|>user\n", "smollm2": SMOLLM2_PREFIX,
    "gemma-1.1": "<bos><start_of_turn>user\n", "gemma-2": "<bos><start_of_turn>user\n\n",
    "gemma-3": "<bos><start_of_turn>user\n",
    "phi-3": "<s> <|user|>\n", "phi-3-small": "<|endoftext|><|user|>\n", "phi-4": "<|im_start|>user<|im_sep|>",
    "vicuna-v1.5": VICUNA_PREFIX, "yi-1.5": "<|startoftext|><|im_start|>user\n",
    "deepseek-coder-v2": "<\uff5cbegin▁of▁sentence\uff5c>User: ",
    "deepseek-v3": "<\uff5cbegin▁of▁sentence\uff5c><\uff5cUser\uff5c>",
    "nous-hermes": "### Instruction:\n\n", "zephyr": "<|user|>\n", "olmo-2": "<|endoftext|><|user|>\n",
    "granite": "<|start_of_role|>user<|end_of_role|>",
}

#: What a user turn ends with, per family: the stop string that matters most.
FIRST_STOP = {
    "llama-3": "<|eot_id|>", "llama-2": "[/INST]", "mistral-v0.3": "[/INST]", "qwen2.5": "<|im_end|>",
    "gemma-2": "<end_of_turn>", "phi-3": "<|end|>", "phi-4": "<|im_end|>", "vicuna-v1.5": "ASSISTANT:",
    "deepseek-coder-v2": "\nAssistant:", "deepseek-v3": "<\uff5cAssistant\uff5c>", "nous-hermes": "### Response:",
    "zephyr": "</s>", "olmo-2": "<|assistant|>", "granite": "<|end_of_text|>",
}


def gemma(bos: str = "<bos>") -> str:
    return (bos + "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
            "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
            "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
            "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}")


@dataclass
class Server:
    """A model that shows its template only by rendering, as a server does."""

    renderer: Renderer
    name: str = "openai/anything"
    identity: str = "x"
    slots: int | None = None

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        try:
            return self.renderer(messages, add_generation_prompt)
        except UsageError as error:
            raise BadRequest(str(error)) from None

    async def generate(self, request: Request) -> Sequence[Answer]:
        raise NotImplementedError

    async def close(self) -> None:
        return None


@dataclass
class Mute:
    """A model that does not show its template."""

    name: str
    identity: str = "x"
    slots: int | None = None

    async def generate(self, request: Request) -> Sequence[Answer]:
        raise NotImplementedError

    async def close(self) -> None:
        return None


# Families


def test_every_family_has_its_published_prefix():
    assert {name: from_family(name).pre_query for name in FAMILIES} == PREFIXES


def test_stop_strings_start_with_what_ends_a_user_turn():
    assert {name: from_family(name).stop[0] for name in FIRST_STOP} == FIRST_STOP


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_stop_strings_are_never_ordinary_words_or_space(name):
    template = from_family(name)
    assert template.stop
    assert not [s for s in template.stop if s.strip().isalpha() or not s.strip()]
    assert len(set(template.stop)) == len(template.stop)


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_families_take_turns(name):
    template = from_family(name)
    text = template.next_turn([user("First?"), assistant("Answered."), user("Second?"), assistant("Done.")])
    places = [text.index(words) for words in ("First?", "Answered.", "Second?", "Done.")]
    assert places == sorted(places)
    header = template.next_turn([user("First?"), assistant("Answered.")]).partition("Answered.")[2]
    assert text.endswith("Done." + header)
    assert header


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_families_take_a_system_message(name):
    template = from_family(name)
    assert "Speak of rivers." in template.pre_query_with_system("Speak of rivers.")
    assert template.pre_query_with_system("A.") == template.next_turn([system("A.")])
    assert template.folds_system is (name in {"gemma-1.1", "gemma-2", "mistral-v0.3"})


def test_special_handling_is_data():
    assert from_family("llama-3.1").forbid_start == ("#",)
    assert from_family("llama-3").forbid_start == ()
    assert from_family("qwen2.5-math").sampling == {"temperature": 0.6, "top_p": 0.9}
    assert FAMILIES["llama-3.1"].sampling_for("meta-llama/Llama-3.1-70B-Instruct") == {"temperature": 0.9, "top_p": 1.0}
    assert FAMILIES["qwen2.5"].sampling_for("Qwen/Qwen2.5-72B-Instruct") == {"temperature": 0.6, "top_p": 1.0}
    assert FAMILIES["qwen2.5"].sampling_for("Qwen/Qwen2.5-7B-Instruct") == {"temperature": 0.7, "top_p": 1.0}
    assert from_family("llama-3").sampling == {}
    assert {f.support for f in FAMILIES.values()} == {"works", "partly", "untested"}


@pytest.mark.parametrize(("hub_id", "family"), [
    ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3"), ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1"),
    ("meta-llama/Meta-Llama-3.1-405B-Instruct-FP8", "llama-3.1"), ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3"),
    ("meta-llama/Llama-3.2-1B-Instruct", "llama-3.2"), ("meta-llama/Llama-2-7b-chat-hf", "llama-2"),
    ("Qwen/Qwen1.5-72B-Chat", "qwen2"), ("Qwen/Qwen2-7B-Instruct", "qwen2"), ("Qwen/Qwen2-Math-7B-Instruct", "qwen2"),
    ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5"), ("Qwen/Qwen2.5-Coder-32B-Instruct", "qwen2.5-coder"),
    ("Qwen/Qwen2.5-Math-72B-Instruct", "qwen2.5-math"), ("Qwen/Qwen3-8B", "qwen3"),
    ("google/gemma-1.1-7b-it", "gemma-1.1"), ("google/gemma-7b-it", "gemma-1.1"), ("google/gemma-2-9b-it", "gemma-2"),
    ("google/gemma-3-4b-it", "gemma-3"), ("microsoft/Phi-3-mini-4k-instruct", "phi-3"),
    ("microsoft/Phi-3.5-mini-instruct", "phi-3"), ("microsoft/Phi-3-small-8k-instruct", "phi-3-small"),
    ("microsoft/phi-4", "phi-4"), ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-v0.3"),
    ("lmsys/vicuna-7b-v1.5", "vicuna-v1.5"), ("01-ai/Yi-1.5-34B-Chat", "yi-1.5"),
    ("deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct", "deepseek-coder-v2"), ("deepseek-ai/DeepSeek-V3", "deepseek-v3"),
    ("NousResearch/Nous-Hermes-Llama2-13b", "nous-hermes"), ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2"),
    ("HuggingFaceH4/zephyr-7b-beta", "zephyr"), ("allenai/OLMo-2-1124-7B-Instruct", "olmo-2"),
    ("ibm-granite/granite-3.1-8b-instruct", "granite"), ("gpt2", None), ("unsloth/mystery", None),
])
def test_families_are_known_by_hub_id(hub_id, family):
    found = recognise(hub_id)
    assert (found.name if found else None) == family


def test_a_model_is_what_it_speaks_and_not_what_it_is_called():
    assert from_jinja(SMOLLM2, name="me/Llama-3.1-8B-smol").family == "smollm2"


# Derivation


def test_the_real_template_of_smollm2():
    template = from_jinja(SMOLLM2, bos_token="<|im_start|>", eos_token="<|im_end|>")
    assert template.pre_query == SMOLLM2_PREFIX
    assert template.stop[0] == "<|im_end|>"
    assert template.family == "smollm2"
    assert template.pre_query_with_system("Rivers.") == (
        "<|im_start|>system\nRivers.<|im_end|>\n<|im_start|>user\n")
    assert template.next_turn([user("Hi"), assistant("Yo")]) == (
        SMOLLM2_PREFIX + "Hi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>user\n")


TRL = find_spec("trl")
REAL = Path(TRL.submodule_search_locations[0]) / "chat_templates" if TRL and TRL.submodule_search_locations else None


@pytest.mark.skipif(REAL is None, reason="trl, which holds real chat templates, is not installed")
@pytest.mark.parametrize(("file", "family", "bos"), [
    ("llama3", "llama-3", "<|begin_of_text|>"), ("gemma", "gemma-2", "<bos>"), ("gemma3", "gemma-3", "<bos>"),
    ("phi3", "phi-3", ""), ("qwen2_5", "qwen2.5", ""), ("deepseekv3", "deepseek-v3", "<\uff5cbegin▁of▁sentence\uff5c>"),
    ("llama3_1", "llama-3.1", "<|begin_of_text|>"), ("llama3_2", "llama-3.2", "<|begin_of_text|>"),
])
async def test_layouts_agree_with_the_real_templates(file, family, bos):
    assert REAL is not None
    text = (REAL / f"{file}.jinja").read_text(encoding="utf-8")
    real, built_in = from_jinja(text, bos_token=bos), from_family(family)
    assert real.family == family
    assert real.pre_query == built_in.pre_query.removeprefix("" if bos else "<s> ")
    assert set(real.stop) <= set(built_in.stop) | {"<|end_header_id|>"}
    talk = [user("Hi"), assistant("Yo")]
    assert real.next_turn(talk).partition("Hi")[2] == built_in.next_turn(talk).partition("Hi")[2]
    # what 3.2 renders is what 3.1 renders, so only its name tells
    name = "vllm/meta-llama/Llama-3.2-1B-Instruct" if family == "llama-3.2" else "openai/anything"
    served = await from_model(Server(jinja_renderer(text, bos_token=bos), name=name))
    assert (served.pre_query, served.next_turn(talk), served.family) == (real.pre_query, real.next_turn(talk), family)
    assert served.pre_query_with_system("S") == real.pre_query_with_system("S")


@pytest.mark.skipif(REAL is None, reason="trl, which holds real chat templates, is not installed")
@pytest.mark.parametrize("file", sorted(p.name for p in REAL.glob("*.jinja")) if REAL else [])
def test_every_real_template_can_be_used(file):
    assert REAL is not None
    template = from_jinja((REAL / file).read_text(encoding="utf-8"), bos_token="<s>", eos_token="</s>")
    text = template.next_turn([user("First?"), assistant("Answered.")])
    assert template.pre_query.strip()
    assert text.index("First?") < text.index("Answered.") < len(text) - 1
    assert len([s for s in template.stop if s != "</s>"]) >= 1
    assert "rivers" in template.pre_query_with_system("Speak of rivers.")


contents = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda t: "PiCa" not in t and "qZpIcA" not in t)


@given(contents, contents)
@settings(max_examples=60, deadline=None)
def test_any_content_goes_through(question, answer):
    template = from_jinja(SMOLLM2)
    assert template.next_turn([user(question), assistant(answer)]) == (
        f"{SMOLLM2_PREFIX}{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n<|im_start|>user\n")


@given(st.sampled_from(sorted(PREFIXES)))
def test_no_messages_give_the_pre_query(name):
    assert from_family(name).next_turn([]) == from_family(name).pre_query


def test_content_that_holds_the_sentinel_does_not_confuse():
    from pica.synth.templates.template import SENTINEL
    text = from_family("chatml").next_turn([user(f"a {SENTINEL} b"), assistant("c")])
    assert text.endswith(f"a {SENTINEL} b<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n<|im_start|>user\n")


def test_a_template_without_system_role_folds_it_into_the_first_user_turn():
    template = from_jinja(gemma(), name="google/gemma-1.1-7b-it")
    assert template.folds_system
    assert template.pre_query_with_system("Rivers.") == "<bos><start_of_turn>user\nRivers.\n\n"
    assert template.next_turn([system("Rivers."), user("Hi"), assistant("Yo")]) == (
        "<bos><start_of_turn>user\nRivers.\n\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n"
        "<start_of_turn>user\n")


def test_gemma_2_gets_its_second_newline_behind_every_user_header():
    template = from_jinja(gemma())
    assert template.family == "gemma-2"
    assert template.pre_query == "<bos><start_of_turn>user\n\n"
    assert template.next_turn([user("a"), assistant("b")]).endswith("<start_of_turn>user\n\n")
    assert "'\\n' added behind the user header" in template.source


def test_qwen2_loses_its_own_default_system_message_and_says_so():
    smol = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    template = from_jinja(SMOLLM2.replace(smol, "You are a helpful assistant."))
    assert template.family == "qwen2"
    assert template.pre_query == "<|im_start|>user\n"
    assert "without the template's own default system message" in template.source


def test_a_pre_query_gets_no_bos_that_the_template_does_not_write():
    text = gemma("").replace("start_of_turn>", "start_header_id|>").replace("<start", "<|start") + "<|end_header_id|>"
    template = from_jinja(text, name="Llama-3.3-70B")
    assert template.family == "llama-3.3"
    assert not template.pre_query.startswith("<|begin_of_text|>")
    assert template.bos == ""
    assert from_family("llama-3.3").bos == "<|begin_of_text|>"


def test_dates_are_fixed():
    template = from_jinja("{{ strftime_now('%d %b %Y') }}|" + SMOLLM2)
    assert template.pre_query.startswith("26 Jul 2024|")
    assert "dated 2024-07-26" in template.source


def test_templates_that_want_content_in_parts():
    text = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{% if part.type == 'text' %}"
            "{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}")
    assert from_jinja(text).pre_query == "<|im_start|>user\n"


def test_generation_blocks_loop_controls_and_tojson():
    text = ("{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{% generation %}"
            "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endgeneration %}{% endfor %}"
            "{{ {'a': '<é>'} | tojson }}")
    render = jinja_renderer(text)
    assert render([user("x")], False) == '<|im_start|>user\nx<|im_end|>\n{"a": "<é>"}'


def test_reasoning_is_left_out_where_the_template_does_so():
    text = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n\n</think>\n\n"
            "{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n"
            "{% endfor %}")
    said = from_jinja(text).next_turn([user("a"), assistant("<think>\nlong\n</think>\n\nb")])
    assert "long" not in said
    assert said.endswith("</think>\n\nb<|im_end|>\n<|im_start|>user\n")


# Templates that cannot be used


@pytest.mark.parametrize(("text", "why"), [
    ("{% for m in messages %}{{ m.content | e }}{% endfor %}", "alters the user's message"),
    ("{% for m in messages %}{{ m.content | lower }}{% endfor %}", "alters the user's message"),
    ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "repeats the user's message (2 times)"),
    ("hello", "leaves the user's message out"),
    ("{% for m in messages %}{{ m.content }", "not a Jinja template"),
    ("{% for m in messages %}{{ m.nothing.at.all }}{% endfor %}", "UndefinedError"),
    ("{{ raise_exception('only tools here') }}", "only tools here"),
    ("{{ 1 / 0 }}", "ZeroDivisionError"),
])
def test_unusable_templates_say_why(text, why):
    with pytest.raises(UsageError) as error:
        from_jinja(text)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("attack", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ raise_exception.__globals__['re'] }}",
    "{{ self.__init__.__globals__.__builtins__ }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "{% set x = messages.append({'role': 'user', 'content': 'y'}) %}{{ x.y }}",
    "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}",
    "{{ lipsum(n=100000) }}",
    "{{ 'a' * 999999999 }}",
    "{{ [0] * 999999999 }}",
    "{{ 9 ** 999999 }}",
    "{{ '%999999999d' % 1 }}",
    "{{ strftime_now('%9999999999d') }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
])
def test_hostile_templates_are_held(attack):
    with pytest.raises(UsageError):
        jinja_renderer(attack)([user("x")], False)


@pytest.mark.parametrize("attack", ["{{ strftime_now.__globals__ }}", "{{ ''|attr('__class__')|attr('__mro__') }}"])
def test_hostile_templates_see_nothing(attack):
    assert jinja_renderer(attack)([user("x")], False) == ""


def test_next_turn_wants_a_finished_conversation():
    with pytest.raises(UsageError, match="ends with the user"):
        from_family("chatml").next_turn([user("a")])
    with pytest.raises(UsageError, match="roles must go"):
        from_family("chatml").next_turn([assistant("a")])
    with pytest.raises(UsageError, match="there is no user message"):
        from_family("gemma-2").next_turn([system("a"), assistant("b")])


def test_a_template_that_loses_answers_is_refused():
    text = "{% for m in messages %}{% if m.role == 'user' %}<|u|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    template = from_jinja(text)
    with pytest.raises(UsageError, match="drops or alters message 1"):
        template.next_turn([user("a"), assistant("lost")])


# Sources


def folder(path: Path, **files: object) -> Path:
    for name, value in files.items():
        file = path / name.replace("__", ".")
        file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("files", [
    {"chat_template__jinja": SMOLLM2, "tokenizer_config__json": {"eos_token": "<|im_end|>"}},
    {"chat_template__json": {"chat_template": SMOLLM2}},
    {"tokenizer_config__json": {"chat_template": SMOLLM2, "eos_token": {"content": "<|im_end|>"}, "bos_token": None}},
    {"tokenizer_config__json": {"chat_template": [{"name": "tool_use", "template": "t"},
                                                  {"name": "default", "template": SMOLLM2}]}},
])
def test_tokenizer_folders(tmp_path, files):
    assert from_tokenizer_folder(folder(tmp_path, **files)).pre_query == SMOLLM2_PREFIX


def test_special_tokens_come_from_the_folder(tmp_path):
    folder(tmp_path, chat_template__jinja="{{ bos_token }}" + SMOLLM2 + "{{ eos_token }}",
           special_tokens_map__json={"bos_token": {"content": "<B>"}, "eos_token": "<E>"},
           tokenizer_config__json={"model_max_length": 5})
    template = from_tokenizer_folder(tmp_path)
    assert template.pre_query.startswith("<B><|im_start|>")
    assert template.bos == "<B>"
    assert "<E>" in template.stop
    assert from_file(tmp_path / "chat_template.jinja").pre_query == template.pre_query


@pytest.mark.parametrize(("files", "why"), [
    ({}, "has no chat template"),
    ({"tokenizer_config__json": {"chat_template": None}}, "has no chat template"),
    ({"tokenizer_config__json": "{"}, "is not JSON"),
    ({"tokenizer_config__json": {"chat_template": [{"name": "rag", "template": "x"}]}}, "none of them 'default'"),
    ({"tokenizer_config__json": {"chat_template": [1]}}, "neither a text nor a list"),
])
def test_folders_that_cannot_be_used(tmp_path, files, why):
    with pytest.raises(UsageError, match=why):
        from_tokenizer_folder(folder(tmp_path, **files))


async def test_the_front_door(tmp_path):
    folder(tmp_path, chat_template__jinja=SMOLLM2)
    for spec in (str(tmp_path), str(tmp_path / "chat_template.jinja"), "smollm2"):
        assert (await chat_template(spec)).pre_query == SMOLLM2_PREFIX


@pytest.mark.parametrize(("spec", "why"), [
    ("lama-3", "did you mean 'llama-3'"), ("", "unknown template"), ("./missing", "no such file"),
    ("missing.jinja", "no such file"), ("auto", "there is none"),
])
async def test_the_front_door_says_what_there_is(spec, why):
    with pytest.raises(UsageError) as error:
        await chat_template(spec)
    assert why in str(error.value)
    assert "llama-3" in str(error.value) or "no such file" in str(error.value)


def test_the_hub_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match=r"'nobody/nothing' could not be fetched"):
        from_hub("nobody/nothing")


# Models that show their template by rendering


async def test_auto_takes_the_template_from_the_model():
    template = await chat_template("auto", Server(jinja_renderer(SMOLLM2)))
    assert template.pre_query == SMOLLM2_PREFIX
    assert template.family == "smollm2"
    assert template.source.startswith("template of model openai/anything")
    assert template.next_turn([user("Hi"), assistant("Yo")]) == from_jinja(SMOLLM2).next_turn(
        [user("Hi"), assistant("Yo")])


async def test_a_server_without_system_role():
    template = await from_model(Server(jinja_renderer(gemma()), name="openai/google/gemma-1.1-7b-it"))
    assert (template.family, template.folds_system) == ("gemma-1.1", True)
    assert template.next_turn([system("S"), user(" Hi "), assistant("Yo")]) == (
        "<bos><start_of_turn>user\nS\n\n Hi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n<start_of_turn>user\n")


async def test_a_model_that_shows_nothing_is_known_by_its_name_or_not_at_all():
    template = await from_model(Mute("openai/Qwen/Qwen2.5-7B-Instruct@http://h"))
    assert template.family == "qwen2.5"
    assert "by the name of model" in template.source
    with pytest.raises(UsageError, match="give template="):
        await from_model(Mute("openai/gpt-5"))


async def test_a_server_whose_turns_are_not_uniform():
    text = "{% for m in messages %}<|{{ loop.index }}|>{{ m.content }}{% endfor %}"
    with pytest.raises(UsageError, match="unlike the first"):
        await from_model(Server(jinja_renderer(text)))


@given(st.sampled_from(sorted(PREFIXES)))
def test_segments_learned_from_a_layout_are_the_layout(name):
    layout = FAMILIES[name].layout
    shown = {}
    for probe, (messages, generate) in PROBES.items():
        if layout.begin_system is not None or probe != "system":
            shown[probe] = layout.render(messages, generate)
    learned = learn(shown, "layout")
    talk = [user(" a "), assistant("b"), user("c")]
    for generate in (False, True):
        assert learned.render(talk, generate) == layout.render(talk, generate)
