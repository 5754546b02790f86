"""Sends prepared requests on few connections, as fast as the server responds."""

import contextlib
import selectors
import shutil
import socket
import tempfile
import time
from pathlib import Path

from harness.redis import Redis

SECONDS, WARM_UP = 6, 1.5


@contextlib.contextmanager
def bare_redis():
    """A Redis server that nothing else uses."""
    folder = Path(tempfile.mkdtemp(prefix="realertime-benchmark-"))
    redis = Redis(folder / "redis").start()
    try:
        yield redis
    finally:
        redis.close()
        shutil.rmtree(folder, ignore_errors=True)


def saturate(address, requests, replies, cpu, connections, in_flight=2):
    """Returns the appends per second, and the CPU time of the processes meanwhile. `replies(buffer)` returns (responses, appends, rest of the buffer)."""
    selector = selectors.DefaultSelector()
    sockets = []
    for number in range(connections):
        s = socket.create_connection(address)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.append(s)
        state = {"next": number, "buffer": b""}
        selector.register(s, selectors.EVENT_READ, state)
        for _ in range(in_flight):
            send(s, state, requests)
    begin = time.monotonic()
    counted = started = None
    try:
        while True:
            now = time.monotonic()
            if counted is None and now > begin + WARM_UP:
                counted, started = 0, now
                cpu.start()
            if now > begin + WARM_UP + SECONDS:
                cpu.stop()
                return counted / (now - started), cpu
            for key, _ in selector.select(5):
                data = key.fileobj.recv(1 << 20)
                if not data:
                    raise RuntimeError(f"the server at {address} closed the connection")
                responses, appends, key.data["buffer"] = replies(key.data["buffer"] + data)
                if counted is not None:
                    counted += appends
                for _ in range(responses):
                    send(key.fileobj, key.data, requests)
            if now > begin + 60:
                raise RuntimeError(f"the server at {address} does not respond")
    finally:
        for s in sockets:
            s.close()


def send(s, state, requests):
    """The server reads while it responds, so a blocking send ends."""
    s.sendall(requests[state["next"] % len(requests)])
    state["next"] += 1


def batch_replies(buffer):
    """Responses of /api/batch."""
    responses = appends = 0
    while (end := buffer.find(b"\r\n\r\n")) >= 0:
        head = buffer[:end].lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(buffer) < end + 4 + length:
            break
        body, buffer = buffer[end + 4:end + 4 + length], buffer[end + 4 + length:]
        responses += 1
        if b'"error"' in body:
            raise RuntimeError(f"a batch was refused: {body[:300]!r}")
        appends += body.count(b'"offset"')
    return responses, appends, buffer


def redis_replies(buffer):
    """A request has 100 commands, and each of them has one reply of two lines."""
    if b"-ERR" in buffer or b"-OOM" in buffer:
        raise RuntimeError(f"Redis refused an append: {buffer[:300]!r}")
    requests = buffer.count(b"\r\n") // 2 // 100
    end = 0
    for _ in range(200 * requests):
        end = buffer.index(b"\r\n", end) + 2
    return requests, 100 * requests, buffer[end:]
