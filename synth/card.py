"""The dataset card: README.md with the hub's YAML header."""

from __future__ import annotations

from typing import Any

import yaml

from pica.synth.rows import Column


def dataset_card(recipe: str, text: str, manifest: dict[str, Any], columns: list[Column]) -> str:
    """The card's Markdown. `text` is what the recipe says of its data; the rest comes from the manifest."""
    rows, config = manifest["rows"], manifest["config"]
    names = {name: value["name"] for name, value in config.items() if isinstance(value, dict) and "api_key_env" in value}
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
        "## Rows", _table(["", "rows"], [["made", f"{rows['in']:,}"], ["accepted", f"{rows['out']:,}"],
                                         *([f"rejected: {_cell(reason)}", f"{number:,}"]
                                           for reason, number in rows["rejected"].items())]),
        "Rejected rows are in `rejected/`, each with its reason.",
        "## Models", _table(["role", "model"], [[role, f"`{_cell(name)}`"] for role, name in names.items()]),
        "The text of these rows was written by the models above. Their licences and terms decide how the data may be "
        "used; check them before publishing.",
        "## Columns", _table(["column", "meaning"], [[f"`{column.name}`", column.description] for column in columns]),
        "## Making it again", "```yaml\n" + yaml.safe_dump(config, sort_keys=False, allow_unicode=True) + "```",
        f"Save this as `config.yaml` and run `pica run {recipe} --config config.yaml --out DIR` with pica "
        f"{manifest['versions']['pica']}. Each row names the calls that made it; `pica trace DIR ROW_ID` shows them.",
    ]
    return "\n\n".join(parts) + "\n"


def _size(rows: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M")]
    return next((name for bound, name in bounds if rows < bound), "n>10M")


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("`", "'")
