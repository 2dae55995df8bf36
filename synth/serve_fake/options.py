"""What `pica serve-fake` can be told: the brain, the faults, and what kind of server it plays."""

from __future__ import annotations

import argparse
from typing import Any, Literal

from pydantic import Field, ValidationError

from pica.synth.errors import UsageError
from pica.synth.models.fake_brain import BRAINS
from pica.synth.models.fake_faults import FaultOptions
from pica.synth.models.fake_judge import PREFERENCES


class ServeOptions(FaultOptions):
    """Options of the fake server: those of `FaultOptions`, and these."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(0, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    brain: str = Field("magpie", description="what answers: " + ", ".join(BRAINS))
    text: str = Field("A fixed answer.", description="the answer of --brain fixed")
    seed: int = Field(0, description="changes every answer")
    prefers: str = Field("long", description="what --brain judge prefers: " + ", ".join(PREFERENCES))
    noise: float = Field(0, ge=0, le=1, description="share of the verdicts of --brain judge that are drawn")
    key: str = Field("", description="API key that requests must bring; none is asked for by default")
    models: str = Field("", description="names served, separated by commas; any name by default")
    context: int = Field(0, ge=0, description="prompts of more tokens get 400; 0 is no limit")
    template: Literal["vllm", "llamacpp", "none"] = Field("vllm", description="whose chat template endpoints there are")
    batch_delay: float = Field(0.2, ge=0, description="seconds until a batch is done")
    batch_fail: float = Field(0, ge=0, le=1, description="share of a batch's requests that fail")
    batch_expire: float = Field(0, ge=0, le=1, description="share of a batch's requests that expire")
    batch_refuse: bool = Field(False, description="batches fail as a whole when they are checked")

    @property
    def names(self) -> tuple[str, ...]:
        """The models served; empty: any."""
        return tuple(name for name in self.models.split(",") if name)


def checked(options: ServeOptions) -> ServeOptions:
    """`options`, if they make sense together. Raises `UsageError`."""
    if options.brain not in BRAINS:
        raise UsageError(f"unknown brain {options.brain!r}; known: {', '.join(BRAINS)}")
    if options.prefers not in PREFERENCES:
        raise UsageError(f"unknown preference {options.prefers!r}; known: {', '.join(PREFERENCES)}")
    if options.total > 1:
        raise UsageError(f"the shares of faults add up to {options.total:g}; 1 is the most")
    return options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One option for every field of `ServeOptions`."""
    for name, field in ServeOptions.model_fields.items():
        option = "--" + name.replace("_", "-")
        if field.annotation is bool:
            parser.add_argument(option, action="store_true", help=field.description)
        else:
            shown = "0:0" if name == "stragglers" else field.default
            parser.add_argument(option, default=argparse.SUPPRESS, metavar="X",
                                help=f"{field.description} (default: {shown!r})".replace("%", "%%"))


def from_arguments(args: argparse.Namespace) -> ServeOptions:
    """The options that a parsed command line names. Raises `UsageError` for a bad value."""
    given: dict[str, Any] = {name: value for name, value in vars(args).items() if name in ServeOptions.model_fields}
    try:
        return checked(ServeOptions.model_validate(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(f"--{name.replace('_', '-')} {given[name]!r}: {first['msg']}; it is the "
                         f"{ServeOptions.model_fields[name].description}") from None
