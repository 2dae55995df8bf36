"""A hub in a few lines: repositories of datasets, each one commit of files, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Files = Mapping[str, bytes]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: Mapping[str, Files | int]  # files by path, or the status with which it is refused

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.posted = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def _answer(self, *, body: bool = True) -> None:
        status, headers, data = self._found(unquote(urlsplit(self.path).path).strip("/").split("/"))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _found(self, parts: list[str]) -> tuple[int, dict[str, str], bytes]:
        if "datasets" not in parts:
            return 404, {}, b"{}"
        name = "/".join(parts[parts.index("datasets") + 1:][:2])
        repository = self.repositories.get(name, 404)
        if isinstance(repository, int):
            code = {403: "GatedRepo", 404: "RepoNotFound"}.get(repository)
            return repository, {"X-Error-Code": code} if code else {}, b"{}"
        rest = parts[parts.index("datasets") + 3:]
        if rest[:1] == ["resolve"]:
            return self._file(repository, "/".join(rest[2:]))
        if len(rest) > 1 and rest[1] not in {COMMIT, "main"}:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(self._about(name, repository, rest)).encode()

    def _about(self, name: str, files: Files, rest: list[str]) -> object:
        entries = {path: {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                   for path, data in files.items()}
        folders = {path.rpartition("/")[0] for path in files} - {""}
        entries |= {path: {"type": "directory", "path": path, "oid": "0" * 40} for path in folders}
        if rest[:1] == ["tree"]:
            deep = "recursive=true" in self.path.lower()
            return [entry for path, entry in entries.items() if path.rpartition("/")[0] == "/".join(rest[2:]) or deep]
        if rest[:1] == ["paths-info"]:
            return [entry for path, entry in entries.items() if path.encode() in unquote(self.posted.decode()).encode()]
        return {"id": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0,
                "siblings": [{"rfilename": path} for path in files]}

    def _file(self, files: Files, path: str) -> tuple[int, dict[str, str], bytes]:
        if path not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"{}"
        etag = hashlib.sha1(files[path]).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}, files[path]


@contextmanager
def fake_hub(repositories: Mapping[str, Files | int]) -> Iterator[str]:
    """Serve these repositories; the address for HF_ENDPOINT."""
    handler = type("Handler", (_Handler,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
