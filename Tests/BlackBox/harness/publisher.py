"""A back end that loses nothing: numbered events, each with a message id, repeated until acknowledged."""

import http.client
import json
import random
import threading
import time

from .node import HOST, PATIENCE


class Publisher(threading.Thread):
    """Publishes 1, 2, 3… to each channel in turn, until told to stop. `acknowledged` has for each channel the positions in order."""

    def __init__(self, node, channels, *, seed=0, pause=0.002, patience=PATIENCE):
        super().__init__(daemon=True)
        self.node, self.channels = node, list(channels)
        self.random = random.Random(seed)
        self.pause, self.patience = pause, patience
        self.acknowledged = {channel: [] for channel in self.channels}
        self.repeats = self.duplicates = 0
        self.failure = None
        self.stopping = threading.Event()
        self.connection = None

    def run(self):
        try:
            number = {channel: 0 for channel in self.channels}
            while not self.stopping.is_set():
                channel = self.random.choice(self.channels)
                number[channel] += 1
                self.acknowledged[channel].append(self.publish(channel, number[channel]))
                time.sleep(self.random.uniform(0, 2 * self.pause))
        except BaseException as error:
            self.failure = error
        finally:
            if self.connection:
                self.connection.close()

    def publish(self, channel, number):
        body = json.dumps({"channel": channel, "n": number})
        headers = {"Message-Id": f"{channel}/{number}"}
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(HOST, self.node.api, timeout=30)
                self.connection.request("POST", f"/pub?id={channel}", body, headers)
                reply = self.connection.getresponse()
                answer = reply.read()
                if reply.status == 200:
                    answer = json.loads(answer)
                    assert answer["channel"] == channel, answer
                    self.duplicates += answer.get("duplicate", False)
                    return answer["id"]
                assert reply.status == 503 and reply.headers["Retry-After"], (reply.status, answer)
            except (OSError, http.client.HTTPException):
                if self.connection:
                    self.connection.close()
                self.connection = None
            self.repeats += 1
            time.sleep(0.03)
        raise AssertionError(f"{channel} {number} was not acknowledged within {self.patience} s")

    def count(self):
        """How many were acknowledged so far."""
        return sum(map(len, self.acknowledged.values()))

    def finish(self, timeout=2 * PATIENCE):
        """Stops after the event at hand; the acknowledged counts."""
        self.stopping.set()
        self.join(timeout)
        assert not self.is_alive(), "the publisher hangs"
        if self.failure:
            raise self.failure
        return {channel: len(positions) for channel, positions in self.acknowledged.items()}


def pipelined(node, channel, payloads, *, timeout=PATIENCE):
    """Publishes many events on one connection, answers read as they come; the positions."""
    from .wire import Answer, Wire

    positions = []
    with Wire(node.api, timeout=timeout) as wire:
        payloads = list(payloads)
        for start in range(0, len(payloads), 16):
            some = payloads[start:start + 16]
            wire.send(b"".join(
                f"POST /pub?id={channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(p)}\r\n\r\n".encode() + p for p in some))
            for _ in some:
                answer = Answer(wire)
                body = answer.all()
                assert answer.status == 200, body
                positions.append(json.loads(body)["id"])
    return positions
