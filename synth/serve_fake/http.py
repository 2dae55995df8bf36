"""A small HTTP/1.1 server for `pica serve-fake`: one asyncio protocol, keep-alive, no routing, no streaming.

It exists because the fake server must be quick: clients are measured against it from one core. It reads a whole
request, asks a plain function for a `Reply`, and writes that at once or after its delay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import msgspec

LIMIT = 256 << 20  # bytes a request body may have: batch files are large


class Call(msgspec.Struct):
    """One HTTP request: method, path without query, lower-case head lines as bytes, body."""

    method: str
    path: str
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header as sent, or an empty string."""
        start = self.head.lower().find(f"\r\n{name.lower()}:".encode())
        if start < 0:
            return ""
        start += len(name) + 3
        end = self.head.find(b"\r\n", start)
        return self.head[start:end if end >= 0 else None].decode("latin-1").strip()


class Reply(msgspec.Struct):
    """What to write. `cut`: empty for a whole reply, `before` (a reset), `middle` (half of it), `never` (silence)."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0
    cut: str = ""
    done: Callable[[], None] | None = None


class Refusal(Exception):
    """A request that the API answers with an error."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.code = status, kind, code

    @property
    def body(self) -> bytes:
        """The error in OpenAI's shape."""
        return msgspec.json.encode({"error": {"message": str(self), "type": self.kind, "param": None,
                                              "code": self.code}})


Handler = Callable[[Call], Reply]
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "


class Connection(asyncio.Protocol):
    """One client connection; requests on it are answered one after another."""

    def __init__(self, handler: Handler, open_connections: set[Connection]) -> None:
        self._handler = handler
        self._all = open_connections
        self._buffer = b""
        self._waiting: asyncio.TimerHandle | None = None
        self._silent = False
        self._last = False
        self._pending: Reply | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and a reply that nobody waits for any more."""
        self._all.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()
        if self._pending is not None and self._pending.done is not None:
            self._pending.done()
        self._pending = None

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Collect bytes, and answer every whole request among them in turn."""
        self._buffer = self._buffer + data if self._buffer else data
        while self._pending is None and not self._silent and self._buffer:
            call = self._take()
            if call is None:
                return
            self._answer(call)

    def _take(self) -> Call | None:
        """The next whole request in the buffer, or None while it is incomplete."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = buffer[:end]
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length:")
        length = 0
        if at >= 0:
            stop = lower.find(b"\r\n", at + 17)
            digits = lower[at + 17:stop if stop >= 0 else None].strip()
            length = int(digits) if digits.isdigit() else LIMIT + 1
        if b"\r\ntransfer-encoding:" in lower or length > LIMIT:
            self._write(Reply(b'{"error":{"message":"send Content-Length, at most 256 MiB"}}', 411))
            self._transport.close()
            self._buffer = b""
            return None
        if len(buffer) < end + 4 + length:
            if b"\r\nexpect: 100-continue" in lower and len(buffer) == end + 4:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self._buffer = buffer[end + 4 + length:]
        self._last = b"\r\nconnection: close" in lower
        method, target = head.split(b" ", 2)[:2]
        path = target.partition(b"?")[0].decode("latin-1")
        return Call(method.decode("latin-1"), path, head, buffer[end + 4:end + 4 + length])

    def _answer(self, call: Call) -> None:
        reply = self._handler(call)
        self._pending = reply
        if reply.cut == "never":
            self._silent = True
        elif reply.delay > 0:
            self._waiting = self._loop.call_later(reply.delay, self._resume)
        else:
            self._flush()

    def _resume(self) -> None:
        self._waiting = None
        self._flush()
        self.data_received(b"")

    def _flush(self) -> None:
        reply, self._pending = self._pending, None
        assert reply is not None
        if reply.done is not None:
            reply.done()
        if not self._transport.is_closing():
            self._write(reply)

    def _write(self, reply: Reply) -> None:
        if reply.cut == "before":
            self._transport.abort()
            return
        body = reply.body
        if reply.status == 200 and reply.kind == "application/json" and not reply.headers:
            head = b"%s%d\r\n\r\n" % (_OK, len(body))
        else:
            lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}", f"Content-Type: {reply.kind}",
                     f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in reply.headers)]
            head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if reply.cut == "middle":
            self._transport.write(head + body[:len(body) // 2])
            self._transport.close()
        else:
            self._transport.write(head + body)
            if self._last:
                self._transport.close()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
