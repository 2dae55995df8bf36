"""What stands for local weights: content, wherever it lies."""

from __future__ import annotations

import os
import shutil

import pytest

from pica.synth.errors import UsageError
from pica.synth.models.fingerprint import fingerprint

MB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    (made / "1_Pooling").mkdir(parents=True)
    (made / "config.json").write_text('{"model_type": "llama"}')
    (made / "tokenizer.json").write_text("{}")
    (made / "1_Pooling" / "config.json").write_text("{}")
    header = b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'
    (made / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(range(256)) * 4 * 4096)
    return made


def change(path, at, value=b"\xff\xfe"):
    data = bytearray(path.read_bytes())
    data[at:at + len(value)] = value
    path.write_bytes(data)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))


def test_a_copy_elsewhere_is_the_same_model(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "other name")
    assert fingerprint(copy) == fingerprint(folder)
    assert len(fingerprint(folder)) == 16


def test_what_training_leaves_beside_the_weights_does_not_count(folder):
    before = fingerprint(folder)
    for name in ("trainer_state.json", "training_args.bin", "optimizer.pt", "README.md", "rng_state_0.pth",
                 "eval_results.json"):
        (folder / name).write_text("x")
    (folder / "checkpoint-10").mkdir()
    (folder / "checkpoint-10" / "config.json").write_text("x")
    assert fingerprint(folder) == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "1_Pooling/config.json", "chat_template.jinja"])
def test_every_small_file_of_the_model_counts(folder, name):
    before = fingerprint(folder)
    (folder / name).write_text('{"changed": true}')
    assert fingerprint(folder) != before


@pytest.mark.parametrize("at", [0, 30, 2 * 8 + 60, -1])
def test_header_head_and_tail_of_weights_count(folder, at):
    weights = folder / "model.safetensors"
    before = fingerprint(folder)
    change(weights, at % weights.stat().st_size, b"\x55")
    assert fingerprint(folder) != before


def test_size_of_weights_counts(folder):
    before = fingerprint(folder)
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: 2 * MB] + bytes(8) + data[2 * MB:])
    assert fingerprint(folder) != before


def test_a_file_that_changes_in_place_is_read_again(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    before = fingerprint(path)
    change(path, 50)
    assert fingerprint(path) != before


def test_nothing_there_is_an_error_with_a_mend(tmp_path):
    with pytest.raises(UsageError, match=r"no model at .*give a weights file or a checkpoint folder"):
        fingerprint(tmp_path / "missing")
    with pytest.raises(UsageError, match=r"a checkpoint folder holds config.json"):
        fingerprint(tmp_path)
