"""The model card: README.md with the hub's YAML header, and where the data came from."""

from __future__ import annotations

from typing import Any

import yaml

from pica.synth.markdown import code, plain, table

_WHAT = {"sft": "fine-tuned on conversations", "dpo": "trained on preference pairs",
         "online": "trained on answers of its own that were scored while it trained",
         "reward": "a reward model: one number for a conversation, higher is better"}


def model_card(name: str, manifest: dict[str, Any]) -> str:
    """The card's Markdown, from the manifest alone."""
    start, config = manifest["model"]["name"], manifest["config"]
    base = start.removeprefix("hf/")
    header: dict[str, Any] = {"library_name": "transformers", "tags": ["pica", "trl", manifest["stage"]],
                              "pipeline_tag": "text-classification" if manifest["stage"] == "reward" else "text-generation"}
    if start == "local":
        header["base_model"] = "HuggingFaceTB/SmolLM2-135M-Instruct"
    elif start.startswith("hf/") and base.count("/") == 1 and not base.startswith((".", "/", "~")):
        header["base_model"] = base
    if hub := [one["source"].partition(":")[0] for one in manifest["data"] if one["kind"] == "hub"]:
        header["datasets"] = hub
    rows, batch, loss = manifest["rows"], manifest["batch"], manifest["loss"]
    data = [[plain(one["source"]), plain(one["split"]), f"{one['rows']:,}", f"{one['weight']:g}", f"{one['drawn']:,}",
             f"`{one['fingerprint']}`", f"`{one['manifest']}`" if one.get("manifest") else ""] for one in manifest["data"]]
    facts = [["started from", f"{code(start)} ({manifest['model']['identity']})"],
             ["weights trained", f"adapters of rank {config['lora']['r']}" if config["lora"] else "all"],
             ["steps", f"{manifest['steps']:,}"], ["epochs", f"{manifest['epochs']:.2f}"],
             ["batch", f"{batch['size']} rows: {batch['per_device']} x {batch['accumulation']} x {batch['processes']} processes"],
             ["tokens", f"{manifest['tokens']:,}"], ["loss at first, at the end", f"{loss['first']}, {loss['last']}"],
             ["device, arithmetic", f"{manifest['device']}, {manifest['precision']}"]]
    left = [f"{number:,} rows were left out: {plain(reason)}." for reason, number in rows["rejected"].items()]
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---", f"# {plain(name)}",
        f"{plain(start)}, {_WHAT[manifest['stage']]}, by Pica {manifest['versions']['pica']} with TRL "
        f"{manifest['versions']['trl']}.",
        "## Data", table(["source", "split", "rows", "weight", "rows an epoch", "fingerprint", "manifest (SHA-256)"], data),
        "A weight is how often a row is seen in an epoch. " + manifest["order"], *left,
        "## Training", table(["", ""], facts), "Licences of the model that was started from and of the data apply.",
        "## Making it again", "```yaml\n" + yaml.safe_dump(_settings(config), sort_keys=False, allow_unicode=True) + "```",
        f"Save this as `config.yaml` and run `pica train {manifest['stage']} --config config.yaml --out DIR`.",
    ]
    if manifest.get("goal"):
        parts.insert(3, f"Its data states a goal for each answer: {code(str(manifest['goal']))}. Ask with `goal=VALUE`.")
    return "\n\n".join(parts) + "\n"


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing, and without the caps: they are no part of what was made."""
    return {name: value for name, value in config.items() if value not in ("", [], {}, None) and name != "budget"}
