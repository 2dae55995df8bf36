"""Other random weights beside the tiny model: a reward model, another language model."""

from __future__ import annotations

import shutil
from pathlib import Path


def classifier(tiny: Path, folder: Path, *labels: str) -> Path:
    """A random reward model with a head for each of `labels`, saved in `folder`."""
    import torch
    from transformers import AutoConfig, LlamaForSequenceClassification

    shutil.copytree(tiny, folder)
    torch.manual_seed(1)
    numbers = {label: number for number, label in enumerate(labels)}
    LlamaForSequenceClassification(AutoConfig.from_pretrained(tiny, id2label=dict(enumerate(labels)), label2id=numbers)
                                   ).save_pretrained(folder)
    return folder


def another(tiny: Path, folder: Path) -> Path:
    """A language model of the same shape with other weights, saved in `folder`."""
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    shutil.copytree(tiny, folder)
    torch.manual_seed(1)
    LlamaForCausalLM(AutoConfig.from_pretrained(tiny)).save_pretrained(folder)
    return folder
