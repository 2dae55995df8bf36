"""Models by name: `open_model(ModelConfig(name="local"))`. Adding a provider is one file and one line here."""

from __future__ import annotations

import importlib
from difflib import get_close_matches

from pica.synth.errors import UsageError
from pica.synth.models.base import Answer, Message, Model, ModelConfig, Request, Sampling, assistant, system, user

__all__ = ["PROVIDERS", "Answer", "Message", "Model", "ModelConfig", "Request", "Sampling", "assistant", "open_model",
           "system", "user"]

#: provider name -> (module, class, what it is). A class is called with the text after the slash and the config.
PROVIDERS: dict[str, tuple[str, str, str]] = {
    "openai": ("pica.synth.models.openai", "OpenAIModel", "any OpenAI-compatible server: openai/NAME[@URL[|URL...]]"),
    "vllm": ("pica.synth.models.vllm", "VLLMModel", "vLLM in this process: vllm/ID-OR-PATH"),
    "hf": ("pica.synth.models.hf", "HFModel", "transformers in this process: hf/ID-OR-PATH"),
    "llamacpp": ("pica.synth.models.llamacpp", "LlamaCppModel", "a GGUF file in this process: llamacpp/FILE.gguf"),
    "fake": ("pica.synth.models.fake", "FakeModel", "scripted, for tests and dry runs: fake/NAME[?latency=0.05&...]"),
    "stick": ("pica.synth.models.stick", "StickModel", "a model that checks itself against its own checklist: stick/NAME"),
    "local": ("pica.synth.models.local", "LocalModel", "SmolLM2-135M-Instruct, embedded; needs no network at run time"),
}


def open_model(config: ModelConfig | str) -> Model:
    """The model that `config` names. Loads and contacts nothing yet. Raises `UsageError` for an unknown name."""
    if isinstance(config, str):
        config = ModelConfig(name=config)
    provider, _, target = config.name.partition("/")
    if provider not in PROVIDERS:
        near = get_close_matches(provider, PROVIDERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown model {config.name!r}{hint} Known: "
                         + ", ".join(what.rsplit(": ", 1)[-1] if ": " in what else name
                                     for name, (_, _, what) in PROVIDERS.items()))
    module, cls, what = PROVIDERS[provider]
    if not target and provider != "local":
        raise UsageError(f"model {config.name!r} names nothing after the slash; write {what.rsplit(': ', 1)[-1]}")
    model: Model = getattr(importlib.import_module(module), cls)(target, config)
    return model
