"""Why a campaign stopped, in one line."""

from __future__ import annotations

import os
import re

from pica.recipes.flywheel.config import FlywheelConfig
from pica.synth.errors import PicaError
from pica.synth.models.openai_errors import one_line

#: names of environment variables that hold secrets
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS", re.IGNORECASE)
SHORTEST = 8  # characters of a secret; what is shorter would be found in any text


def reason_of(error: Exception, config: FlywheelConfig) -> str:
    """An error that was raised on purpose says it itself. Of any other: its type and text, without secrets of the environment."""
    if isinstance(error, PicaError):
        return str(error)
    text, named = str(error), {model.api_key_env for model in config.models_by_role().values()}
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and (name in named or _SECRET.search(name)):
            text = text.replace(value, f"[{name}]")
    return f"{type(error).__name__}{f': {one_line(text)}' if text.strip() else ''}; what is done is kept"
