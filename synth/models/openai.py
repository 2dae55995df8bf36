"""Any server that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp, a hosted API.

    openai/NAME                      the server of OPENAI_BASE_URL, else api.openai.com
    openai/NAME@URL                  a server of your own: openai/Qwen/Qwen3-8B@http://localhost:8000/v1
    openai/NAME@URL1|URL2            several servers with the same model

The key comes from OPENAI_API_KEY, or from the variable that `api_key_env` names. `extra` is merged into every body.
Rewards (`score`) come from vLLM's `/pooling`; `logprobs` needs a server that echoes the prompt, as vLLM does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from pica.synth.errors import BadRequest, Denied, Malformed, ModelError, ServerFault, TimedOut, Unreachable, UsageError
from pica.synth.models import openai_wire as wire
from pica.synth.models.base import Answer, Message, ModelConfig, Request
from pica.synth.models.openai_errors import Source, error_of, malformed, message_of, one_line
from pica.synth.models.pool import Place, Pool

if TYPE_CHECKING:
    from pica.synth.models.openai_batch import BatchSender

DEFAULT_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 30.0
LARGE_BODY = 1 << 20  # bytes
KEEP_ALIVE_SECONDS = 4.0  # less than the 5 seconds after which uvicorn, and so vLLM, drops an idle connection
#: Keys of `extra` that steer the batch mode and are not sent.
BATCH_KEYS = ("batch_state", "batch_window", "batch_poll")
#: Body fields that the request itself decides.
RESERVED = ("model", "prompt", "messages", "input", "n", "seed", "stream")
_USER = re.compile(r"@(?=https?://)")
_HOSTLIKE = re.compile(r"@(localhost|[\w.-]+:\d+|\d+(\.\d+){3})")


class Server(Place):
    """One server: its base URL without a slash at the end, and the URLs of its endpoints."""

    __slots__ = ("_urls", "base", "host", "proxy", "root")

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in url:
            raise UsageError(f"server {_bare(url)!r} is no URL; write it like http://localhost:8000/v1")
        if parts.username or parts.query or parts.fragment:
            raise UsageError(f"server {_bare(url)!r} has a user name, query or fragment; put the key in the "
                             "environment and further fields in `extra`")
        path = parts.path.rstrip("/") or "/v1"
        self.root = f"{parts.scheme}://{parts.netloc}{path.removesuffix('/v1')}"
        self.base = f"{parts.scheme}://{parts.netloc}{path}"
        self.host = parts.hostname
        self.proxy = _proxy(parts.scheme, parts.hostname)
        self._urls: dict[str, URL] = {}

    def url(self, path: str) -> URL:
        """The URL of an endpoint; those that are not OpenAI's own lie beside `/v1`, not below it."""
        found = self._urls.get(path)
        if found is None:
            beside = path in ("/pooling", "/tokenize", "/detokenize", "/apply-template")
            found = self._urls[path] = URL((self.root if beside else self.base) + path)
        return found


