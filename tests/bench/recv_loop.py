"""The same as recv_loop.c where there is no C compiler: recv_loop.py HOST PORT STREAMS TOKENS MODEL."""

import json
import re
import resource
import selectors
import socket
import sys
import time


def main(host: str, port: int, streams: int, tokens: int, model: str) -> None:
    asked = {"model": model, "stream": True, "max_tokens": tokens, "stream_options": {"include_usage": True}}
    body = json.dumps({**asked, "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    selector = selectors.DefaultSelector()
    for _ in range(streams):
        opened = socket.create_connection((host, port))
        opened.sendall(request)
        selector.register(opened, selectors.EVENT_READ)
    before = resource.getrusage(resource.RUSAGE_SELF)
    size = reads = 0
    late = []
    while selector.get_map():
        for key, _ in selector.select(30):
            got = key.fileobj.recv(65536)  # type: ignore[union-attr]
            now = time.perf_counter_ns()
            late += [now - int(sent) for sent in re.findall(rb'"sent_ns":(\d+)', got)]
            size += len(got)
            reads += bool(got)
            if not got:
                selector.unregister(key.fileobj)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    late.sort()
    print(size, reads, f"{cpu:.6f}", late[len(late) // 2], late[len(late) * 99 // 100])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
