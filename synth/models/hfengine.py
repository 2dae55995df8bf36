"""One checkpoint loaded by transformers: generating, scoring, embedding and log-probabilities for a batch of jobs."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import orjson

from pica.synth.errors import BadRequest, Denied, UsageError
from pica.synth.models.base import Answer, Request, TokenLogprob
from pica.synth.models.batcher import Batcher, Job
from pica.synth.models.convert import quiet
from pica.synth.models.hfsample import Chooser, Row
from pica.synth.models.seeds import sample_seed
from pica.synth.models.shared import LOADING
from pica.synth.models.tokens import Prompts

Kind = Literal["text", "score", "embed"]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is made of. `kind` is the head: a language model's, a reward model's, or none."""

    target: str
    kind: Kind
    revision: str = ""
    context: int = 0
    dtype: str = "auto"
    device: str = ""
    slots: int = 32
    batch_tokens: int = 65_536


class Engine:
    """A loaded checkpoint and the thread that works on batches."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.tokenizer, self.model = _load(setting)
        self._generation: Any = getattr(self.model, "generation_config", None)
        if setting.kind == "text":  # its penalties would join those that a request asks for
            from transformers import GenerationConfig

            self.model.generation_config = GenerationConfig()
        self.batcher = Batcher(self._work, setting.slots, setting.batch_tokens)
        self.folder = Path(setting.target).expanduser()
        self.served = self.folder.name if self.folder.is_dir() else setting.target
        self.prompts = Prompts(self.tokenizer, setting.context or self._own_context(), self.served)

    def close(self) -> None:
        """Finish what is queued and free the weights."""
        self.batcher.close()
        del self.model

    def jobs(self, request: Request) -> list[Job]:
        """A job for each sample. Raises `BadRequest` where the prompt does not fit."""
        if request.task == "embed":
            text = self._default_prompt + request.prompt
            ids = self.prompts.fitting(list(self.prompts.tokenizer(text)["input_ids"]), 0)
            return [Job("embed", len(ids), ids)]
        if request.task == "score":
            ids = self.prompts.encode(request)
            return [Job("score", len(ids), ids)]
        if request.task == "logprobs":
            before, after = self.prompts.with_start(request.prompt), self.prompts.plain(request.continuation)
            self.prompts.fitting(before + after, 0)
            return [Job("logprobs", len(before) + len(after), (before, after, request.continuation))]
        return self._answers(request)

    def _answers(self, request: Request) -> list[Job]:
        ids = self.prompts.encode(request)
        limit = min(request.sampling.max_tokens, self.prompts.context - len(ids))
        key = request.sampling.canonical, orjson.dumps(request.schema, option=orjson.OPT_SORT_KEYS)
        jobs = []
        for sample in range(request.n):
            job = Job(key, len(ids) + limit, None)
            job.payload = (Row(ids, sample_seed(request, sample), limit, job.future), request)
            jobs.append(job)
        return jobs

    def _own_context(self) -> int:
        """The longest input of the model, as its configuration, its tokenizer and sentence-transformers state it."""
        own = [getattr(self.model.config, "max_position_embeddings", None), self.tokenizer.model_max_length]
        own.append(_json(self.folder / "sentence_bert_config.json").get("max_seq_length"))
        return min((int(n) for n in own if n and n < 10**9), default=4096)

    def _work(self, batch: list[Job]) -> None:
        """Answer a batch; where memory does not suffice, in halves."""
        import torch

        run = {"embed": self._embed, "score": self._score, "logprobs": self._logprobs}.get(str(batch[0].key))
        try:
            with torch.inference_mode():
                (run or self._generate)(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise BadRequest(f"a request of {batch[0].tokens} tokens does not fit in the memory of "
                                 f"{self.model.device}; ask for fewer max_tokens") from None
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2:]):
                self._restart(half)
                self._work(half)

    def _restart(self, jobs: list[Job]) -> None:
        """Forget what a batch that ran out of memory had generated."""
        for job in jobs:
            if isinstance(job.payload, tuple) and isinstance(job.payload[0], Row):
                row, request = job.payload
                job.payload = (Row(row.prompt, row.seed, row.limit, row.future), request)

    def _generate(self, batch: list[Job]) -> None:
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        from pica.synth.models.hfschema import schema_masks

        rows: list[Row] = [job.payload[0] for job in batch]
        request: Request = batch[0].payload[1]
        masks = schema_masks(request.schema, self.tokenizer, len(rows))
        ends = self._ends | self.prompts.special_stops(request.sampling)
        chooser = Chooser(rows, request.sampling, self.tokenizer, ends, masks)
        self.model.generate(
            **self._padded([row.prompt for row in rows], left=True), logits_processor=LogitsProcessorList([chooser]),
            stopping_criteria=StoppingCriteriaList([chooser.stop]),
            generation_config=GenerationConfig(max_new_tokens=max(row.limit for row in rows), do_sample=False,
                                               use_cache=True, pad_token_id=self._pad))
        for job, row in zip(batch, rows, strict=True):
            text = self.tokenizer.decode(row.ids, skip_special_tokens=True) if row.text is None else row.text
            job.done(Answer(text=text, finish=row.finish, prompt_tokens=len(row.prompt), model=self.served,
                            completion_tokens=len(row.ids), logprobs=tuple(row.logprobs)))

    def _score(self, batch: list[Job]) -> None:
        sequences = [job.payload for job in batch]
        pad = self._own_pad
        if pad is None:  # the head looks for the last token that is no padding: pad with one that does not occur
            pad = self.model.config.pad_token_id = _absent(sequences)
        logits = self.model(**self._padded(sequences, pad=pad)).logits.float().cpu()
        for job, values in zip(batch, logits.tolist(), strict=True):
            job.done(Answer(values=tuple(values), prompt_tokens=len(job.payload), model=self.served))

    def _embed(self, batch: list[Job]) -> None:
        inputs = self._padded([job.payload for job in batch])
        hidden = self.model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][..., None].float()
        if self._pooling == "cls":
            pooled = hidden[:, 0]
        elif self._pooling == "last":
            pooled = hidden[range(len(batch)), inputs["attention_mask"].sum(1) - 1]
        else:
            pooled = (hidden * mask).sum(1) / mask.sum(1)
        vectors = (pooled / pooled.norm(dim=-1, keepdim=True).clamp(min=1e-12)).cpu().numpy().astype("<f4")
        for job, vector in zip(batch, vectors, strict=True):
            job.done(Answer(vector=np.ascontiguousarray(vector).tobytes(), prompt_tokens=len(job.payload),
                            model=self.served))

    def _logprobs(self, batch: list[Job]) -> None:
        sequences = [before + after for job in batch for before, after, _ in [job.payload]]
        logits = self.model(**self._padded(sequences)).logits
        for i, job in enumerate(batch):
            before, after, text = job.payload
            first = max(1, len(before))  # nothing predicts the very first token
            tokens = sequences[i][first:]
            logs = logits[i, first - 1: len(sequences[i]) - 1].float().log_softmax(-1).cpu()
            values = [float(logs[at, token]) for at, token in enumerate(tokens)]
            each = tuple(TokenLogprob(self.tokenizer.decode([t]), v) for t, v in zip(tokens, values, strict=True))
            job.done(Answer(text=text, prompt_tokens=len(before), completion_tokens=len(after), logprobs=each,
                            values=(sum(values),), model=self.served))

    def _padded(self, sequences: list[list[int]], *, left: bool = False, pad: int | None = None) -> dict[str, Any]:
        """`input_ids` and `attention_mask`, both [rows, longest]."""
        import torch

        longest = max(map(len, sequences))
        ids = torch.full((len(sequences), longest), self._pad if pad is None else pad)
        mask = torch.zeros_like(ids)
        for i, sequence in enumerate(sequences):
            place = slice(longest - len(sequence), None) if left else slice(0, len(sequence))
            ids[i, place] = torch.tensor(sequence)
            mask[i, place] = 1
        return {"input_ids": ids.to(self.model.device), "attention_mask": mask.to(self.model.device)}

    @cached_property
    def _pad(self) -> int:
        """The padding token; any will do where a mask hides it."""
        return int(next((i for i in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id) if i is not None), 0))

    @cached_property
    def _own_pad(self) -> int | None:
        """The padding token that a reward head was trained with, if its configuration names one."""
        own: int | None = self.model.config.pad_token_id
        return own

    @cached_property
    def _ends(self) -> set[int]:
        """Tokens that end an answer, by the model's generation settings and its tokenizer."""
        given = self._generation.eos_token_id
        several = given if isinstance(given, list) else [given]
        return {int(token) for token in [*several, self.tokenizer.eos_token_id] if token is not None}

    @cached_property
    def _pooling(self) -> str:
        """How sentence-transformers pools this model; the mean where nothing says so."""
        modes = _json(self.folder / "1_Pooling" / "config.json")
        if modes.get("pooling_mode_cls_token"):
            return "cls"
        return "last" if modes.get("pooling_mode_lasttoken") else "mean"

    @cached_property
    def _default_prompt(self) -> str:
        """What sentence-transformers puts before every text, if the model has a default."""
        settings = _json(self.folder / "config_sentence_transformers.json")
        return str((settings.get("prompts") or {}).get(settings.get("default_prompt_name"), ""))


