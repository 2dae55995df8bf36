"""Scripted models, for tests and dry runs: `fake/NAME[?latency=0.05&error_500=0.02&...]`.

Names: `magpie` (instructions after a user header, answers elsewhere), `echo` (the prompt, or the last message),
`empty`, `fixed?text=...`, `nonsense` (no valid JSON, even where a schema asks for it), `hostile` (HTML, fences, prompt
injection, fake chat tokens), `guard` (safe or unsafe) and `judge?prefers=long|short|first|second|none|checklist|random`,
whose verdicts on answers follow a known taste (`pica.synth.models.fake_judge`; `noise=0.2` draws every fifth). The parameters
are those of `pica.synth.models.fake_faults.FaultOptions`, and `text`, `seed`, `prefers` and `noise`, which change what is
answered.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from urllib.parse import parse_qsl, urlencode

from pica.synth.errors import Malformed, RateLimited, ServerFault, Unreachable, UsageError
from pica.synth.models.base import Answer, Message, ModelConfig, Request
from pica.synth.models.fake_brain import BRAINS, Brain, answers, render, tokens_in
from pica.synth.models.fake_faults import FaultOptions, Faults
from pica.synth.models.fake_judge import PREFERENCES

Scripted = str | Answer
Script = Callable[[Request, int], Scripted | Awaitable[Scripted]]


class FakeModel:
    """A model that answers by a deterministic function, with faults on request. Implements `Model` and `Renders`."""

    slots: int | None = None

    def __init__(self, target: str, config: ModelConfig) -> None:
        """`target` is what follows `fake/`. Raises `UsageError` for an unknown name or parameter."""
        name, _, query = target.partition("?")
        values = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        if name not in BRAINS:
            near = get_close_matches(name, BRAINS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"unknown fake model {name!r}{hint} Known: {', '.join(BRAINS)}")
        written: dict[str, str] = {key: values.pop(key) for key in ("seed", "text", "prefers", "noise") if key in values}
        self.name = config.name
        self.brain = _brain(name, written, config.name)
        asked = f"?{urlencode(sorted(written.items()))}" if written else ""
        self.identity = config.identity or f"fake/{name}{asked}"
        self._faults = Faults(FaultOptions.parse(values, repr(config.name)))

    async def generate(self, request: Request) -> Sequence[Answer]:
        """`request.n` answers, after the latency and faults that the name asks for."""
        wait = self._faults.refused()
        if wait is not None:
            raise RateLimited(f"{self.name} refuses more than {self._faults.options.rate:g} calls a second",
                              retry_after=wait)
        kind = self._faults.kind()
        delay = self._faults.delay()
        if delay:
            await asyncio.sleep(delay)
        if kind:
            await self._fail(kind)
        if kind:
            return [Answer(model=f"fake/{self.brain.name}") for _ in range(request.n)]
        return answers(request, self.brain)

    async def _fail(self, kind: str) -> None:
        """Raise the error of a fault; `empty` returns, `hang` never does."""
        match kind:
            case "error_429":
                raise RateLimited(f"{self.name} refuses this call", retry_after=self._faults.options.retry_after)
            case "error_500":
                raise ServerFault(f"{self.name} answered 500")
            case "reset":
                raise Unreachable(f"{self.name} cut the connection")
            case "truncate" | "html" | "wrong_choices" | "malformed":
                raise Malformed(f"{self.name} answered with {kind.replace('_', ' ')}")
            case "hang":
                await asyncio.Event().wait()

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The messages in ChatML, without a default system block."""
        return render(messages, add_generation_prompt=add_generation_prompt)

    async def close(self) -> None:
        """Nothing is held."""


def _brain(name: str, written: Mapping[str, str], model: str) -> Brain:
    """The brain with these parameters. Raises `UsageError` for a bad one."""
    if name != "judge" and (alien := {"prefers", "noise"} & set(written)):
        raise UsageError(f"{min(alien)} in {model!r} is for fake/judge alone; leave it out")
    if not written.get("seed", "0").lstrip("-").isdigit():
        raise UsageError(f"seed={written['seed']!r} in {model!r} must be a whole number")
    brain = Brain(name, written.get("text", Brain.text), int(written.get("seed", 0)), written.get("prefers", Brain.prefers))
    if brain.prefers not in PREFERENCES:
        raise UsageError(f"prefers={brain.prefers!r} in {model!r} must be one of {', '.join(PREFERENCES)}")
    try:
        noise = float(written.get("noise", 0))
    except ValueError:
        noise = -1
    if not 0 <= noise <= 1:
        raise UsageError(f"noise={written['noise']!r} in {model!r} must be a share from 0 to 1")
    return replace(brain, noise=noise)


class ScriptedModel:
    """A model whose answers come from a function, for tests.

    `function(request, sample)` returns a text or an `Answer`, or raises; it may be a coroutine function. Requests seen
    are kept in `requests`, in the order in which they came.
    """

    slots: int | None = None

    def __init__(self, name: str, function: Script) -> None:
        """`name` is also the identity: two scripts that answer differently need different names."""
        self.name = self.identity = name
        self.requests: list[Request] = []
        self._function = function

    async def generate(self, request: Request) -> Sequence[Answer]:
        """What the function gives for each sample, in order."""
        self.requests.append(request)
        return [await self._one(request, sample) for sample in range(request.n)]

    async def _one(self, request: Request, sample: int) -> Answer:
        given = self._function(request, sample)
        written = await given if inspect.isawaitable(given) else given
        if isinstance(written, Answer):
            return written
        prompt = request.prompt if request.prompt else render(request.messages)
        return Answer(text=written, model=self.name, prompt_tokens=tokens_in(prompt),
                      completion_tokens=tokens_in(written))

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The messages in ChatML, without a default system block."""
        return render(messages, add_generation_prompt=add_generation_prompt)

    async def close(self) -> None:
        """Nothing is held."""
