"""Back ends that publish at any node, and write down what they know about each event."""

import http.client
import json
import random
import threading
import time

from harness.node import HOST
from harness.wire import Response, Wire

from .checker import REFUSALS

# How long a publisher waits for a response. After it the outcome is unknown.
RESPONSE_SECONDS = 10


class Publisher(threading.Thread):
    """Publishes numbered events until `stopping` is set. A subclass decides how."""

    # The mean number of events of one turn.
    EVENTS = 1

    def __init__(self, run, name, seed, pause):
        super().__init__(daemon=True, name=name)
        self.run_, self.history, self.channels = run, run.history, run.channels
        self.random, self.pause = random.Random(f"{seed}/{name}"), pause
        self.numbers = dict.fromkeys(self.channels, 0)
        self.node = None
        self.connection = None
        self.acknowledged = 0
        self.failure = None
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                if self.node is None or self.random.random() < 0.02:
                    self.leave()
                self.turn()
                self.stopping.wait(self.random.uniform(0, 2 * self.pause))
        except Exception as error:
            self.failure = error
            self.history.add("sub.closed", subscriber=self.name, why=f"the publisher ended with {error!r}")
        finally:
            self.leave()

    def leave(self):
        """Closes the connection. The next request goes to any node."""
        if self.connection:
            self.connection.close()
        self.connection = None
        self.node = self.random.choice(self.run_.nodes)

    def next(self, channel):
        self.numbers[channel] += 1
        return Event(self.name, channel, self.numbers[channel])

    def invoke(self, event, own, last=False):
        event.attempts += 1
        self.history.add("pub.invoke", publisher=self.name, channel=event.channel, message=event.name, number=event.number, attempt=event.attempts, own=own,
                         **({"last": True} if last else {}))

    def ok(self, event, position, duplicate):
        self.history.add("pub.ok", publisher=self.name, channel=event.channel, message=event.name, attempt=event.attempts, position=position, duplicate=duplicate)
        self.acknowledged += 1
        event.settled = True

    def refused(self, event, status, why):
        """A response that is not an acknowledgement. Only a response that excludes a commit is a failure; all others leave the outcome open."""
        definite = status in REFUSALS or "not committed" in why
        fields = {"publisher": self.name, "channel": event.channel, "message": event.name, "attempt": event.attempts, "why": f"{status} {why}"}
        if definite:
            self.history.add("pub.fail", **fields)
        else:
            self.history.add("pub.info", response=True, **fields)
        # Status 429 and a refusal of the node ("not committed") may end, so publishing the same event again is right.
        event.settled = definite and status in REFUSALS and status != 429

    def lost(self, event, error):
        self.history.add("pub.info", publisher=self.name, channel=event.channel, message=event.name, attempt=event.attempts, why=repr(error)[:100], response=False)

    def post(self, target, body, headers=None):
        """Returns status and JSON, or raises OSError or HTTPException if no response arrives."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(HOST, self.node.api, timeout=RESPONSE_SECONDS)
        self.connection.request("POST", target, body, headers or {})
        reply = self.connection.getresponse()
        text = reply.read()
        try:
            return reply.status, json.loads(text)
        except ValueError:
            return reply.status, {"error": {"code": "no JSON", "message": text[:100].decode(errors="replace")}}

    @staticmethod
    def why(response):
        error = response.get("error") if isinstance(response, dict) else None
        return f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else str(response)[:100]

    def until_settled(self, attempt, events, patience=None):
        """Repeats what is not settled, in order, at any node. Ends without an outcome when the run ends."""
        deadline = time.monotonic() + patience if patience else None
        while True:
            waiting = [e for e in events if not e.settled]
            if not waiting or (self.stopping.is_set() and deadline is None) or (deadline and time.monotonic() > deadline):
                return not waiting
            try:
                attempt(waiting)
            except (OSError, EOFError, http.client.HTTPException, AssertionError) as error:
                for event in waiting:
                    if not event.settled and event.unanswered:
                        self.lost(event, error)
                self.leave()
            if any(not e.settled for e in waiting):
                if self.random.random() < 0.5:
                    self.leave()
                time.sleep(self.random.uniform(0.02, 0.2))


class Event:
    """One event of a publisher in one channel."""

    def __init__(self, publisher, channel, number):
        self.publisher, self.channel, self.number = publisher, channel, number
        self.attempts = 0
        # Whether the outcome is known; whether an attempt waits for a response.
        self.settled = self.unanswered = False

    @property
    def name(self):
        return f"{self.publisher}/{self.channel}/{self.number}"

    @property
    def data(self):
        return {"p": self.publisher, "n": self.number}


class Sequential(Publisher):
    """One event after the other, with message ids, repeated until acknowledged."""

    def turn(self):
        self.publish(self.next(self.random.choice(self.channels)))

    def publish(self, event, last=False, patience=None):
        def attempt(events):
            event.unanswered = True
            self.invoke(event, True, last)
            status, response = self.post(f"/pub?id={event.channel}", json.dumps(event.data), {"Message-Id": event.name})
            event.unanswered = False
            if status == 200:
                self.ok(event, response["id"], response.get("duplicate", False))
            else:
                self.refused(event, status, self.why(response))
        return self.until_settled(attempt, [event], patience)


class Forgetful(Publisher):
    """One event after the other, without message ids, and never repeated: a lost response leaves the outcome open."""

    def turn(self):
        event = self.next(self.random.choice(self.channels))
        self.invoke(event, False)
        try:
            status, response = self.post("/api/publish", json.dumps({"channel": event.channel, "data": event.data}))
        except (OSError, http.client.HTTPException) as error:
            self.lost(event, error)
            self.leave()
            self.stopping.wait(0.2)
            return
        if status == 200 and "result" in response:
            result = response["result"]
            self.ok(event, f"{result['epoch']}-{result['offset']}", result.get("duplicate", False))
        else:
            self.refused(event, status, self.why(response))
            self.leave()


class Pipelined(Publisher):
    """Several requests on one connection without waiting, with message ids. What has no acknowledgement is sent again in order."""

    EVENTS = 7

    def turn(self):
        channel = self.random.choice(self.channels)
        self.until_settled(self.attempt, [self.next(channel) for _ in range(self.random.randint(2, 12))])

    def attempt(self, events):
        with Wire(self.node.api, timeout=RESPONSE_SECONDS) as wire:
            for event in events:
                self.invoke(event, True)
                event.unanswered = True
            wire.send(b"".join(self.request(e) for e in events))
            for event in events:
                response = Response(wire)
                body = response.all()
                event.unanswered = False
                try:
                    body = json.loads(body)
                except ValueError:
                    body = {}
                if response.status == 200:
                    self.ok(event, body["id"], body.get("duplicate", False))
                else:
                    self.refused(event, response.status, self.why(body))

    @staticmethod
    def request(event):
        body = json.dumps(event.data).encode()
        return (f"POST /pub?id={event.channel} HTTP/1.1\r\nHost: localhost\r\nMessage-Id: {event.name}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


class Batches(Publisher):
    """Batches of single events and of broadcasts, with message ids. What has no acknowledgement is sent again."""

    EVENTS = 5

    def turn(self):
        commands = []
        for _ in range(self.random.randint(1, 5)):
            names = self.random.sample(self.channels, self.random.choice((1, 1, 1, 2, 3)))
            # A broadcast is one payload, so all its channels have the same number.
            number = max(self.numbers[c] for c in names) + 1
            for c in names:
                self.numbers[c] = number
            commands.append([Event(self.name, c, number) for c in names])

        def attempt(events):
            waiting = [c for c in ([e for e in command if not e.settled] for command in commands) if c]
            for command in waiting:
                for event in command:
                    self.invoke(event, True)
                    event.unanswered = True
            status, response = self.post("/api/batch", json.dumps({"commands": [self.command(c) for c in waiting]}))
            for command, reply in zip(waiting, response.get("replies", [response] * len(waiting))):
                results = reply["broadcast"]["responses"] if "broadcast" in reply else [reply] * len(command)
                for event, result in zip(command, results):
                    event.unanswered = False
                    found = result.get("publish") or result.get("result")
                    if status == 200 and found:
                        self.ok(event, f"{found['epoch']}-{found['offset']}", found.get("duplicate", False))
                    else:
                        self.refused(event, status if status != 200 else 503, self.why(result))
        self.until_settled(attempt, [e for c in commands for e in c])

    @staticmethod
    def command(events):
        # The message id is the same in all channels of a broadcast: each channel has its own ids.
        fields = {"data": events[0].data, "idempotency_key": f"{events[0].publisher}/{events[0].number}"}
        if len(events) == 1:
            return {"publish": {"channel": events[0].channel, **fields}}
        return {"broadcast": {"channels": [e.channel for e in events], **fields}}


class Broadcasts(Publisher):
    """One event in several channels, by both calls that do this, with message ids. What has no acknowledgement is sent again."""

    EVENTS = 3

    def turn(self):
        names = self.random.sample(self.channels, self.random.randint(2, 4))
        number = max(self.numbers[c] for c in names) + 1
        for c in names:
            self.numbers[c] = number
        raw = self.random.random() < 0.5

        def attempt(events):
            for event in events:
                self.invoke(event, True)
                event.unanswered = True
            names, identity, data = [e.channel for e in events], f"{self.name}/{number}", events[0].data
            if raw:
                status, response = self.post(f"/pub?id={'/'.join(names)}", json.dumps(data), {"Message-Id": identity})
                # One channel has an object, several have an array.
                results = response if isinstance(response, list) else [response] * len(events)
            else:
                status, response = self.post("/api/broadcast", json.dumps({"channels": names, "data": data, "idempotency_key": identity}))
                results = response["result"]["responses"] if status == 200 else [response] * len(events)
            for event, result in zip(events, results):
                event.unanswered = False
                found = result if raw else result.get("result")
                if status == 200 and "error" not in result:
                    self.ok(event, found["id"] if raw else f"{found['epoch']}-{found['offset']}", found.get("duplicate", False))
                else:
                    self.refused(event, status if status != 200 else 503, self.why(result))
        self.until_settled(attempt, [Event(self.name, c, number) for c in names])


class Reader(threading.Thread):
    """Reads the stored history of channels at any node while the run continues: also while their owners seal, die or are unknown."""

    def __init__(self, run, seed):
        super().__init__(daemon=True, name="reader")
        self.run_, self.random, self.failure = run, random.Random(f"{seed}/reader"), None
        self.reads = self.refusals = 0
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.wait(self.random.uniform(0, 1)):
                node, channel = self.random.choice(self.run_.nodes), self.random.choice(self.run_.channels)
                try:
                    reply = node.post("/api/history", {"channel": channel, "limit": 30}, timeout=RESPONSE_SECONDS)
                except (OSError, http.client.HTTPException):
                    continue
                if reply.status != 200:
                    self.refusals += 1
                    continue
                self.reads += 1
                self.run_.stored(f"read {self.reads}", channel, reply.json["result"]["publications"])
        except Exception as error:
            self.failure = error


KINDS = (Sequential, Forgetful, Pipelined, Batches, Broadcasts)
