"""Publishers and subscribers that measure each single event, in a process of their own, so that nothing else delays them.

A publisher sends events at fixed times on one connection, without waiting for responses. It repeats an event, with the same message id, until the event
is acknowledged. If its connection ends, it connects to its next node. A subscriber reconnects like a browser: after the time that the node asked for, with
its cursor, to its next node.

All times are from the machine's one monotonic clock. A wait ends up to 1 ms late, so shorter differences mean nothing.
"""

import collections
import errno
import heapq
import itertools
import json
import os
import selectors
import socket
import subprocess
import sys
import time

PAYLOAD_BYTES = 120
# After a refusal or a failed connection.
RETRY_SECONDS = 0.05
# The reconnect time of a browser, until the server asks for another one.
RECONNECT_SECONDS = 3
CONNECT_SECONDS = 60
# How long the last events may take after `stop`.
LAST_SECONDS = 20
# Below the node's `pipelined-requests-max`: above it, the node would stop reading, and the kernel would hold the events.
IN_FLIGHT_MAX = 200


class Loop:
    """Sockets and timers of one thread."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.timers, self.numbers = [], itertools.count()
        self.running = True

    def at(self, when, action):
        heapq.heappush(self.timers, (when, next(self.numbers), action))

    def after(self, seconds, action):
        self.at(time.monotonic() + seconds, action)

    def watch(self, file, writes, action):
        self.selector.register(file, selectors.EVENT_WRITE if writes else selectors.EVENT_READ, action)

    def change(self, file, action):
        self.selector.modify(file, selectors.EVENT_READ, action)

    def forget(self, file):
        self.selector.unregister(file)

    def run(self):
        while self.running:
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                heapq.heappop(self.timers)[2]()
            wait = max(0, self.timers[0][0] - time.monotonic()) if self.timers else None
            for key, _ in self.selector.select(wait):
                key.data()


class Connection:
    """Connects to its addresses in turn, after `pause` seconds each time. Calls `opened`, `received` and `lost` of the client."""

    def __init__(self, loop, addresses, client):
        self.loop, self.addresses, self.client = loop, addresses, client
        self.socket, self.is_open, self.next = None, False, 0

    def connect(self):
        address = self.addresses[self.next % len(self.addresses)]
        self.next += 1
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(tuple(address))
        self.loop.watch(self.socket, True, self.connected)

    def connected(self):
        if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self.close()
        self.is_open = True
        self.loop.change(self.socket, self.readable)
        self.client.opened()

    def send(self, data):
        """The requests in flight are few and small, so the kernel's buffer takes them."""
        try:
            if self.socket.send(data) < len(data):
                self.close()
        except OSError:
            self.close()

    def readable(self):
        try:
            data = self.socket.recv(262_144)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return
            data = b""
        if data:
            self.client.received(data)
        else:
            self.close()

    def close(self):
        if self.socket:
            self.loop.forget(self.socket)
            self.socket.close()
            self.socket, self.is_open = None, False
            self.client.lost()


class Event:
    __slots__ = ("channel", "due", "acknowledged", "delivered", "sendings", "request")

    def __init__(self, channel, due):
        self.channel, self.due = channel, due
        self.acknowledged = self.delivered = None
        self.sendings = 0


