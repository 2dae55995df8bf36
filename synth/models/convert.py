"""Turn a GGUF file into a checkpoint folder that transformers, TRL and vLLM load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pica.synth.errors import Denied, UsageError
from pica.synth.models.shared import LOADING

_PROBE = "The capital of France is"


def gguf_to_checkpoint(source: Path, folder: Path) -> None:
    """Write `source`'s weights in float32, its configuration, tokenizer and chat template to `folder`.

    The folder is loaded again and checked before this returns: same next-token logits, a chat template, the tokens
    that end and pad a text. Raises `UsageError` where torch, transformers or gguf are missing, `Denied` where the
    written folder is not the same model.
    """
    try:
        import gguf  # noqa: F401  (transformers reads GGUF with it)
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise UsageError(f"converting {source.name} needs {error.name}, which is not installed; run: "
                         'pip install "pica[hf]"') from error
    with quiet(transformers):
        tokenizer, original = _rewrite(source, folder)
        _verify(folder, tokenizer, original)


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Without the progress bars of transformers."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def _rewrite(source: Path, folder: Path) -> tuple[Any, Any]:
    """Write the folder; returns the tokenizer and the model as read from `source`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = {"gguf_file": source.name, "trust_remote_code": False}
    with LOADING:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **place)
        read = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **place)
    config = AutoConfig.from_pretrained(source.parent, **place)
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.__dict__.pop(key, None)
    config.dtype = torch.float32
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, _pad(tokenizer)
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(read.state_dict())
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer, read


def _pad(tokenizer: Any) -> int:
    """The padding token; a tokenizer without one pads with the token that ends a text."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return int(tokenizer.pad_token_id)


def _verify(folder: Path, tokenizer: Any, original: Any) -> None:
    """Raise `Denied` unless the folder holds the same model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with LOADING:
        again = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
    inputs = again(_PROBE, return_tensors="pt")
    with torch.no_grad():
        same = torch.allclose(model(**inputs).logits, original(**inputs).logits, atol=1e-4)
        more = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    faults = {
        "other logits": not same,
        "nothing generated": more.shape[1] <= inputs["input_ids"].shape[1],
        "no chat template": not again.chat_template,
        "another end token": again.eos_token_id != tokenizer.eos_token_id or again.pad_token_id is None,
        "a quantization_config": "quantization_config" in model.config.to_dict(),
    }
    if found := [what for what, wrong in faults.items() if wrong]:
        raise Denied(f"the folder converted from a GGUF file is not the same model ({', '.join(found)}); update "
                     "transformers: pip install --upgrade transformers")
