"""A back end that loses no event: it numbers its events, gives each a message id, and repeats a publish until it is acknowledged."""

import http.client
import json
import random
import threading
import time

from .node import HOST, PATIENCE


class Publisher(threading.Thread):
    """Publishes 1, 2, 3… in each channel, until `finish` is called. `acknowledged` has the positions of each channel in order."""

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
                response = reply.read()
                if reply.status == 200:
                    response = json.loads(response)
                    assert response["channel"] == channel, response
                    self.duplicates += response.get("duplicate", False)
                    return response["id"]
                assert reply.status == 503 and reply.headers["Retry-After"], (reply.status, response)
            except (OSError, http.client.HTTPException):
                if self.connection:
                    self.connection.close()
                self.connection = None
            self.repeats += 1
            time.sleep(0.03)
        raise AssertionError(f"event {number} of channel {channel} was not acknowledged within {self.patience} s")

    def count(self):
        """The number of acknowledged events so far."""
        return sum(map(len, self.acknowledged.values()))

    def finish(self, timeout=2 * PATIENCE):
        """Stops after the current event. Returns the acknowledged counts."""
        self.stopping.set()
        self.join(timeout)
        assert not self.is_alive(), "the publisher hangs"
        if self.failure:
            raise self.failure
        return {channel: len(positions) for channel, positions in self.acknowledged.items()}


def pipelined(node, channel, payloads, *, timeout=PATIENCE):
    """Publishes events on one connection, in portions of 16 pipelined requests. Returns the positions."""
    from .wire import Response, Wire

    positions = []
    with Wire(node.api, timeout=timeout) as wire:
        payloads = list(payloads)
        for start in range(0, len(payloads), 16):
            some = payloads[start:start + 16]
            wire.send(b"".join(
                f"POST /pub?id={channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(p)}\r\n\r\n".encode() + p for p in some))
            for _ in some:
                response = Response(wire)
                body = response.all()
                assert response.status == 200, body
                positions.append(json.loads(body)["id"])
    return positions