class Publisher:
    def __init__(self, process, addresses, channels, rate, offset):
        self.process, self.loop, self.channels, self.count = process, process.loop, channels, 0
        self.interval, self.offset = 1 / rate, offset
        self.connection = Connection(self.loop, addresses, self)
        self.waiting, self.in_flight, self.refused = collections.deque(), collections.deque(), collections.deque()
        self.buffer = b""
        self.connection.connect()

    def start(self, begin):
        self.due = begin + self.offset * self.interval
        self.loop.at(self.due, self.tick)

    def tick(self):
        now = time.monotonic()
        while self.due <= now and self.process.publishing:
            self.waiting.append(self.process.event(self.channels[self.count % len(self.channels)], self.due))
            self.count += 1
            self.due += self.interval
        self.flush()
        if self.process.publishing:
            self.loop.at(self.due, self.tick)

    def flush(self):
        requests = []
        while self.connection.is_open and self.waiting and len(self.in_flight) < IN_FLIGHT_MAX:
            event = self.waiting.popleft()
            event.sendings += 1
            self.in_flight.append(event)
            requests.append(event.request)
        if requests:
            self.connection.send(b"".join(requests))

    def opened(self):
        self.flush()

    def received(self, data):
        now = time.monotonic()
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                break
            body, self.buffer = self.buffer[end + 4:end + 4 + length], self.buffer[end + 4 + length:]
            event = self.in_flight.popleft()
            if head.split(None, 2)[1] == b"200":
                event.acknowledged = now
            else:
                self.process.refusals[json.loads(body)["error"]["message"]] += 1
                self.refused.append(event)
                if len(self.refused) == 1:
                    self.loop.after(RETRY_SECONDS, self.again)
        self.flush()

    def again(self):
        """If there are several nodes, the next node may accept what this node has refused. All events without a response are sent again too."""
        self.waiting.extendleft(reversed(self.refused))
        self.refused.clear()
        if len(self.connection.addresses) > 1 and self.connection.is_open:
            self.connection.close()
        self.flush()

    def lost(self):
        """It is unknown which of the events in flight were published."""
        self.waiting.extendleft(reversed(self.in_flight))
        self.in_flight.clear()
        self.buffer = b""
        self.loop.after(RETRY_SECONDS, self.connection.connect)


class Subscriber:
    def __init__(self, process, addresses, channels):
        self.process, self.channels = process, channels
        self.connection = Connection(process.loop, addresses, self)
        self.cursor = self.last = None
        self.retry = RECONNECT_SECONDS
        self.is_gap = self.was_open = False
        self.buffer = b""
        self.reconnects = self.refused = self.gaps = self.repeated = 0
        self.silence = 0
        self.seen = set()
        self.connection.connect()

    def opened(self):
        request = f"GET /ev/{'/'.join(self.channels)} HTTP/1.0\r\nHost: benchmark\r\nAccept: text/event-stream\r\n"
        if self.cursor:
            request += f"Last-Event-ID: {self.cursor.decode()}\r\n"
        self.buffer, self.has_stream = b"", False
        self.connection.send((request + "\r\n").encode())

    def received(self, data):
        now = time.monotonic()
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                if self.is_gap:
                    self.gaps += 1
                    self.is_gap = False
                else:
                    self.deliver(json.loads(line[5:])["n"], now)
            elif line.startswith(b"id:"):
                self.cursor = line[3:].strip()
                if not self.has_stream:
                    self.has_stream = True
                    self.reconnects += self.was_open
                    self.was_open = True
            elif line.startswith(b"event: gap"):
                self.is_gap = True
            elif line.startswith(b"retry:"):
                self.retry = int(line[6:]) / 1000

    def deliver(self, number, now):
        if number in self.seen:
            self.repeated += 1
            return
        self.seen.add(number)
        self.process.delivered(number, now)
        if self.last is not None:
            self.silence = max(self.silence, now - self.last)
        self.last = now

    def lost(self):
        if self.was_open and not self.has_stream:
            self.refused += 1
        self.has_stream = False
        self.process.loop.after(self.retry, self.connection.connect)


