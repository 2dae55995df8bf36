"""Texts that hold an evaluation's prompt, or nearly: found by shared word n-grams and by nearest neighbour.

    index = EvalIndex({"arena-hard": arena_prompts, "wildbench": wild_prompts})
    for overlap in index.overlaps(texts):
        if overlap: reject("overlaps an evaluation prompt", overlap.explain())

A text overlaps a prompt when they share 13 words in a row (the size used for GPT-3 and since). A prompt of fewer words
counts when the text holds all of it, down to 5 words; a still shorter one only when the text is nothing else. Words are
compared without case, punctuation and width; each character of a script without spaces counts as a word. With an
embedder, a text also overlaps the nearest prompt within a squared distance (0.05 by default).

Words that stand in many texts, as a template's closing line does, tell no prompt from another. Where the texts are known among
which prompts are looked for (`among`), 13 words in a row that stand in more than 10 different ones are no evidence, as for GPT-3
(Brown and others, 2020, appendix C). A text that holds all of a prompt overlaps it all the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pica.synth.embed import Embedder
from pica.synth.errors import UsageError
from pica.synth.filters.exact import normalise
from pica.synth.filters.neighbours import nearest_in

#: Words in a row that make an overlap.
NGRAM = 13
#: Fewest words of a prompt that is looked for inside longer texts.
SHORTEST = 5
#: Texts in which an n-gram may stand and still be evidence (GPT-3's).
COMMON = 10

# Thai to Burmese, Khmer, kana, Han: one character a word; everything else: runs of letters and digits.
_UNSPACED = ("\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
             "\U00020000-\U0003ffff")
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")


@dataclass(frozen=True)
class Overlap:
    """Why a text counts as holding an evaluation prompt.

    `evaluation`, `prompt`: the name of the evaluation and the prompt's place in it. `how`: `ngram` (13 words in a row),
    `contains` (all of a shorter prompt, or of one that has no such words of its own), `equal` (nothing but a very short one) or
    `embedding`. `words`: the shared words, normalised; empty for `embedding`. `distance`: squared distance of the embeddings,
    for `embedding` only.
    """

    evaluation: str
    prompt: int
    how: str
    words: str = ""
    distance: float | None = None

    def explain(self) -> str:
        """One sentence of evidence."""
        what = f"prompt {self.prompt} of {self.evaluation}"
        if self.how == "embedding":
            return f"lies at a squared distance of {self.distance:.3f} from {what}"
        return f"shares {self.words!r} with {what} ({self.how})"


class EvalIndex:
    """The prompts of evaluations, ready to be looked for in any number of texts.

    `prompts`: name of an evaluation -> its prompts. `ngram`: words in a row that make an overlap. `embedder`: also
    compare embeddings, and count those within `threshold` (squared distance). `among`: n-grams that stand in more than
    `common` different ones of these texts are no evidence by themselves; `ignored` says how many n-grams of the prompts are such.
    """

    def __init__(self, prompts: Mapping[str, Sequence[str]], *, ngram: int = NGRAM, embedder: Embedder | None = None,
                 threshold: float = 0.05, among: Iterable[str] = (), common: int = COMMON) -> None:
        if ngram < SHORTEST:
            raise UsageError(f"n-grams of {ngram} words match everywhere; give {SHORTEST} or more")
        self.ngram, self.threshold = ngram, threshold
        self._places = [(name, i) for name, texts in prompts.items() for i in range(len(texts))]
        texts = [text for several in prompts.values() for text in several]
        self._whole: dict[str, int] = {}
        self._grams: dict[int, dict[str, int]] = {}
        for at, text in enumerate(texts):
            self._add(at, words_of(text))
        self.ignored = self._ignore(texts, among, common)
        self._embedder = embedder if texts else None
        self._vectors = embedder.embed(texts) if embedder is not None and texts else None

    def __len__(self) -> int:
        return len(self._places)

    def _add(self, at: int, words: list[str]) -> None:
        if not words:
            return  # a prompt of no words can be shared with nothing
        if len(words) < SHORTEST:
            self._whole.setdefault(" ".join(words), at)
            return
        size = min(len(words), self.ngram)
        grams = self._grams.setdefault(size, {})
        for gram in _grams(words, size):
            grams.setdefault(gram, at)

    def _ignore(self, prompts: Sequence[str], among: Iterable[str], common: int) -> int:
        """Look no longer for n-grams that stand in more than `common` of the texts `among`; of a prompt that has no others, look
        for all of it. Returns how many they are."""
        grams = self._grams.get(self.ngram, {})
        counts: Counter[str] = Counter()
        for text in {" ".join(words_of(text)) for text in among} if grams else ():
            counts.update({gram for gram in _grams(text.split(" "), self.ngram) if gram in grams})
        often = {gram for gram, count in counts.items() if count > common}
        for gram in often:
            del grams[gram]
        for at, prompt in enumerate(prompts) if often else ():
            words = words_of(prompt)
            if len(words) >= self.ngram and often.issuperset(_grams(words, self.ngram)):
                self._grams.setdefault(len(words), {}).setdefault(" ".join(words), at)
        return len(often)

    def overlaps(self, texts: Sequence[str]) -> list[Overlap | None]:
        """For every text the first evidence that it holds a prompt, or None. Words are tried before embeddings."""
        found = [self._by_words(text) for text in texts]
        left = [i for i, overlap in enumerate(found) if overlap is None]
        if self._embedder is None or self._vectors is None or not left:
            return found
        near = nearest_in(self._embedder.embed([texts[i] for i in left]), self._vectors, threshold=self.threshold)
        for i, count, prompt, distance in zip(left, near.count, near.nearest, near.distance, strict=True):
            if count:
                evaluation, place = self._places[prompt]
                found[i] = Overlap(evaluation, place, "embedding", distance=float(distance))
        return found

    def _by_words(self, text: str) -> Overlap | None:
        words = words_of(text)
        if len(words) < SHORTEST:
            whole = " ".join(words)
            at = self._whole.get(whole)
            return None if at is None else Overlap(*self._places[at], "equal", whole)
        for size in sorted(self._grams, reverse=True):
            grams = self._grams[size]
            for gram in _grams(words, size):
                if gram in grams:
                    how = "ngram" if size == self.ngram else "contains"
                    return Overlap(*self._places[grams[gram]], how, gram)
        return None


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared: without case, punctuation and width; each character of a script without spaces
    is one."""
    return _WORD.findall(normalise(text))


def _grams(words: list[str], size: int) -> list[str]:
    return [" ".join(words[i:i + size]) for i in range(len(words) - size + 1)]
