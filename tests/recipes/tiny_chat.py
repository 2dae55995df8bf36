"""Tokenizers trained in a moment, with the two kinds of chat templates that matter for goals, and a random tiny Llama."""

from __future__ import annotations

from functools import cache
from typing import Any

CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
#: as Gemma's: a conversation with a system message is refused
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
#: a template that reads only what users and assistants say
DEAF = "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


@cache
def tokenizer(template: str = CHATML) -> Any:
    """A byte-level tokenizer with `template`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(["Write the answer that a grader would give the score below, on a scale from 1 to 10. Do not "
                               "mention the score. user assistant system"] * 9, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|im_end|>",
                                   clean_up_tokenization_spaces=False)
    made.chat_template = template
    return made


@cache
def model(size: int = 16) -> Any:
    """A random Llama of one layer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    names = tokenizer()
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=len(names), hidden_size=size, intermediate_size=size, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, eos_token_id=names.eos_token_id, pad_token_id=names.pad_token_id))
