"""What to make: one folder a recipe, each with a `config.py` whose `CONFIG` is the config class and a `recipe.py`
whose `RECIPE` is the recipe class.

`pica recipes` lists them. Adding a recipe is adding a folder.
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError

HERE = Path(__file__).parent


def names() -> list[str]:
    """The recipes there are, as the command line calls them."""
    return sorted(path.parent.name.replace("_", "-") for path in HERE.glob("*/recipe.py"))


def load(name: str) -> Any:
    """The class of recipe `name`. Raises `UsageError` when there is none."""
    return _module(name, "recipe").RECIPE


def config_class(name: str) -> Any:
    """The config class of recipe `name`, without loading the recipe. Raises `UsageError` when there is none."""
    return _module(name, "config").CONFIG


def _module(name: str, part: str) -> Any:
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        raise UsageError(f"unknown recipe {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} "
                         f"Known: {', '.join(names())}")
    return importlib.import_module(f"pica.recipes.{name.replace('-', '_')}.{part}")


def config_file(recipe: str, name: str) -> Path:
    """A config file by path, or by the name of one that is shipped with the recipe."""
    shipped = HERE / recipe.replace("-", "_") / "configs" / f"{name}.yaml"
    return shipped if shipped.is_file() and not Path(name).is_file() else Path(name)
