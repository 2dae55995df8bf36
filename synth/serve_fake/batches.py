"""The fake server's Files and Batches endpoints. A batch is worked out when somebody looks after its delay."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import orjson

from pica.synth.serve_fake.http import Call, Refusal, Reply
from pica.synth.serve_fake.options import ServeOptions

Json = dict[str, Any]
Completed = Callable[[str, Json], Json]


class Batches:
    """Files and batches in memory. `completed(path, body)` answers one request of a batch."""

    def __init__(self, options: ServeOptions, completed: Completed) -> None:
        self._options = options
        self._completed = completed
        self._files: dict[str, tuple[Json, bytes]] = {}
        self._batches: dict[str, Json] = {}
        self._rng = random.Random(options.fault_seed)

    def handle(self, call: Call) -> Reply | None:
        """The reply to a call below `/v1/files` or `/v1/batches`; None where there is no such thing."""
        parts = call.path.removeprefix("/v1/").split("/")
        found: Json | bytes | None
        match call.method, parts:
            case "POST", ["files"]:
                found = self._upload(call)
            case "POST", ["batches"]:
                found = self._create(orjson.loads(call.body))
            case "GET", ["files" | "batches"]:
                rows = [f for f, _ in self._files.values()] if parts[0] == "files" else list(self._batches.values())
                found = {"object": "list", "data": rows, "has_more": False}
            case "GET", ["files", name] if name in self._files:
                found = self._files[name][0]
            case "GET", ["files", name, "content"] if name in self._files:
                found = self._files[name][1]
            case "DELETE", ["files", name] if name in self._files:
                del self._files[name]
                found = {"id": name, "object": "file", "deleted": True}
            case "GET", ["batches", name] if name in self._batches:
                found = self._advance(self._batches[name])
            case "POST", ["batches", name, "cancel"] if name in self._batches:
                found = self._batches[name]
                found["status"] = "cancelled"
            case _:
                return None
        return Reply(found, kind="application/octet-stream") if isinstance(found, bytes) else Reply(orjson.dumps(found))

    def created(self) -> list[Json]:
        """All batches, in the order of their creation."""
        return list(self._batches.values())

    def _store(self, content: bytes, purpose: str, filename: str) -> Json:
        name = f"file-{len(self._files) + 1}-{len(content)}"
        shown = {"id": name, "object": "file", "bytes": len(content), "created_at": int(time.time()),
                 "filename": filename, "purpose": purpose, "status": "processed"}
        self._files[name] = (shown, content)
        return shown

    def _upload(self, call: Call) -> Json:
        boundary = call.header("content-type").partition("boundary=")[2].strip('"').encode()
        fields: dict[str, bytes] = {}
        for part in call.body.split(b"--" + boundary)[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            field = head.partition(b'name="')[2].partition(b'"')[0].decode()
            fields[field] = content.removesuffix(b"\r\n")
        return self._store(fields["file"], fields.get("purpose", b"batch").decode(), "batch.jsonl")

    def _create(self, body: Json) -> Json:
        now = int(time.time())
        name = f"batch_{len(self._batches) + 1}"
        lines = self._files[body["input_file_id"]][1].splitlines()
        batch = {"id": name, "object": "batch", "endpoint": body["endpoint"], "errors": None, "status": "in_progress",
                 "input_file_id": body["input_file_id"], "completion_window": body["completion_window"],
                 "output_file_id": None, "error_file_id": None, "created_at": now, "expires_at": now + 86400,
                 "metadata": body.get("metadata"), "ready": time.monotonic() + self._options.batch_delay,
                 "request_counts": {"total": len(lines), "completed": 0, "failed": 0}}
        if self._options.batch_refuse:
            batch |= {"status": "failed", "errors": {"object": "list", "data": [
                {"code": "invalid_json_line", "message": "This line is not parseable.", "line": 1, "param": None}]}}
        self._batches[name] = batch
        return batch

    def _advance(self, batch: Json) -> Json:
        if batch["status"] != "in_progress" or time.monotonic() < batch["ready"]:
            return batch
        done: list[Json] = []
        failed: list[Json] = []
        for line in self._files[batch["input_file_id"]][1].splitlines():
            asked = orjson.loads(line)
            result, good = self._work(asked)
            (done if good else failed).append({"id": f"req-{asked['custom_id']}", "custom_id": asked["custom_id"],
                                               **result})
        self._rng.shuffle(done)
        for key, rows in (("output_file_id", done), ("error_file_id", failed)):
            if rows:
                batch[key] = self._store(b"\n".join(map(orjson.dumps, rows)), "batch_output", f"{key}.jsonl")["id"]
        expired = any((row["error"] or {}).get("code") == "batch_expired" for row in failed)
        batch["status"] = "expired" if expired else "completed"
        batch["request_counts"] |= {"completed": len(done), "failed": len(failed)}
        return batch

    def _work(self, asked: Json) -> tuple[Json, bool]:
        """One request of a batch: its result, and whether it is an answer."""
        draw = self._rng.random()
        if draw < self._options.batch_expire:
            return {"response": None, "error": {"code": "batch_expired", "message": "Not executed in time."}}, False
        if draw < self._options.batch_expire + self._options.batch_fail:
            body: Json = {"error": {"message": "The server had an error.", "type": "server_error"}}
            return {"response": {"status_code": 500, "request_id": "r", "body": body}, "error": None}, False
        status = 200
        try:
            body = self._completed(asked["url"], asked["body"])
        except Refusal as refusal:
            status, body = refusal.status, orjson.loads(refusal.body)
        return {"response": {"status_code": status, "request_id": "r", "body": body}, "error": None}, status == 200
