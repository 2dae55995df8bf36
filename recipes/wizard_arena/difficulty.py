"""How hard a prompt is, from 0 to 10, by a judge: a prompt, a schema, and no rating where none can be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pica.recipes.wizard_arena.config import WizardArenaConfig
from pica.synth.errors import Reject, UsageError
from pica.synth.models.base import Message, conversation_text
from pica.synth.plan import Step
from pica.synth.prompts import Prompt, TooLong
from pica.synth.rewards.judge import fences, grade
from pica.synth.run import Draft
from pica.synth.structured import Unparsed

#: Least and greatest difficulty.
SCALE: Final = (0, 10)
UNSCORED, TOO_LONG = "difficulty unscored", "too long for the judge"
SCHEMA: Final[dict[str, Any]] = {
    "type": "object", "additionalProperties": False, "required": ["reason", "difficulty"],
    "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 240},
                   "difficulty": {"type": "integer", "minimum": SCALE[0], "maximum": SCALE[1]}}}
_OWN = Path(__file__).parent / "prompts" / "difficulty.txt"


class Rater:
    """Asks the judge of a config. Raises `UsageError` for a prompt file that has not the one slot `{{request:fenced}}`."""

    def __init__(self, config: WizardArenaConfig) -> None:
        assert config.judge is not None
        self.config, self.model = config, config.judge
        self.prompt = Prompt.load(Path(config.judge_prompt).expanduser() if config.judge_prompt else _OWN)
        if set(self.prompt.slots) != {"request"} or not fences(self.prompt, "request"):
            raise UsageError(f"judge_prompt {config.judge_prompt} must hold {{{{request:fenced}}}} and no other slot, and that "
                             "text nowhere outside of a fence")

    @property
    def name(self) -> str:
        """The judge and its scale."""
        return f"{self.model.name} ({SCALE[0]} to {SCALE[1]})"

    async def rate(self, draft: Draft, conversation: Sequence[Message]) -> tuple[int, str]:
        """(difficulty, why). Raises `Reject` where the judge gave none that can be read."""
        try:
            prompt = self.prompt.fill(request=conversation_text(conversation))
        except TooLong as error:
            raise Reject(TOO_LONG, str(error)) from None
        try:
            found = await grade(draft, "difficulty", self.model, prompt, SCHEMA, tries=self.config.tries,
                                max_tokens=self.config.judge_tokens)
        except Unparsed as error:
            raise Reject(UNSCORED, str(error)) from None
        return found["difficulty"], found["reason"]

    def plan(self) -> list[Step]:
        """One call a candidate."""
        return [Step("difficulty", self.model, 1, 550, min(self.config.judge_tokens, 60))]

    def describe(self) -> dict[str, Any]:
        """The judge and its prompt's content hash."""
        return {"judge": self.model.name, "prompt_hash": self.prompt.hash}
