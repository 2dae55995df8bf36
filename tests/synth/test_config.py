"""Configs: every mistake gets one line with the value, what is allowed, and the mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from small import TalkConfig

from pica.recipes.magpie.config import PRESETS, MagpieConfig
from pica.synth.config import CallConfig, RunConfig, fields, load_config, parse_config, type_name, yaml_value
from pica.synth.errors import UsageError
from pica.synth.models.base import ModelConfig, Sampling

SECRETS = ["openai/m@https://me:s3cret@host/v1", "openai/m@https://s3cret@host", "openai/m@http://a|https://me:s3@cret@host",
           "openai/m@me:s3cret@host:8000", "openai/m@https://host/v1?api_key=s3cret", "openai/m@https://host/v1?v=1&Token=s3cret"]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(("word", "place"), [("teacher={}", "teacher"), ("teacher.name={}", "teacher.name"),
                                             ("responder={{name: '{}', temperature: 0}}", "responder.name")])
def test_a_secret_in_a_url_is_refused_and_not_repeated(name: str, word: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(MagpieConfig, words=[word.format(name), "n=0"])
    assert str(caught.value) == (
        f"{place}: the URL holds a user name, password or key, and settings are written to files; leave it out, and set "
        "OPENAI_API_KEY in the environment (or the variable that api_key_env names)")


def test_a_secret_is_refused_in_a_list() -> None:
    with pytest.raises(UsageError, match=r"^models\.1\.name: the URL holds a user name"):
        load_config(Contest, words=[f"models=[fake/magpie, {{name: '{SECRETS[0]}'}}]"])


@pytest.mark.parametrize("name", ["openai/@cf/m@https://host/v1", "openai/m:7b@http://localhost:8000/v1", "openai/m@http://a|http://b",
                                  "openai/m@https://host/v1/@tenant", "fake/judge?key=1"])
def test_other_names_are_not(name: str) -> None:
    assert magpie(f"teacher={name}").teacher.name == name


def magpie(*words: str, **values: Any) -> MagpieConfig:
    """Magpie's config from words."""
    return load_config(MagpieConfig, words=["teacher=fake/magpie", *words])


MISTAKES: list[tuple[list[str], str]] = [
    (["sede=1"], r"unknown key 'sede'; did you mean 'seed'\? Known: n, seed, "),
    (["xyzzy=1"], r"unknown key 'xyzzy'\. Known: n, seed"),
    (["teacher.temprature=1"], r"unknown key 'teacher.temprature'; did you mean 'teacher.temperature'\? Known: teacher.name"),
    (["instruction.top=1"], r"unknown key 'instruction.top'; did you mean 'instruction.stop'\?"),
    (["budget.cals=1"], r"unknown key 'budget.cals'; did you mean 'budget.calls'\?"),
    (["n=0"], "n=0: input should be greater than or equal to 1"),
    (["n=-1"], "n=-1: input should be greater than or equal to 1"),
    (["n=1000000000000"], "n=1000000000000: input should be less than or equal to 1000000000"),
    (["n=many"], "n='many': input should be a valid integer"),
    (["n=1.5"], "n=1.5: input should be a valid integer"),
    (["n="], "n='': input should be a valid integer"),
    (["seed=-1"], "seed=-1: "),
    (["seed=9007199254740992"], "seed=9007199254740992: "),
    (["concurrency=0"], "concurrency=0: "),
    (["durability=none"], "durability='none': input should be 'full' or 'normal'"),
    (["budget=5"], "budget=5: input should be a valid dictionary"),
    (["budget.cost=0"], "budget.cost=0: input should be greater than 0"),
    (["n"], "'n' is no setting; write key=value"),
    (["=5"], "'=5' is no setting"),
    (["teacher.=5"], "'teacher.=5' is no setting"),
    (["n.m=5"], r"n=\{'m': 5\}|n: input should be a valid integer"),
    (["n=1", "n.m=5"], "n: input should be a valid integer|n="),
    (["tags=[a]"], "tags.0='a': input should be 'difficulty', 'quality'"),
    (["tags=difficulty"], "tags='difficulty': input should be a valid list"),
    (["response=0.5", "teacher.temperature=0.3"], "response=0.5: input should be a valid dictionary"),
    (["instruction=abc", "teacher.temperature=0.3"], "instruction='abc': input should be a valid dictionary"),
    (["instruction.temperature=hot"], "instruction.temperature='hot': input should be a valid number"),
    (["instruction.temperature=11"], "instruction.temperature=11: "),
    (["instruction.top_p=0"], "instruction.top_p=0: "),
    (["preset=f7"], "preset='f7': input should be 'none', 'air'"),
    (["preset=air"], "a reward difference needs a base model to compare with; give base="),
    (["select.quotas={Maths: 3}", "select=quotas"], "unknown category 'Maths'; known: Information seeking"),
    (["select=quotas"], "select.quotas goes with select.by=quotas"),
    (["select=quotas", "select.quotas={Math: 3}", "n=10"], "select.quotas come to 3 of n=10 rows"),
    (["select=quotas", "select.quotas={Math: 0.5, Reasoning: 0.2}", "n=10"], "select.quotas come to 7 of n=10 rows"),
    (["select=quotas", "select.quotas={Math: -5, Reasoning: 15}", "n=10"], "select.quotas come to 10 of n=10 rows"),
    (["preferences=1"], "preferences.k=1 makes no pair"),
    (["preferences=2", "turns=2"], r"preferences.k and turns>1 do not go together"),
    (["preferences=2", "tags=[]"], "tags lacks 'reward'"),
    (["select=best", "tags=[]"], "tags lacks 'reward'"),
    (["filters.min_quality=good", "tags=[]"], "tags lacks 'quality'"),
    (["filters.languages=[de]", "tags=[]"], "tags lacks 'language'"),
    (["control=topic"], "topics goes with control=topic"),
    (["topics=[a]"], "topics goes with control=topic"),
    (["preset=f1", "reward=hf/x"], "preset=f1 states its reward threshold for FsfairX.*give filters.min_reward yourself"),
    (["topics=[caf\udce9]", "control=topic"], "holds '.udce9', which is no valid Unicode"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words).encode("ascii", "replace").decode()
                                                              for words, _ in MISTAKES])
