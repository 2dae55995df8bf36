"""Every error that Pica raises on purpose.

    PicaError                     its text is one line: the value, what is allowed, the mend
    +-- UsageError (ValueError)   a bad argument, key, config, template name: exit code 2
    +-- FolderError               an output folder in use, of another config, read-only, damaged
    +-- LedgerError               a ledger that is in use or damaged
    +-- Stopped                   a run that ended early on purpose
    |   +-- BudgetSpent           a cap was reached: exit code 3
    |   +-- Interrupted           Ctrl-C or SIGTERM: exit code 130
    |   +-- TooManyFailures       the error budget: nearly everything fails
    +-- ModelError                a call that brought no answer
        +-- RateLimited           429: the sender must slow down
        +-- ServerFault           5xx, 529: perhaps overload
        +-- TimedOut              no answer within the time limit
        +-- Unreachable           refused, reset, unknown host
        +-- Malformed             an answer that is none: HTML, cut JSON, wrong number of choices
        +-- BadRequest            this request can never succeed (4xx): the row fails, the run goes on
        +-- Denied                no request can ever succeed (key refused, unknown model): the run stops

`Reject` is not among them: it is how a recipe says that a row is not good enough.
"""

from __future__ import annotations

from typing import ClassVar


class PicaError(Exception):
    """Base of all errors raised on purpose. `str(error)` is one line that a user can act on."""


class UsageError(PicaError, ValueError):
    """Something the user wrote is wrong: names the value, what is allowed, and the mend."""


class FolderError(PicaError):
    """An output folder cannot be used as asked."""


class LedgerError(PicaError):
    """A ledger is in use by another process, or damaged."""


class Stopped(PicaError):
    """The run ended before its rows were made; what was answered is kept and the same command goes on."""


class BudgetSpent(Stopped):
    """The next call would pass a cap on calls, tokens, cost or seconds."""


class Interrupted(Stopped):
    """The user or the system asked the run to stop."""


class TooManyFailures(Stopped):
    """Nearly every row fails, so going on would only cost; the text shows the first failure."""


class ModelError(PicaError):
    """A call brought no answer.

    `retry`: the same request may succeed later. `overload`: a sign that fewer calls should be in flight.
    `fatal`: no other request to this model can succeed either. `retry_after`: seconds the server asked for, if it did.
    """

    retry: ClassVar[bool] = False
    overload: ClassVar[bool] = False
    fatal: ClassVar[bool] = False
    kind: ClassVar[str] = "model error"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(ModelError):
    """The server refused the call because too many come (429)."""

    retry, overload, kind = True, True, "rate limited"


class ServerFault(ModelError):
    """The server failed (5xx)."""

    retry, overload, kind = True, True, "server fault"


class TimedOut(ModelError):
    """No answer within the time limit."""

    retry, overload, kind = True, True, "timed out"


class Unreachable(ModelError):
    """The server could not be reached, or cut the connection."""

    retry, overload, kind = True, False, "unreachable"


class Malformed(ModelError):
    """The server answered with something that is no answer."""

    retry, kind = True, "malformed answer"


class BadRequest(ModelError):
    """The server (or engine) cannot serve this very request: too long, a parameter it does not know."""

    kind = "bad request"


class Denied(ModelError):
    """The server will not serve anything: the key is refused, the model is unknown."""

    fatal, kind = True, "denied"


class Reject(Exception):
    """Raised in a recipe's row function: this row is dropped, counted under `reason`, and kept in `rejected/`.

    `reason` is a short constant phrase (it is counted); `detail` may hold what is special about this row.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
