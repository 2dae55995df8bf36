"""The dataset card: README.md with the hub's YAML header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pica.synth.markdown import code, plain, table
from pica.synth.rows import Column

#: a role in the making of a dataset, and the model that had it
Role = tuple[str, str]


def roles_of(config: Mapping[str, Any]) -> list[Role]:
    """The models of a config as a manifest has it, those that stand in lists among them. A label says which."""
    found = []
    for key, value in config.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and "api_key_env" in one:
                found.append((f"{key} ({one['label']})" if one.get("label") else key, str(one["name"])))
    return found


def dataset_card(recipe: str, text: str, manifest: dict[str, Any], columns: list[Column], roles: Sequence[Role]) -> str:
    """The card's Markdown. `text` is what the recipe says of its data, `roles` which models wrote it; the rest comes from the
    manifest."""
    rows, config = manifest["rows"], manifest["config"]
    header = {
        "language": [], "license": "other", "size_categories": [_size(rows["out"])],
        "tags": ["synthetic", "pica", recipe],
        "configs": [{"config_name": "default", "data_files": [
            {"split": split, "path": f"data/{split}-*.parquet"} for split in rows["splits"]]}],
    }
    header = {key: value for key, value in header.items() if value}
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {recipe}: {rows['out']:,} rows", text,
        "## Rows", table(["", "rows"], [["made", f"{rows['in']:,}"], ["accepted", f"{rows['out']:,}"],
                                        *([f"rejected: {plain(reason)}", f"{number:,}"]
                                          for reason, number in rows["rejected"].items())]),
        "Rejected rows are in `rejected/`, each with its reason.",
        *(_models(roles) if roles else []),
        "## Columns", table(["column", "meaning"], [[f"`{column.name}`", column.description] for column in columns]),
        "## Making it again", "```yaml\n" + yaml.safe_dump(config, sort_keys=False, allow_unicode=True) + "```",
        f"Save this as `config.yaml` and run `pica run {recipe} --config config.yaml --out DIR` with pica "
        f"{manifest['versions']['pica']}. Each row names the calls that made it; `pica trace DIR ROW_ID` shows them.",
    ]
    return "\n\n".join(parts) + "\n"


def _models(roles: Sequence[Role]) -> list[str]:
    return ["## Models", table(["role", "model"], [[plain(role), code(name)] for role, name in roles]),
            "The text of these rows was written by the models above. Their licences and terms decide how the data may be "
            "used; check them before publishing."]


def _size(rows: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M")]
    return next((name for bound, name in bounds if rows < bound), "n>10M")
