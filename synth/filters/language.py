"""The language of a text, or `und` where there is none to be told.

    [("en", 0.97), ("und", 0.0)] == detect(["How do plants drink water at night?", "x = [1, 2]"])

A text is `und` with confidence 0, and never a guess, when

1. nothing remains of it once fenced code, code in back-ticks, addresses and lines that look like code are set aside
   (a line looks like code when one in ten of its visible characters is one of `(){}[]<>=;|\\/_^*+#@$%&~`, or more), or
2. what remains holds fewer than 12 bytes of letters in UTF-8 (12 letters of Latin, six of Cyrillic, four of Han), or
   letters are less than half of its visible characters, or
3. the detector is less sure than `min_confidence`, or finds that it is no language.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pica.synth.errors import UsageError

#: Bytes of letters that a text must have.
MIN_BYTES = 12
#: Characters of the remaining text that the detector is shown. More make it no surer, and less sure where they repeat.
MAX_CHARS = 1_000

_ASIDE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|(?:https?://|www\.)\S+", re.DOTALL)
_CODE = re.compile(r"[(){}\[\]<>=;|\\/_^*+#@$%&~]")
_SPACE = re.compile(r"\s+")

#: English names of widely spoken languages, for whoever writes one instead of its code.
NAMES = {"arabic": "ar", "bengali": "bn", "bulgarian": "bg", "catalan": "ca", "chinese": "zh", "croatian": "hr", "czech": "cs",
         "danish": "da", "deutsch": "de", "dutch": "nl", "english": "en", "estonian": "et", "finnish": "fi", "french": "fr",
         "german": "de",
         "greek": "el", "hebrew": "he", "hindi": "hi", "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja",
         "korean": "ko", "latvian": "lv", "lithuanian": "lt", "malay": "ms", "norwegian": "no", "persian": "fa", "polish": "pl",
         "portuguese": "pt", "romanian": "ro", "russian": "ru", "serbian": "sr", "slovak": "sk", "slovenian": "sl",
         "spanish": "es", "swahili": "sw", "swedish": "sv", "tamil": "ta", "thai": "th", "turkish": "tr", "ukrainian": "uk",
         "urdu": "ur", "vietnamese": "vi"}

Engine = Literal["py3langid", "lingua"]

#: What an engine must be sure of at least.
MIN_CONFIDENCE: dict[str, float] = {"py3langid": 0.2, "lingua": 0.1}


class Detected(NamedTuple):
    """A language by its ISO 639-1 code, or `und`, and how sure the detector is, 0 to 1."""

    language: str
    confidence: float


UNDETERMINED = Detected("und", 0.0)


def detect(texts: Iterable[str], *, engine: Engine = "py3langid", min_confidence: float | None = None,
           ) -> list[Detected]:
    """The language of every text. Needs the package py3langid, or `lingua-language-detector` for `engine="lingua"`.

    `min_confidence`: 0 to 1; the default is the engine's own in `MIN_CONFIDENCE` (lingua shares out its confidence
    among 75 languages, so its figures are lower).
    """
    if engine not in _ENGINES:
        raise UsageError(f"unknown engine {engine!r} of language; allowed: {', '.join(map(repr, _ENGINES))}")
    least = MIN_CONFIDENCE[engine] if min_confidence is None else min_confidence
    if not 0 <= least <= 1:
        raise UsageError(f"min_confidence {min_confidence} is no share; give one from 0 to 1")
    classify = _ENGINES[engine]()
    found = []
    for text in texts:
        words = prose(text)
        guess = Detected(*classify(words)) if words else UNDETERMINED
        sure = len(guess.language) == 2 and guess.confidence >= least
        found.append(guess if sure else UNDETERMINED)
    return found


def check_codes(wanted: Sequence[str], key: str = "languages") -> None:
    """Raise `UsageError` for a code that py3langid never gives, naming the nearest and the known ones. `key`: the setting."""
    known = [*sorted(label for label in _identifier().labels if len(label) == 2), UNDETERMINED.language]
    names = {**dict(zip(known, known, strict=True)), **{name: code for name, code in NAMES.items() if code in known}}
    for code in wanted:
        if code in known:
            continue
        near = get_close_matches(code.strip().casefold(), names, n=1)
        hint = f"; did you mean {names[near[0]]!r}?" if near else "."
        raise UsageError(f"{key}: {code!r} is no language that can be told{hint} Known (ISO 639-1, und: undetermined): "
                         f"{', '.join(known)}")


def prose(text: str) -> str:
    """What a detector is shown of a text: its first 1,000 characters outside code; nothing if too little is left."""
    lines = (line for line in _ASIDE.sub(" ", text).splitlines() if not _looks_like_code(line))
    kept = _SPACE.sub(" ", " ".join(lines))[:MAX_CHARS].encode("utf-8", "ignore").decode()
    letters = [character for character in kept if character.isalpha()]
    visible = len(kept) - kept.count(" ")
    enough = len("".join(letters).encode()) >= MIN_BYTES and 2 * len(letters) >= visible
    return kept.strip() if enough else ""


def _looks_like_code(line: str) -> bool:
    visible = len(_SPACE.sub("", line))
    return 10 * len(_CODE.findall(line)) >= max(visible, 1)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UsageError("languages need the package py3langid; install it: pip install 'pica[filters]'") from None
    identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([label for label in identifier.labels if len(label) == 2 or label == "zxx"])
    return identifier


def _py3langid() -> Callable[[str], tuple[str, float]]:
    classify: Callable[[str], tuple[str, float]] = _identifier().classify
    return classify


@lru_cache(maxsize=1)
def _lingua() -> Callable[[str], tuple[str, float]]:
    try:
        lingua: Any = importlib.import_module("lingua")
    except ImportError:
        raise UsageError("engine 'lingua' needs a package; install it: pip install lingua-language-detector") from None
    detector: Any = lingua.LanguageDetectorBuilder.from_all_languages().build()

    def classify(text: str) -> tuple[str, float]:
        values = detector.compute_language_confidence_values(text)
        best = values[0] if values else None
        return (best.language.iso_code_639_1.name.lower(), float(best.value)) if best else UNDETERMINED

    return classify


_ENGINES: dict[str, Callable[[], Callable[[str], tuple[str, float]]]] = {"py3langid": _py3langid, "lingua": _lingua}
