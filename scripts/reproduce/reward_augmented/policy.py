"""The small model and its tokenizer, and sampling from a policy in large batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from task import vocabulary

from pica.synth.models.base import Message

MARKS = ("<pad>", "<unk>", "<|im_start|>", "<|im_end|>")
TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
LONGEST = 128  # tokens of prompt and answer together


def write_tiny(folder: Path, texts: Sequence[str], *, width: int, layers: int, seed: int) -> None:
    """A random Llama and a tokenizer of whole words (those of the language, and of `texts`) as a checkpoint in `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _word_tokenizer(texts)
    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=LONGEST, tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _word_tokenizer(texts: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*MARKS, "system", "user", "assistant", *vocabulary(texts)]
    known = {word: place for place, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"], chat_template=TEMPLATE, model_max_length=LONGEST, padding_side="left")


def sample(folder: Path, conversations: Sequence[list[Message]], *, seed: int, tokens: int, batch: int = 512) -> list[str]:
    """One answer to each conversation at temperature 1, of `tokens` tokens at most. The same seed gives the same answers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    texts = [tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) for messages in conversations]
    torch.manual_seed(seed)
    answers = []
    for start in range(0, len(texts), batch):
        given = tokenizer(texts[start:start + batch], return_tensors="pt", padding=True, add_special_tokens=False).to(device)
        given.pop("token_type_ids", None)
        with torch.inference_mode():
            made = model.generate(**given, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens,
                                  pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
        answers += tokenizer.batch_decode(made[:, given["input_ids"].shape[1]:], skip_special_tokens=True)
    return answers
