"""The modules of a script of `scripts/`, importable as they are for the script itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType


@contextmanager
def module_of(script: Path, name: str) -> Iterator[ModuleType]:
    """The module `name` of the folder `script`; afterwards none of its modules is left."""
    before = set(sys.modules)
    sys.path.insert(0, str(script))
    try:
        yield import_module(name)
    finally:
        sys.path.remove(str(script))
        for loaded in set(sys.modules) - before:
            if getattr(sys.modules[loaded], "__file__", None) and str(script) in str(sys.modules[loaded].__file__):
                del sys.modules[loaded]
