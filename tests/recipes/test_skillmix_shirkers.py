"""The detector of low-effort answers, on answers written for it: what it must find, and what it must leave alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.recipes.skillmix.prompts import EXAMPLES
from pica.recipes.skillmix.shirkers import ASKED_SHARE, KINDS, LEAST_WORDS, LONG_FORM_WORDS, Shirk, least_words, shirk

RENT = ("My landlord wants to raise my rent from 900 to 1,050 euros. I earn 2,400 a month and would like to stay. How do I "
        "prepare for the talk with him, and what can I offer?")
VAGUE = ("There are many different factors to consider when it comes to this situation. It is important to think carefully about "
         "what matters to you and to keep in mind that every situation is different. Communication plays a key role, and it can "
         "help to be open. In most cases things work out in the end. Overall, it depends on various aspects, so do your best.")
JUNK = ("Rent is one of those things that everybody has to deal with at some point. It is always good to stay positive and to "
        "remember that life goes on. There are many ways to look at it, and people may have different opinions. When it comes to "
        "talking with others, it is important to be yourself. At the end of the day, everything can be a chance to grow, and "
        "that is what makes it worth it. Some people like to plan, others do not, and both can be fine. Overall, make sure that "
        "you feel good about it, and things will generally fall into place.")
LOOP = "You can talk to him and tell him that you want to stay. " * 6

BAD = [
    (RENT, "I'm sorry, but I can't help with that.", "refusal"),
    (RENT, "As an AI language model, I do not have personal experience with landlords, so I cannot say much.", "refusal"),
    (RENT, "I cannot provide financial or legal advice. Please consult a professional near you who knows the law of your "
           "country and can look at your lease.", "refusal"),
    (RENT, "I\u2019m unable to assist with this request.", "refusal"),
    ("How old is the universe?", "I don't know.", "refusal"),
    (RENT, "I understand your situation. I'd be happy to help you with that. Please provide me with more details so that I can "
           "assist you further with your request.", "stalls"),
    (RENT, "Here is a plan that will help you with your talk: [insert plan here]. Follow it and you will succeed.", "stalls"),
    (RENT, "I'm ready to assist you with your request, here's how we can proceed with your situation.", "stalls"),
    (RENT, "Talk to him openly and offer something.", "too short"),
    ("Write a 500-word essay on the tides, with one historical example.",
     "Tides are caused by the pull of the moon and the sun on the oceans. In 1944 they set the day of a landing.", "too short"),
    ("Write three paragraphs about bees for our school paper.", "Bees collect nectar and make honey, and they live in a hive.",
     "too short"),
    ("Give me ten tips for sleeping better with a newborn.", "Sleep when the baby sleeps, and share the nights.", "too short"),
    ("Write a short story about a lighthouse keeper who loses his voice.",
     "Once there was a keeper who lost his voice. He was sad. Then he found it again, and everybody was happy.", "too short"),
    ("Make a study plan for my chemistry exam in three weeks; I can work two hours a day.", "Study a bit every day, and rest on "
     "Sundays so that you do not burn out before the exam comes.", "too short"),
    (RENT, VAGUE, "vague"),
    (RENT, JUNK, "vague"),
    (RENT, LOOP, "repeats itself"),
    ("List the planets.", "Mercury, Venus, Earth. " * 12, "repeats itself"),
    (RENT, RENT, "echoes the instruction"),
    ("Explain to my class of ten-year-olds why the sky is blue in the day and red in the evening.",
     "I will explain to my class of ten-year-olds why the sky is blue in the day and red in the evening.",
     "echoes the instruction"),
    ("Explain what a quine is.", "", "too short"),
]

GOOD = [
    (RENT, "Know your limit first: 1,050 would be 44 percent of your pay, so aim for 960 and stop at 1,000. Look up what three "
           "flats of the same size cost nearby. In the talk, begin with what he gains if you stay: no empty month, a tenant who "
           "pays on time. Then offer a two-year lease at 960, or 980 and you paint the hallway. Write down what you agree on."),
    ("I'm sad because my cat died. What can I do today?",
     "I'm sorry to hear about your cat. Do something small with your hands today: print one photo, or plant something where she "
     "liked to lie. Tell one person who knew her, and say her name. If you have another animal, keep its hours; it feels the gap "
     "as well. Leave her things where they are for a week, then decide with a rested head."),
    ("I can't log in to my router any more. Where do I start?",
     "First make sure that you are on its network: unplug the phone from mobile data and open 192.168.1.1. If the page loads and "
     "only the password is refused, it usually stands on a label under the box. If not, hold the reset button for ten seconds."),
    ("What is 17 times 23? Only the result, please.", "391"),
    ("What is 17 times 23? Just the result.", "I'm happy to help! It is 391."),
    ("Name the capital of Peru and tell me one thing about it.", "Lima. It was founded in 1535 by Francisco Pizarro on the Rimac "
                                                                 "river."),
    ("I can't decide between a cat and a dog. I work from 9 to 5 and live on the third floor. What would you advise?",
     "I can't tell you what your heart wants, but the facts point one way: with eight hours away and three flights of stairs, a "
     "dog would be alone too long and needs four walks a day. Take two adult cats from a shelter: they keep each other company."),
    ("Write a cover letter for a job as a nurse; I have five years in intensive care.",
     "Dear Ms Lopez,\n\nFor five years I have looked after ventilated patients at St Mary's. I would like to bring that calm to "
     "your emergency department.\n\nI trained eleven new colleagues and set up the night checklist that cut line infections from "
     "six to two a year. I work well when things get loud, and I write notes that others can use.\n\nI could start in March, and "
     "would be glad to spend a trial shift with you. Please let me know when it suits you.\n\nKind regards,\n[Your name]"),
    ("Answer in one sentence: why do leaves fall?", "Trees drop leaves to save water when the ground is cold."),
    ("Translate 'good morning' into French.", "Bonjour"),
    ("Write a haiku about frost.", "White breath on the gate\nthe fields hold their own silence\na crow breaks it once"),
    ("Explain in under 50 words what inflation is to a child.",
     "Inflation means that the same coin buys a little less each year. An ice cream that cost one euro when you were four costs "
     "one euro twenty now, although it is the same ice cream."),
    ("Solve 3x + 5 = 20 and show the way.", "3x + 5 = 20\n3x = 15\nx = 5"),
    ("Write a Python function that reverses the words of a sentence.",
     "```python\ndef reverse_words(text):\n    return ' '.join(reversed(text.split()))\n```"),
    ("Give me three names for a bakery that opens at night.", "Night Oven, Crumbs at Two, The Owl's Loaf. The last one is easy "
                                                              "to draw, which helps with a sign."),
    ("Does it make sense to repair a ten-year-old washing machine? The drum bearing is worn, the quote is 280 euros.",
     "It depends on two numbers: what a new machine costs you and how long this one lasts after the repair. A comparable machine "
     "is about 450 euros, and a machine with a new bearing runs for another four years on average. That is 70 euros a year "
     "against 45 for a new one that lasts ten, so buy a new one unless the rest of yours is exceptional."),
    ("明日の会議の準備をどう進めればいいですか。資料はまだありません。",
     "まず目的を一文で書き、参加者ごとに知りたいことを一つずつ挙げます。次に、数字が必要な項目だけを今夜集め、"
     "残りは口頭で説明します。最後に、決めたいことを三つの質問にして、会議の最初に見せてください。"),
    *((str(one["instruction"]), str(one["response"])) for one in EXAMPLES),
]


@pytest.mark.parametrize(("instruction", "response", "kind"), BAD)
def test_low_effort_is_found(instruction: str, response: str, kind: str) -> None:
    found = shirk(instruction, response)
    assert found is not None
    assert found.kind == kind
    assert found.detail


@pytest.mark.parametrize(("instruction", "response"), GOOD)
def test_honest_work_is_left_alone(instruction: str, response: str) -> None:
    assert shirk(instruction, response) is None


def test_the_evidence_is_in_the_detail() -> None:
    assert shirk("Write a 500-word essay on the tides.", "The moon does it, and the sun does too, which is enough.") == Shirk(
        "too short", "12 words, where at least 200 were expected")
    assert shirk(RENT, "Sorry! I can't help with that.") == Shirk("refusal", "I can't help")


@pytest.mark.parametrize(("instruction", "least"), [
    ("Write about 300 words on tides.", int(300 * ASKED_SHARE)),
    ("Write five sentences.", int(5 * 10 * ASKED_SHARE)),
    ("Two paragraphs and 50 words, please.", int(80 * ASKED_SHARE)),
    ("Give 10 practical tips.", int(60 * ASKED_SHARE)),
    ("Why is the sky blue?", LEAST_WORDS),
    ("Write a story about a fox.", LONG_FORM_WORDS),
    ("Write a story about a fox in at most 20 words.", 8),
    ("I need a letter to my bank.", LONG_FORM_WORDS),
    ("My bank sent me a letter. What is an overdraft?", LEAST_WORDS),
    ("Name three things. " + " ".join(["word"] * 60), 31),
    ("Three options, please. " + " ".join(["word"] * 60), 31),
    ("Briefly: why is the sky blue?", 1),
    (" ".join(["word"] * 60) + ".", 30),
    (" ".join(["word"] * 400) + ".", 60),
])
def test_what_an_instruction_asks_for(instruction: str, least: int) -> None:
    assert least_words(instruction, len(instruction.split())) == least


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_text_has_a_verdict(instruction: str, response: str) -> None:
    found = shirk(instruction, response)
    assert found is None or (found.kind in KINDS and found.detail)


@given(st.integers(24, 200), st.text("abcdefgh ", min_size=1, max_size=20))
def test_saying_it_again_and_again_is_always_found(times: int, phrase: str) -> None:
    text = (phrase.strip() or "word") + " "
    assert shirk("Tell me about the sea.", text * times) is not None
