"""A file server on loopback that can be told to misbehave, and a stand-in for the Hugging Face hub."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Answer:
    """How one request is dealt with; the default is a good server that knows ranges."""

    status: int = 200
    body: bytes | None = None  # in place of the file's
    headers: dict[str, str] = field(default_factory=dict)  # None as a value leaves a header out
    drop_after: int | None = None  # bytes of the body before the connection is closed
    stall_after: int | None = None  # bytes of the body before nothing more comes
    pause: float = 0.0  # seconds between pieces of 1000 bytes
    ranges: bool = True


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    if_range: str | None
    token: str | None = None


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Print nothing of clients that were killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class FileServer:
    """`files` by path; `script[path]` holds the answers to the next requests, then come good ones."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.hub: dict[str, str] = {}  # path of a file on the hub: where its bytes are
        self.script: dict[str, list[Answer]] = {}
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.http = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def gets(self, path: str) -> list[str | None]:
        """The ranges that were asked for, one a request, None for a whole file."""
        return [seen.range for seen in self.requests if seen.method == "GET" and seen.path == path]

    def publish(self, repo: str, content: bytes) -> str:
        """Put `model.safetensors` on the hub as a large file, behind a redirect; the path of its bytes."""
        digest = hashlib.sha256(content).hexdigest()
        place = f"/cdn/{digest}"
        self.files[place] = content
        for revision in ("main", COMMIT):
            self.hub[f"/{repo}/resolve/{revision}/model.safetensors"] = place
        return place

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, headers = handler.path, handler.headers
        asked = (headers["Range"], headers["If-Range"], headers["Authorization"])
        self.requests.append(Request(handler.command, path, *asked))
        script = self.script.get(path)
        how = script.pop(0) if script else Answer()
        if how.status == 200 and path in self.hub:
            how = self.redirect(self.hub[path], how)
        content = how.body if how.body is not None else self.files.get(path)
        if how.status == 200 and content is None:
            how, content = Answer(status=404), b""
        with contextlib.suppress(ConnectionError):  # a client that was killed
            self.send(handler, how, content or b"")

    def redirect(self, place: str, how: Answer) -> Answer:
        linked = {
            "Location": self.url.replace("127.0.0.1", "localhost") + place,  # another host, as the real one
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{place.rpartition("/")[2]}"',
            "X-Linked-Size": str(len(self.files[place])),
        }
        return Answer(status=302, headers=linked | how.headers)

    def send(self, handler: BaseHTTPRequestHandler, how: Answer, content: bytes) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        sent = {
            "Content-Type": "application/octet-stream",
            "ETag": etag,
            "Accept-Ranges": "bytes",
        } | how.headers
        status, body = how.status, content
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
        unchanged = handler.headers["If-Range"] in (None, sent.get("ETag"), sent.get("Last-Modified"))
        if status == 200 and how.ranges and wanted and unchanged:
            start, size = int(wanted[1]), len(content)
            status, body = (206, content[start:]) if start < size else (416, b"")
            reach = f"{start}-{size - 1}" if start < size else "*"
            sent["Content-Range"] = how.headers.get("Content-Range", f"bytes {reach}/{size}")
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | sent).items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            self.send_body(handler, how, body)

    def send_body(self, handler: BaseHTTPRequestHandler, how: Answer, body: bytes) -> None:
        end = how.drop_after if how.drop_after is not None else how.stall_after
        body, piece = body[:end], 1000 if how.pause else max(1, len(body))
        for start in range(0, len(body), piece):
            handler.wfile.write(body[start : start + piece])
            if how.pause:
                time.sleep(how.pause)
        if how.stall_after is not None:
            self.stopping.wait(20)
        if end is not None or how.headers.get("Content-Length", "") is None:
            handler.close_connection = True


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    server = FileServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
