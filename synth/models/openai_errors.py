"""HTTP answers that are errors, as Pica's own errors: what each status means, and how long to wait.

Sources: OpenAI's and Azure's documented error codes and rate-limit headers, RFC 9110 for `Retry-After`, and what vLLM
and llama.cpp answer.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import orjson

from pica.synth.errors import BadRequest, Denied, Malformed, ModelError, RateLimited, ServerFault, TimedOut

Redact = Callable[[str], str]


class Source(NamedTuple):
    """Where an answer came from: the URL, the environment variable that holds the key, and what hides the key."""

    url: str
    variable: str
    redact: Redact


#: Codes of a 429 that no waiting will cure.
SPENT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated")
#: Statuses that tell the sender to come again.
PASSING: dict[int, type[ModelError]] = {408: TimedOut, 409: ServerFault, 425: ServerFault, 429: RateLimited}
#: Statuses that no other request to this server will be spared, and the mend.
FATAL = {401: "set the environment variable {variable} to a key that this server accepts",
         403: "set the environment variable {variable} to a key that this server accepts",
         402: "the server wants payment",
         501: "this server does not offer it",
         404: "check the URL (most end in /v1) and the model's name",
         405: "check the URL (most end in /v1)"}
SHOWN = 300  # characters of a server's message that an error repeats
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def one_line(text: str, limit: int = SHOWN) -> str:
    """`text` without control characters and line breaks, cut to `limit` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text[:limit * 4]).split())
    return flat if len(flat) <= limit else flat[:limit] + "..."


def message_of(raw: bytes) -> tuple[str, str]:
    """The message and the code in an error's body, whatever its shape; the raw text where there is no message."""
    text = raw.decode("utf-8", "replace")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return text, ""
    found = body.get("error", body) if isinstance(body, dict) else text
    if isinstance(found, dict):
        message = found.get("message") or found.get("detail") or text
        code = found.get("code") or found.get("type") or ""
        return (message if isinstance(message, str) else str(message)), str(code)
    return str(found), ""


def error_of(source: Source, status: int, headers: Mapping[str, str], raw: bytes) -> ModelError:
    """The error for an HTTP status other than 200."""
    message, code = message_of(raw)
    said = one_line(source.redact(message))  # redacted before the cut, so that no part of a key is left
    what = f"{source.url} answered {status}" + (f": {said}" if said else "")
    if status == 429 and (code in SPENT or any(word in message for word in SPENT)):
        return Denied(f"{what}; the account has no quota left: add credit, or set {source.variable} to another key")
    if 300 <= status < 400:
        where = one_line(source.redact(headers.get("Location", "elsewhere")))
        return Denied(f"{source.url} redirects ({status}) to {where}, which is not followed; name that URL instead")
    if status in FATAL:
        return Denied(f"{what}; {FATAL[status].format(variable=source.variable)}")
    if status < 300:
        return Malformed(f"{source.url} answered with status {status} instead of 200")
    kind = ServerFault if status >= 500 else PASSING.get(status, BadRequest)
    return kind(what, retry_after=retry_after(headers))


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that the server asks to wait, from whichever header says so; None where none does.

    `retry-after-ms`, `Retry-After` (seconds or an HTTP date), then `x-ratelimit-reset-*` (such as `6m0s`) of the limits
    that are used up, then `x-ratelimit-reset` (seconds, or a Unix time).
    """
    now = time.time() if now is None else now
    exact = _seconds(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / 1000
    plain = headers.get("Retry-After", "")
    if plain:
        return _seconds(plain) if _seconds(plain) is not None else _until(plain, now)
    resets = [wait for kind in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{kind}", "0") == "0"
              and (wait := _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))) is not None]
    if resets:
        return max(resets)
    reset = _seconds(headers.get("x-ratelimit-reset", ""))
    return None if reset is None else max(0.0, reset - now) if reset > 1e9 else reset


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _until(date: str, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except ValueError:
        return None


def _duration(text: str) -> float | None:
    """Seconds in a duration such as `1h2m3.5s` or `120ms`; a bare number is seconds."""
    found = _DURATION.findall(text)
    return sum(float(number) * _UNITS[unit] for number, unit in found) if found else _seconds(text)


def malformed(source: Source, kind: str, raw: bytes) -> Malformed:
    """The error for a body that is no JSON object."""
    shown = one_line(source.redact(raw.decode("utf-8", "replace")), 80)
    advice = "; is this an API server's URL?" if "html" in kind.lower() else ""
    return Malformed(f"{source.url} answered with {kind or 'no content type'}, {len(raw)} bytes, that is no JSON "
                     f"object: {shown!r}{advice}")