def test_a_mistake_is_one_clear_line(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        magpie(*words)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_role_is_told_once() -> None:
    with pytest.raises(UsageError, match=r"^teacher.name=5: input should be a valid string$"):
        load_config(MagpieConfig, words=["teacher=5"])


def test_a_huge_value_is_shortened() -> None:
    with pytest.raises(UsageError) as caught:
        magpie(f"n={'x' * 100_000}")
    assert len(str(caught.value)) < 500


class TestFiles:
    @pytest.mark.parametrize(("text", "message"), [
        ("n: [1", "is not YAML"), ("- 1\n", "holds a list; write `key: value` lines"), ("just words", "holds a str"),
        ("n: 1\nsede: 2\n", "unknown key 'sede'; did you mean 'seed'"), ("5: x\n", "unknown key '5'"),
        ("n: {a: 1}\n", "n: input should be a valid integer"), ("teacher: !!python/object:os.system x\n", "is not YAML"),
        ("topics: [\"\\ud800\"]\ncontrol: topic\n", "no valid Unicode|not YAML")])
    def test_bad_files(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(UsageError, match=message) as caught:
            load_config(MagpieConfig, file=tmp_path / "bad.yaml")
        assert "\n" not in str(caught.value)

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"cannot read config .*absent.yaml: No such file"):
            load_config(MagpieConfig, file=tmp_path / "absent.yaml")
        with pytest.raises(UsageError, match=r"cannot read config .*: Is a directory"):
            load_config(MagpieConfig, file=tmp_path)
        (tmp_path / "latin.yaml").write_bytes(b"n: 5 # caf\xe9\n")
        with pytest.raises(UsageError, match="is not YAML"):
            load_config(MagpieConfig, file=tmp_path / "latin.yaml")

    def test_an_empty_file_is_the_defaults(self, tmp_path: Path) -> None:
        (tmp_path / "empty.yaml").write_text("# nothing\n")
        assert load_config(MagpieConfig, file=tmp_path / "empty.yaml") == MagpieConfig()

    def test_words_win_over_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "some.yaml").write_text("n: 5\nteacher: fake/echo\ninstruction: {temperature: 1e-3, top_k: 4}\n")
        config = load_config(MagpieConfig, file=tmp_path / "some.yaml", words=["teacher.temperature=0.2", "instruction.top_k=7"])
        assert (config.n, config.teacher.name, config.teacher.temperature) == (5, "fake/echo", 0.2)
        assert (config.instruction.temperature, config.instruction.top_k) == (0.001, 7)


