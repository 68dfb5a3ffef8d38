"""A real HTTP server that speaks OpenAI's chat completions, with answers that a test gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]  # status, JSON body; status 0 hangs up


class ChatServer:
    """Answers requests by ``reply(body)``; keeps them in ``asked``."""

    def __init__(self, reply: Callable[[dict[str, Any]], Reply]) -> None:
        self.reply, self.asked = reply, list[dict[str, Any]]()
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send(200, {"data": [{"id": "model-of-the-test", "created": 7}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.asked.append(body)
                    status, answer = outer.reply(body)
                if status:
                    self.send(status, answer)

            def send(self, status: int, answer: Any) -> None:
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # hung up
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


def message(text: str | None, **more: Any) -> Reply:
    """A completion with one message."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": text} | more}]}


@contextmanager
def chat_server(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[ChatServer]:
    """A server that runs while the context is open."""
    made = ChatServer(reply)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