def _absent(sequences: list[list[int]]) -> int:
    """The smallest token id that none of the sequences holds."""
    present = {token for sequence in sequences for token in sequence}
    return next(token for token in range(len(present) + 1) if token not in present)


def _json(path: Path) -> dict[str, Any]:
    return orjson.loads(path.read_bytes()) if path.is_file() else {}


def _load(setting: Setting) -> tuple[Any, Any]:
    """Tokenizer and model, on the GPU where there is one, without running code that came with them."""
    try:
        import torch
        import transformers
        from safetensors import SafetensorError
    except ImportError as error:
        raise UsageError(f'{setting.target!r} needs {error.name}, which is not installed; run: pip install "pica[hf]"'
                         ) from error
    kind = {"text": transformers.AutoModelForCausalLM, "embed": transformers.AutoModel,
            "score": transformers.AutoModelForSequenceClassification}[setting.kind]
    device = setting.device or ("cuda" if torch.cuda.is_available() else
                                "mps" if torch.backends.mps.is_available() else "cpu")
    dtype = "float32" if setting.dtype == "auto" and device == "cpu" else setting.dtype
    place = {"revision": setting.revision or None, "trust_remote_code": False}
    target = str(Path(setting.target).expanduser())
    try:
        with LOADING, quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(target, **place)
            model = kind.from_pretrained(target, dtype=dtype if dtype == "auto" else getattr(torch, dtype), **place)
        return tokenizer, model.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise Denied(f"{setting.target!r} does not fit in the memory of {device}; use a smaller model or dtype=bfloat16"
                     ) from error
    except (OSError, ValueError, AttributeError, RuntimeError, KeyError, SafetensorError) as error:
        why = " ".join(str(error).split())[:300]
        raise UsageError(f"transformers cannot load {setting.target!r} as a {setting.kind} model ({why}); give a "
                         "checkpoint folder or a hub id that it knows without trust_remote_code") from error