class TestValues:
    @pytest.mark.parametrize(("word", "key", "value"), [
        ("n=1_000", "n", 1000), ("n=1e3", "n", 1000), ("seed=010", "seed", 10), ("test_share=1e-1", "test_share", 0.1),
        ("test_share=.5", "test_share", 0.5), ("ledger=2024-01-01", "ledger", "2024-01-01"), ("ledger=12:30", "ledger", "12:30"),
        ("ledger=no", "ledger", "no"), ("ledger='5'", "ledger", "5"), ("ledger=C:\\x", "ledger", "C:\\x"),
        ("ledger=a # b", "ledger", "a # b"), ("ledger=# c", "ledger", "# c"), ("ledger=", "ledger", ""),
        ("ledger=a=b", "ledger", "a=b"), ("tags=[]", "tags", []), ("n=5 ", "n", 5)])
    def test_values_are_what_people_mean(self, word: str, key: str, value: object) -> None:
        assert getattr(magpie(word), key) == value

    def test_languages_are_no_switches(self) -> None:
        assert magpie("filters.languages=[no, on, en]").filters.languages == ["no", "on", "en"]

    @given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=10))
    def test_any_float_arrives(self, value: float) -> None:
        assert magpie(f"instruction.temperature={value!r}").instruction.temperature == value

    @given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30))
    def test_any_quoted_text_arrives(self, text: str) -> None:
        word = f"question={json.dumps(text, ensure_ascii=False)}"
        assert load_config(TalkConfig, words=[word]).question == text

    def test_a_bare_value_and_its_settings_in_any_order(self) -> None:
        words = ["teacher=fake/echo", "teacher.temperature=0.5"]
        assert load_config(MagpieConfig, words=words) == load_config(MagpieConfig, words=words[::-1])
        assert magpie("preferences=4", "preferences.temperature=0.3").preferences.k == 4
        assert magpie("preferences.temperature=0.3", "preferences=4").preferences.temperature == 0.3

    def test_the_last_word_wins(self) -> None:
        assert magpie("n=1", "n=2").n == 2
        assert magpie("teacher=fake/a", "teacher=fake/b").teacher.name == "fake/b"


class TestRoles:
    def test_a_role_left_out_is_the_teacher(self) -> None:
        config = magpie()
        assert config.responder == config.tagger == config.judge == config.teacher
        assert (config.reward, config.guard, config.base) == (None, None, None)

    def test_a_role_stands_in_for_its_own(self) -> None:
        config = magpie("tagger=fake/echo")
        assert config.judge is not None and config.judge.name == "fake/echo"
        assert config.responder is not None and config.responder.name == "fake/magpie"

    def test_a_role_without_a_name_is_its_substitute_with_other_settings(self) -> None:
        config = magpie("teacher.timeout=5", "responder.temperature=0.4")
        assert config.responder == config.teacher.model_copy(update={"temperature": 0.4})

    def test_the_sampling_of_a_role_goes_to_its_steps(self) -> None:
        config = magpie("teacher.temperature=0.7", "responder=fake/echo", "responder.max_tokens=9")
        assert config.instruction.temperature == 0.7
        assert config.instruction.max_tokens == 1024
        assert (config.response.temperature, config.response.max_tokens) == (0.0, 9)

    def test_what_the_user_says_of_a_step_wins(self) -> None:
        config = magpie("teacher.temperature=0.7", "teacher.max_tokens=5", "response.temperature=0.1")
        assert (config.response.temperature, config.response.max_tokens) == (0.1, 5)
        assert magpie("teacher.temperature=0.7", "response.temperature=0.0").response.temperature == 0.0

    def test_models_by_role(self) -> None:
        assert set(magpie("reward=fake/echo").models_by_role()) == {"teacher", "responder", "tagger", "judge", "reward"}


class TestPresets:
    @pytest.mark.parametrize("name", [name for name in PRESETS if name not in {"air", "f4"}])
    def test_each_preset_is_a_config(self, name: str) -> None:
        config, preset = magpie(f"preset={name}"), PRESETS[name]
        for key, value in preset.get("filters", {}).items():
            assert getattr(config.filters, key) == value
        for key, value in preset.get("select", {}).items():
            assert getattr(config.select, key) == value
        assert config.filters.min_reward == (3.0 if "reward" in preset else None)

    @pytest.mark.parametrize("name", ["air", "f4"])
    def test_the_reward_difference_needs_a_base(self, name: str) -> None:
        assert magpie(f"preset={name}", "base=fake/echo").filters.min_reward_difference == 0.0

    def test_own_thresholds_win(self) -> None:
        config = magpie("preset=f2", "filters.min_quality=poor", "select=first")
        assert (config.filters.min_quality, config.filters.min_difficulty, config.select.by) == ("poor", "easy", "first")
        assert config.filters.min_reward == 3.0

    def test_the_paper_s_reward_model_has_the_paper_s_threshold(self) -> None:
        assert magpie("preset=f1", "reward=hf/sfairXC/FsfairX-LLaMA3-RM-v0.1").filters.min_reward == -12.0

    def test_another_reward_model_with_an_own_threshold(self) -> None:
        assert magpie("preset=f1", "reward=hf/other", "filters.min_reward=0.5").filters.min_reward == 0.5

    def test_a_larger_pool_raises_the_bound(self) -> None:
        assert magpie("n=10", "select=longest", "select.pool=50").candidate_limit >= 10 * 50
        assert magpie("max_candidates=7").candidate_limit == 7


