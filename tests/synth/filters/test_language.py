"""Languages of prompts, and the texts that have none."""

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.errors import UsageError
from pica.synth.filters.language import UNDETERMINED, check_codes, detect, prose

SENTENCES = {
    "en": "Explain how a plant drinks water from dry soil at night.",
    "de": "Erkläre mir bitte, warum der Himmel am Abend rot wird.",
    "fr": "Pourquoi les feuilles des arbres tombent-elles en automne ?",
    "es": "¿Cómo puedo aprender a tocar la guitarra sin profesor?",
    "it": "Quali sono le regole principali per scrivere una buona lettera?",
    "ru": "Объясни, пожалуйста, как работает двигатель автомобиля.",
    "zh": "请用简单的语言解释一下光合作用是怎么进行的。",
    "ja": "日本の四季について短い詩を書いてください。",
    "ko": "가을에 대한 짧은 시를 한 편 써 주세요.",
    "ar": "اشرح لي كيف تعمل الطاقة الشمسية بكلمات بسيطة.",
    "hi": "कृपया मुझे बताइए कि भारत की राजधानी कहाँ है और क्यों।",
    "th": "ช่วยอธิบายวิธีทำข้าวผัดให้อร่อยหน่อยครับ",
}
NOTHING = ["", " ", "\0", "\ud800", "\ud800\udfff" * 50, "ok", "hi", "How?", "1234 5678 9012 3456", "!!! ??? ... ---",
           "😀😀😀😀😀😀", "x = [1, 2]", "def f(x):\n    return x + 1", "for (int i = 0; i < n; i++) { sum += a[i]; }",
           "import numpy as np\nx = np.zeros(3)\nprint(x)", "SELECT * FROM users WHERE id = 3;",
           "https://example.com/a/very/long/path/of/words", "```\nThis is a comment in a fence that never ends",
           "`inline code with words`", r"\frac{a}{b} = \sqrt{c}", "1. 2. 3. 4. 5. 6. 7. 8. 9. abcdefghijklmn"]
ENGINES = ["py3langid", pytest.param("lingua", marks=pytest.mark.skipif(
    importlib.util.find_spec("lingua") is None, reason="lingua-language-detector is not installed"))]


@pytest.mark.parametrize(("code", "near"), [("english", "en"), ("German", "de"), ("EN", "en"), ("deutsch", "de"), ("zxx", None)])
def test_a_code_that_is_never_given_is_refused(code, near):
    check_codes(["en", "und", *SENTENCES])
    with pytest.raises(UsageError) as error:
        check_codes(["de", code], "filters.languages")
    hint = f"; did you mean {near!r}?" if near else "."
    start = f"filters.languages: {code!r} is no language that can be told{hint} Known (ISO 639-1, und: undetermined): af, am, an"
    assert str(error.value).startswith(start) and str(error.value).endswith(", yo, zh, zu, und")


@pytest.mark.parametrize("engine", ENGINES)
def test_plain_sentences_are_told(engine):
    found = detect(SENTENCES.values(), engine=engine)
    assert dict(zip(SENTENCES, (one.language for one in found), strict=True)) == {code: code for code in SENTENCES}
    assert all(0 < one.confidence <= 1 for one in found)


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_to_tell_is_undetermined(text):
    assert detect([text]) == [("und", 0.0)]


def test_code_around_a_sentence_is_set_aside():
    fenced = "```python\nfor word in words:\n    print(word)\n```"
    text = f"{SENTENCES['de']}\n{fenced}\nvalues = {{k: v for k, v in pairs()}}"
    assert prose(text) == SENTENCES["de"]
    assert detect([text])[0].language == "de"


def test_the_letters_needed_are_counted_in_bytes():
    assert prose("abcdefghijk") == ""
    assert prose("abcdefghijkl") == "abcdefghijkl"
    assert prose("你好世") == ""
    assert prose("你好世界") == "你好世界"


def test_a_text_of_few_letters_among_symbols_is_none():
    assert prose("abcdefghijklm 12345 67890") == "abcdefghijklm 12345 67890"
    assert prose("abcdefghijklm 12345 67890 12345") == ""


def test_an_unsure_guess_is_undetermined():
    confidence = detect([SENTENCES["fr"]])[0].confidence
    assert detect([SENTENCES["fr"]], min_confidence=confidence)[0].language == "fr"
    assert detect([SENTENCES["fr"] + " Ein Satz auf Deutsch."], min_confidence=1.0) == [UNDETERMINED]


def test_megabytes_of_one_line_are_taken():
    texts = ["a" * 10**6, "`" * 10**6, "(" * 10**6, "`a" * 500_000, "A plain sentence in English. " * 40_000]
    assert [one.language for one in detect(texts)][1:] == ["und", "und", "und", "en"]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(), max_size=40) | st.sampled_from(list(SENTENCES.values())), max_size=6))
def test_a_text_is_judged_by_itself(texts):
    found = detect(texts)
    assert found == [detect([text])[0] for text in texts]
    assert all((one.language == "und") == (one.confidence == 0) and len(one.language) in {2, 3} for one in found)


def test_bad_arguments_are_named():
    with pytest.raises(UsageError, match="unknown engine 'guess' of language; allowed: 'py3langid', 'lingua'"):
        detect([], engine="guess")
    with pytest.raises(UsageError, match="min_confidence 7"):
        detect([], min_confidence=7)


@pytest.mark.skipif(importlib.util.find_spec("lingua") is not None, reason="lingua-language-detector is installed")
def test_a_missing_package_is_named_with_the_mend():
    with pytest.raises(UsageError, match="pip install lingua-language-detector"):
        detect(["text"], engine="lingua")
