"""A server of our own that misbehaves on purpose: not a fake of any real one.

    python odd_server.py MODE [PIDS] --port N …       every other flag is ignored

MODE: ok · lying (says that it is well, and answers 503) · silent (never answers a call) · refusing (400) · dying (ends
while it loads) · deaf (ignores SIGTERM) · fragile (is killed in its fifth call) · breeding (has a child in a session of
its own) · echoing (401, with the headers of the call) · dripping (a byte of its pages now and then). PIDS is a file to
which it appends its process ids.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE = sys.argv[1]
calls = 0
lock = threading.Lock()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        told = {
            "/health": {"status": "ok"},
            "/v1/models": {"data": [{"id": "odd"}]},
            "/props": {"build_info": "odd", "total_slots": 1, "model_path": "/models/odd.gguf"},
        }
        if MODE == "dripping":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b" ")
                time.sleep(0.2)
        if self.path in told:
            self.send(200, json.dumps(told[self.path]).encode())
        else:
            self.send(404, b'{"error": "no such page"}')

    def do_POST(self) -> None:
        global calls
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            calls += 1
            number = calls
        if MODE == "silent":
            time.sleep(3600)
        if MODE == "lying":
            self.send(503, b'{"error": {"message": "Loading model"}}')
            return
        if MODE == "echoing":
            print(self.headers, file=sys.stderr, flush=True)
            self.send(401, json.dumps({"error": {"message": f"no such key: {self.headers}"}}).encode())
            return
        if MODE == "refusing":
            self.send(400, b'{"error": {"message": "no chat template"}}')
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for index in range(asked["max_tokens"]):
            if MODE == "fragile" and number >= 5 and index == 2:
                print("out of memory", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            piece = {"choices": [{"index": 0, "delta": {"content": f" w{index}"}}]}
            self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.002)
        usage = {"prompt_tokens": 5, "completion_tokens": asked["max_tokens"]}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": usage}
        self.wfile.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    pids = [os.getpid()]
    if MODE == "breeding":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
        pids.append(child.pid)
    if len(sys.argv) > 2 and not sys.argv[2].startswith("-"):
        with open(sys.argv[2], "a", encoding="ascii") as file:
            file.writelines(f"{pid}\n" for pid in pids)
    if MODE == "dying":
        print("reading the model", file=sys.stderr)
        print("error: tensor 'output.weight' is \x1b[31mmissing\x1b[0m", file=sys.stderr, flush=True)
        sys.exit(3)
    if MODE == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()


if __name__ == "__main__":
    main()