class Process:
    """Reads its configuration and then commands from its standard input, one JSON object in each line. Prints the result after `stop`."""

    def __init__(self, configuration):
        self.loop = Loop()
        self.run = f"{os.getpid()}-{time.monotonic_ns()}"
        self.events, self.publishing, self.refusals = [], False, collections.Counter()
        self.publishers = [
            Publisher(self, p["addresses"], p["channels"], p["rate"], n / len(configuration["publishers"]))
            for n, p in enumerate(configuration["publishers"])]
        self.subscribers = [Subscriber(self, s["addresses"], s["channels"]) for s in configuration["subscribers"]]
        self.commands, self.deadline = b"", time.monotonic() + CONNECT_SECONDS
        self.loop.watch(sys.stdin.buffer.raw, False, self.read)
        self.loop.after(0.05, self.wait_for_subscribers)

    def wait_for_subscribers(self):
        if not all(s.was_open for s in self.subscribers):
            if time.monotonic() > self.deadline:
                sys.exit(f"only {sum(s.was_open for s in self.subscribers)} of {len(self.subscribers)} subscribers have connected")
            return self.loop.after(0.05, self.wait_for_subscribers)
        self.publishing = True
        begin = time.monotonic() + 0.1
        for publisher in self.publishers:
            publisher.start(begin)
        print(json.dumps({"started": begin}), flush=True)

    def event(self, channel, due):
        number = len(self.events)
        event = Event(channel, due)
        body = b'{"n":%d,"text":"' % number
        body += b"x" * (PAYLOAD_BYTES - len(body) - 2) + b'"}'
        event.request = (
            f"POST /pub?id={event.channel} HTTP/1.1\r\nHost: benchmark\r\nMessage-Id: {self.run}-{number}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
        self.events.append(event)
        return event

    def delivered(self, number, now):
        self.events[number].delivered = now

    def read(self):
        data = os.read(0, 65_536)
        if not data:
            self.loop.running = False
        *lines, self.commands = (self.commands + data).split(b"\n")
        for line in lines:
            self.command(json.loads(line))

    def command(self, command):
        if "channels" in command:
            for publisher in self.publishers:
                publisher.channels = command["channels"]
        elif "stop" in command:
            self.publishing = False
            self.deadline = time.monotonic() + LAST_SECONDS
            self.finish()

    def missing(self):
        """The number of acknowledged events that each subscriber did not receive."""
        acknowledged = collections.defaultdict(set)
        for number, event in enumerate(self.events):
            if event.acknowledged:
                acknowledged[event.channel].add(number)
        return [sum(len(acknowledged[c] - s.seen) for c in set(s.channels)) for s in self.subscribers]

    def finish(self):
        complete = all(e.acknowledged for e in self.events) and not any(self.missing())
        if not complete and time.monotonic() < self.deadline:
            return self.loop.after(0.1, self.finish)
        print(json.dumps({
            "refusals": self.refusals, "events": [[e.due, e.acknowledged, e.delivered, e.sendings] for e in self.events],
            "subscribers": [
                {"reconnects": s.reconnects, "refused": s.refused, "gaps": s.gaps, "repeated": s.repeated, "missing": missing, "silence": s.silence}
                for s, missing in zip(self.subscribers, self.missing())]}), flush=True)
        self.loop.running = False


class Clients:
    """The process, for the benchmark. `publishers`: [(nodes, channels, rate)]. `subscribers`: [(nodes, channels)]."""

    def __init__(self, publishers, subscribers):
        def addresses(nodes, port):
            return [("127.0.0.1", getattr(node, port)) for node in nodes]
        configuration = {
            "publishers": [{"addresses": addresses(nodes, "api"), "channels": of, "rate": rate} for nodes, of, rate in publishers],
            "subscribers": [{"addresses": addresses(nodes, "listen"), "channels": of} for nodes, of in subscribers]}
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.send(configuration)
        self.started = self.read()["started"]

    def send(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the measuring clients ended with an error")
        return json.loads(line)

    def stop(self):
        """Stops publishing, waits for the last events, and returns the result."""
        self.send({"stop": True})
        try:
            return Result(self.read())
        finally:
            self.close()

    def close(self):
        """The process ends with its standard input."""
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class Result:
    def __init__(self, data):
        self.events, self.subscribers, self.refusals = data["events"], data["subscribers"], data["refusals"]

    def between(self, begin, end):
        return [e for e in self.events if begin <= e[0] <= end]

    def longest(self, begin, end):
        """Of the events that should have been sent in this time: the longest times to the acknowledgement and to the delivery, in milliseconds.

        An event that never arrived counts as infinitely late.
        """
        def worst(place):
            return max((1000 * ((e[place] or float("inf")) - e[0]) for e in self.between(begin, end)), default=float("nan"))
        return worst(1), worst(2)

    @property
    def repeats(self):
        """How often an event was sent again."""
        return sum(e[3] - 1 for e in self.events if e[3])

    @property
    def wrong(self):
        """Acknowledged events that are missing, and events that arrived twice."""
        return sum(s["missing"] + s["repeated"] for s in self.subscribers)


def main():
    # Without a buffer, so that the selector sees each command.
    configuration = json.loads(sys.stdin.buffer.raw.readline())
    Process(configuration).loop.run()


if __name__ == "__main__":
    main()