class TestIdentity:
    @pytest.mark.parametrize("word", ["concurrency=3", "budget.calls=5", "ledger=x.sqlite", "durability=normal",
                                      "max_candidates=9", "teacher.timeout=3", "teacher.price_prompt=1",
                                      "teacher.api_key_env=KEY", "teacher.max_in_flight=2"])
    def test_volatile_settings_are_not_in_it(self, word: str) -> None:
        assert magpie(word).identity() == magpie().identity()

    @pytest.mark.parametrize("word", ["n=5", "seed=1", "teacher.temperature=0.3", "turns=2", "instruction.top_k=3",
                                      "teacher.extra={a: 1}", "tags=[]", "judge=fake/echo"])
    def test_all_others_are(self, word: str) -> None:
        assert magpie(word).identity() != magpie().identity()

    def test_it_survives_json(self) -> None:
        assert json.loads(json.dumps(magpie().identity())) == magpie().identity()

    @pytest.mark.parametrize("words", [lambda path: ["control=topic", f"topics={path}"],
                                       lambda path: [f"decontaminate=[{path}]"]])
    def test_the_contents_of_files_are_in_it(self, tmp_path: Path, words: Callable[[Path], list[str]]) -> None:
        (tmp_path / "lines.txt").write_text("birds\n")
        before = magpie(*words(tmp_path / "lines.txt")).identity()
        (tmp_path / "lines.txt").write_text("trees\n")
        assert magpie(*words(tmp_path / "lines.txt")).identity() != before


class TestFields:
    def test_everything_is_listed_with_its_default(self) -> None:
        listed = {key: (kind, default) for key, kind, default, _ in fields(MagpieConfig)}
        for name, field in MagpieConfig.model_fields.items():
            assert name in listed
            if isinstance(field.default, Sampling):
                assert {f"{name}.{inner}" for inner in Sampling.model_fields} <= set(listed)
        assert listed["n"] == ("whole number", "100")
        assert listed["teacher"] == ("model", "local")
        assert listed["responder"] == ("model", "the teacher")
        assert listed["guard"] == ("model", "null")
        assert listed["response.temperature"] == ("number", "0.0")
        assert listed["instruction.temperature"] == ("number", "1.0")
        assert listed["filters.min_quality"][0] == "very poor|poor|average|good|excellent"

    def test_every_default_that_is_shown_can_be_written(self) -> None:
        for key, kind, default, _ in fields(MagpieConfig):
            if default and not default.startswith("the ") and not (kind == "model" and "." in key):
                load_config(MagpieConfig, words=[f"{key}={default}"])

    def test_every_field_says_what_it_is(self) -> None:
        silent = {key for key, kind, _, what in fields(MagpieConfig) if not what and "." not in key}
        assert silent <= {"sanitize", "duplicates", "filters", "select", "preferences"}

    def test_types_as_people_call_them(self) -> None:
        assert type_name(list[str] | str) == "list of text|text"
        assert yaml_value((1, 2)) == "[1, 2]"
        assert yaml_value(None) == "null"


def test_shipped_configs_parse() -> None:
    folder = Path(__file__).parents[2] / "recipes" / "magpie" / "configs"
    found = list(folder.glob("*.yaml"))
    assert found
    for file in found:
        load_config(MagpieConfig, file=file)


def test_a_config_without_roles_or_steps() -> None:
    class Plain(RunConfig):
        """Nothing of its own but a model that may be none."""

        summary: ClassVar[str] = "plain"
        helper: ModelConfig | None = Field(None)

    assert parse_config(Plain, {"helper": "fake/echo"}).helper == ModelConfig(name="fake/echo")
    assert parse_config(Plain, {"helper": None}).helper is None


class Contest(CallConfig):
    models: list[ModelConfig] = Field([])


def test_a_list_of_models_takes_names_and_settings() -> None:
    config = load_config(Contest, words=["models=[local, {name: hf/x, temperature: 0.5, timeout: 9}]"])
    assert [(model.name, model.temperature) for model in config.models] == [("local", None), ("hf/x", 0.5)]
    assert {role: model.name for role, model in config.models_by_role().items()} == {"models 1": "local", "models 2": "hf/x"}
    assert "timeout" not in config.identity()["models"][1], "how long one waits does not change what is made"
    assert ("models", "list of model", "[]", "") in list(fields(Contest))