class OpenAIModel:
    """A model behind one or more OpenAI-compatible servers. Implements `Model` and `Renders`."""

    slots: int | None = None

    def __init__(self, target: str, config: ModelConfig) -> None:
        """`target` is `NAME`, `NAME@URL` or `NAME@URL|URL`. Raises `UsageError` for a bad URL or `extra`."""
        self.model, *urls = _USER.split(target, maxsplit=1)
        if not self.model:
            raise UsageError(f"{_bare(config.name)!r} names no model; write openai/NAME@URL")
        if not urls and _HOSTLIKE.search(self.model):
            raise UsageError(f"the server in {_bare(config.name)!r} needs http:// or https:// in front")
        written = urls[0].split("|") if urls else [os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL]
        servers = list({server.base: server for server in map(Server, written)}.values())
        for key in RESERVED:
            if key in config.extra:
                raise UsageError(f"extra.{key} is set by each request and cannot be fixed; remove it from `extra`")
        self.config = config
        self.name = config.name
        self.variable = config.api_key_env or "OPENAI_API_KEY"
        self._extra = {key: value for key, value in config.extra.items() if key not in BATCH_KEYS}
        self.identity = config.identity or _identity(self.model, servers[0], config.revision, self._extra)
        self._pool = Pool(servers)
        self._dialect = wire.dialect_of(servers[0].host, self.model)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._key = ""
        self._batch: BatchSender | None = None

    def __repr__(self) -> str:
        return f"OpenAIModel({self.name!r})"

    async def generate(self, request: Request) -> Sequence[Answer]:
        """`request.n` answers from the first server that can. Raises a `ModelError`; see `pica.synth.errors`."""
        body = wire.encode(request, self.model, self._dialect, self._extra)
        path = wire.PATHS[request.task]
        if self.config.batch and request.task in ("complete", "chat", "embed"):
            data = await self._batch_sender().answer(path, body)
            if data is not None:
                return wire.answers(request, data, self._pool.places[0].base + path)
        server, data = await self._ask(path, body)
        return wire.answers(request, data, str(server.url(path)))

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The text that the server's chat template makes of `messages`, special tokens included.

        From llama.cpp's `/apply-template`, else from vLLM's `/tokenize` and `/detokenize`. Raises `BadRequest` where
        the server has neither.
        """
        asked = {"messages": tuple(messages), "add_generation_prompt": add_generation_prompt}
        try:
            applied = await self._raw("/apply-template", asked)
            return str(applied["prompt"])
        except (Denied, BadRequest, KeyError):
            pass
        try:
            tokens = (await self._raw("/tokenize", {"model": self.model, **asked}))["tokens"]
            return str((await self._raw("/detokenize", {"model": self.model, "tokens": tokens}))["prompt"])
        except (Denied, BadRequest, KeyError) as error:
            raise BadRequest(f"{self._pool.places[0].root} shows no chat template by /apply-template or /tokenize "
                             f"({one_line(str(error), 120)}); name a template or a tokenizer folder") from None

    async def close(self) -> None:
        """Close the connections. The model can be used again."""
        batch, self._batch = self._batch, None
        session, self._session = self._session, None
        if batch is not None:
            await batch.close()
        if session is not None:
            await session.close()

    async def _raw(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            sent = orjson.dumps(body)
        except TypeError as error:
            raise BadRequest(f"the request cannot be written as JSON: {error}") from None
        return (await self._ask(path, sent))[1]

    async def _ask(self, path: str, body: bytes) -> tuple[Server, dict[str, Any]]:
        """The decoded answer and who gave it; every server of the pool is tried once."""
        pool = self._pool
        tried: list[Server] = []
        failures: list[ModelError] = []
        while (server := pool.pick(tried)) is not None:
            server.in_flight += 1
            server.served += 1
            try:
                data = await self._post(server, path, body)
            except (Unreachable, ServerFault) as error:
                pool.failed(server, error.retry_after)
                tried.append(server)
                failures.append(error)
            else:
                if server.failures:
                    pool.succeeded(server)
                return server, data
            finally:
                server.in_flight -= 1
        raise _all_failed(failures)

    async def _post(self, server: Server, path: str, body: bytes) -> dict[str, Any]:
        """One call to one server. Raises a `ModelError`."""
        session = self._open()
        url = server.url(path)
        try:
            data = body if len(body) < LARGE_BODY else io.BytesIO(body)  # aiohttp sends the latter in pieces
            async with session.post(url, data=data, allow_redirects=False, proxy=server.proxy) as reply:
                raw = await reply.read()
        except aiohttp.ConnectionTimeoutError:
            raise Unreachable(f"{url} took no connection in {CONNECT_SECONDS:g} s; check the host and port") from None
        except TimeoutError:
            raise TimedOut(f"no answer from {url} within {self.config.timeout:g} s; raise `timeout`, or ask for fewer "
                           "tokens") from None
        except aiohttp.ClientPayloadError:
            raise Unreachable(f"{url} cut the connection in the middle of its answer") from None
        except aiohttp.ClientResponseError as error:
            raise Malformed(f"{url} does not speak HTTP: {one_line(self._redact(error.message), 160)!a}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(url, error) from None
        if reply.status != 200:
            raise await self._refusal(server, url, reply, raw)
        try:
            found = wire.decode(raw)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise malformed(self._source(url), reply.headers.get("Content-Type", ""), raw)
        if found.get("error") and "choices" not in found and "data" not in found:
            raise error_of(self._source(url), _status_in(found), reply.headers, raw)
        return found

    async def _refusal(self, server: Server, url: URL, reply: aiohttp.ClientResponse, raw: bytes) -> ModelError:
        error = error_of(self._source(url), reply.status, reply.headers, raw)
        if reply.status == 404 and "model" in message_of(raw)[0].lower():
            names = await self._served(server)
            if names and self.model not in names:
                return Denied(f"{server.base} does not serve {self.model!r}; it serves: {', '.join(names)}")
        return error

    async def _served(self, server: Server) -> list[str]:
        """The names that `/models` lists, at most 20; none if the server does not say so within two seconds."""
        try:
            async with self._open().get(server.url("/models"), allow_redirects=False, proxy=server.proxy,
                                        timeout=aiohttp.ClientTimeout(total=2)) as reply:
                listed = wire.decode(await reply.read())
            return [one_line(self._redact(str(model["id"])), 100) for model in listed["data"][:20]]
        except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError):
            return []

    def _open(self) -> aiohttp.ClientSession:
        """The session of the running loop. Raises `Denied` where a key is needed or unusable."""
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is loop:
            return self._session
        if self._session is not None and self._session.connector is not None:
            with contextlib.suppress(RuntimeError):  # the loop that it lived in is closed
                self._session.connector.close()
        self._key = self._read_key()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "pica"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        timeout = aiohttp.ClientTimeout(total=self.config.timeout, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS), headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout)
        self._loop = loop
        return self._session

    def _read_key(self) -> str:
        key = os.environ.get(self.variable, "").strip()
        if not key and (self.config.api_key_env or self._dialect != wire.Dialect()):
            raise Denied(f"the environment variable {self.variable} holds no key for {self._pool.places[0].base}; "
                         "set it to one")
        if any(not 32 < ord(c) < 127 for c in key):
            raise Denied(f"the key in the environment variable {self.variable} holds a space, a line break or a "
                         "character that is not ASCII; set it to the key alone")
        return key

    def _source(self, url: URL | str) -> Source:
        return Source(str(url), self.variable, self._redact)

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _unreachable(self, url: URL, error: Exception) -> Unreachable:
        number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
        if number in (errno.EMFILE, errno.ENFILE):
            return Unreachable(f"cannot open a connection to {url}: too many open files; lower `concurrency`, or raise "
                               "`ulimit -n`")
        reason = one_line(self._redact(str(error) or type(error).__name__), 160)
        return Unreachable(f"{url} cannot be reached ({reason}); is the server running, and is the URL right?")

    def _batch_sender(self) -> BatchSender:
        if self._batch is None:
            from pica.synth.models.openai_batch import BatchSender
            self._key = self._read_key()
            self._batch = BatchSender(self._source(self._pool.places[0].base), self._key, self.config.extra)
        return self._batch


def _identity(model: str, server: Server, revision: str, extra: Mapping[str, Any]) -> str:
    """Name, first server and revision; with `extra` a digest of it, since it changes what is answered."""
    digest = hashlib.sha256(orjson.dumps(extra, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12] if extra else ""
    return f"openai/{model}@{server.base}" + (f"@{revision}" if revision else "") + (f"+{digest}" if digest else "")


def _bare(text: str) -> str:
    """`text` without the user name, password and query that a URL in it may carry."""
    return re.sub(r"[?#][^|]*", "", re.sub(r"(https?://|@(?!https?://))[^/|]*@(?!https?://)", r"\1", text))


def _proxy(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a server, looked up once; none for this machine itself."""
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return getproxies().get(scheme)


def _status_in(data: Mapping[str, Any]) -> int:
    """The status in an error that came with HTTP 200, as some gateways do; 500 where it has none."""
    code = data["error"].get("code") if isinstance(data["error"], dict) else None
    return int(code) if isinstance(code, int) and 400 <= code < 600 else 500


def _all_failed(failures: Sequence[ModelError]) -> ModelError:
    """The only failure, or one error that names them all."""
    if len(failures) == 1:
        return failures[0]
    said = "; ".join(one_line(str(error), 200) for error in failures)
    waits = [error.retry_after for error in failures if error.retry_after is not None]
    kind = ServerFault if any(isinstance(error, ServerFault) for error in failures) else Unreachable
    return kind(f"all {len(failures)} servers failed: {said}", retry_after=min(waits) if waits else None)
