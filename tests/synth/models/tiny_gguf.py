"""A GGUF file of a few kilobytes: one random Llama layer over single bytes, with a begin-of-sequence token."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BOS, EOS = "<s>", "</s>"


def _byte_tokens() -> list[str]:
    """The 256 bytes as the visible characters that byte-level BPE writes for them."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
    return [table[byte] for byte in range(256)]


def write_tiny_gguf(path: Path, *, template: str = "", context: int = 64, seed: int = 0) -> Path:
    import gguf

    width, heads = 64, 2
    tokens = [BOS, EOS, *_byte_tokens()]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * 256)
    writer.add_token_merges([f"{tokens[70]} {tokens[71]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(True)
    if template:
        writer.add_chat_template(template)
    random = np.random.default_rng(seed)

    def tensor(name: str, *shape: int) -> None:
        values = random.normal(0, 0.3, shape) if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(name, values.astype(np.float32))

    tensor("token_embd.weight", len(tokens), width)
    tensor("output_norm.weight", width)
    tensor("output.weight", len(tokens), width)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensor(f"blk.0.{name}.weight", width, width)
    for name in ("attn_norm", "ffn_norm"):
        tensor(f"blk.0.{name}.weight", width)
    tensor("blk.0.ffn_gate.weight", 2 * width, width)
    tensor("blk.0.ffn_up.weight", 2 * width, width)
    tensor("blk.0.ffn_down.weight", width, 2 * width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
