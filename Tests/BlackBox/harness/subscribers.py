"""Strict clients for the four transports. They check every byte that arrives."""

import base64
import json
import select
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from .node import eventually
from .websocket import WebSocket
from .wire import Response, Wire


class Refused(Exception):
    """A response that refuses the subscription."""

    def __init__(self, response):
        self.status, self.head, self.body = response.status, response.head, response.all()
        super().__init__(f"{self.head} {self.body[:300]!r}")

    @property
    def error(self):
        return json.loads(self.body)["error"]["code"]


@dataclass
class Item:
    """An event or a gap."""

    kind: str
    channel: str | None
    data: object
    cursor: str
    type: str | None = None


@dataclass
class Frame:
    """One SSE block, as received."""

    fields: list = field(default_factory=list)
    comments: list = field(default_factory=list)

    def __getitem__(self, name):
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, self.fields
        return values[0] if values else None

    @property
    def data(self):
        lines = [value for key, value in self.fields if key == "data"]
        return "\n".join(lines) if lines else None


def from_object(object):
    """Makes an item from the JSON object of an event or a gap."""
    assert object.get("id"), object
    if "gap" in object:
        gap = object["gap"]
        assert set(object) == {"gap", "id"} and set(gap) == {"channel", "from", "to", "reason"}, object
        return Item("gap", gap["channel"], gap, object["id"])
    assert set(object) - {"type"} in ({"id", "channel", "data"}, {"id", "channel", "data_base64"}), object
    data = base64.b64decode(object["data_base64"], validate=True) if "data_base64" in object else object["data"]
    return Item("event", object["channel"], data, object["id"], object.get("type"))


class Subscriber:
    """Receives the events and gaps of channels after a cursor. `cursor` is the position from which a new subscriber would continue."""

    prefix = ""

    def __init__(self, node, channels, since=None, *, query="", headers=None, as_header=False, port=None, **wire):
        self.channels = [channels] if isinstance(channels, str) else list(channels)
        self.cursor = since
        self.heartbeats = 0
        target = f"/{self.prefix}/" + "/".join(self.channels)
        headers = {"Host": "localhost", **(headers or {})}
        if since is not None and as_header:
            headers["Last-Event-ID"] = since
        elif since is not None:
            query = f"since={quote(since, safe='')}" + ("&" + query if query else "")
        self.target, self.headers, self.query = target, headers, query
        self.wire = Wire(port or node.listen, **wire)
        try:
            self.open()
        except BaseException:
            self.wire.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, query=None):
        query = self.query if query is None else query
        lines = [f"GET {self.target}{'?' + query if query else ''} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines) + "\r\n\r\n"

    def open(self):
        self.response = Response(self.wire.send(self.request()))
        if self.response.status != 200:
            raise Refused(self.response)
        self.opened()

    def next(self, timeout=None):
        """Waits for the next event or gap."""
        deadline = self.wire.deadline(timeout)
        while True:
            item = self.step(deadline)
            if item is not None:
                self.cursor = item.cursor
                return item

    def take(self, count, timeout=None):
        return [self.next(timeout) for _ in range(count)]

    def none(self, seconds):
        """Asserts that nothing arrives for a while."""
        try:
            item = self.next(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"an unexpected item arrived: {item}")

    def close(self):
        self.wire.close()

    def reset(self):
        self.wire.reset()


class SSE(Subscriber):
    prefix = "ev"

    def opened(self):
        self.first = self.frame()
        assert int(self.first["retry"]) > 0, self.first
        assert self.first.data is None, self.first
        # While the owner of a channel is unknown, a stream has no cursor yet.
        frame = self.first
        while not frame["id"]:
            self.heartbeats += bool(frame.comments)
            frame = self.frame()
        assert frame.data is None, frame
        self.cursor = frame["id"]
        self.retries = []

    def frame(self, timeout=None):
        """Waits for the next block. A heartbeat is a block too."""
        frame = Frame()
        text = self.response.until(b"\n\n", timeout).decode("utf-8", "surrogateescape")
        assert "\r" not in text, repr(text)
        for line in text.split("\n"):
            if line.startswith(":"):
                frame.comments.append(line[1:].strip())
                continue
            name, colon, value = line.partition(":")
            assert colon and name in ("id", "event", "data", "retry"), repr(line)
            frame.fields.append((name, value[1:] if value.startswith(" ") else value))
        return frame

    def step(self, deadline):
        frame = self.frame(deadline - time.monotonic())
        if frame.comments:
            self.heartbeats += 1
        if frame["retry"]:
            self.retries.append(int(frame["retry"]))
        if frame.data is None:
            self.cursor = frame["id"] or self.cursor
            return None
        assert frame["id"], f"an event without id: {frame}"
        if "envelope=1" in self.query:
            item = from_object(json.loads(frame.data))
            assert item.cursor == frame["id"] and frame["event"] is None, frame
            return item
        if frame["event"] == "gap":
            gap = json.loads(frame.data)
            assert set(gap) == {"channel", "from", "to", "reason"}, gap
            return Item("gap", gap["channel"], gap, frame["id"])
        channel = self.channels[0].split(".b")[0] if len(self.channels) == 1 else None
        return Item("event", channel, frame.data, frame["id"], frame["event"])


class SSEEnvelope(SSE):
    """SSE with the channel of each event."""

    def __init__(self, *arguments, query="", **options):
        super().__init__(*arguments, query="&".join(filter(None, ["envelope=1", query])), **options)


class Lines(Subscriber):
    prefix = "sub"

    def opened(self):
        # Heartbeats come first while the owner of a channel is unknown.
        while not (line := self.response.until(b"\n")):
            self.heartbeats += 1
        first = json.loads(line)
        assert set(first) == {"cursor"}, first
        self.cursor = first["cursor"]

    def step(self, deadline):
        line = self.response.until(b"\n", deadline - time.monotonic())
        if not line:
            self.heartbeats += 1
            return None
        return from_object(json.loads(line))


class WS(Subscriber):
    prefix = "ws"

    def open(self):
        target = self.target + ("?" + self.query if self.query else "")
        self.socket = WebSocket(self.wire, target, self.headers)
        if self.socket.response.status != 101:
            raise Refused(self.socket.response)
        self.response = self.socket.response
        first = json.loads(self.socket.message())
        assert set(first) == {"cursor"}, first
        self.cursor = first["cursor"]

    def step(self, deadline):
        object = json.loads(self.socket.message(deadline - time.monotonic()))
        self.heartbeats = self.socket.pings
        return from_object(object)


class LongPoll(Subscriber):
    """Polls on one kept-alive connection."""

    prefix = "lp"

    def open(self):
        self.waiting = []
        self.response = self.head = None
        self.polling = False

    def send_poll(self):
        """Sends a poll. `open` does not send one, so that the test decides when the first poll without a cursor starts."""
        query = self.query
        if self.response is not None:
            query = f"since={quote(self.cursor, safe='')}"
            self.headers.pop("Last-Event-ID", None)
        self.wire.send(self.request(query))
        self.polling = True

    def poll(self, timeout=None):
        """Waits for one response. Returns its items and the cursor after them."""
        if not self.polling:
            self.send_poll()
            self.head = None
        # A deadline may pass between head and body. The next call continues with the same response.
        if self.head is None:
            self.head = Response(self.wire, timeout=timeout)
        if self.head.status != 200:
            raise Refused(self.head)
        object = json.loads(self.head.all(timeout))
        self.response, self.head, self.polling = self.head, None, False
        assert set(object) == {"events", "cursor"} and object["cursor"], object
        items = [from_object(one) for one in object["events"]]
        if items:
            assert items[-1].cursor == object["cursor"], object
        else:
            self.heartbeats += 1
        self.cursor = object["cursor"]
        return items, object["cursor"]

    def has_response(self):
        """Whether data can be read already."""
        return bool(self.wire.buffer or select.select([self.wire.socket], [], [], 0)[0])

    def step(self, deadline):
        if not self.waiting:
            cursor = self.cursor
            self.waiting, _ = self.poll(deadline - time.monotonic())
            if not self.waiting:
                return None
            # Items are returned one by one: a client that dies between two items continues after the last item that it handled.
            self.polled, self.cursor = self.cursor, cursor
        item = self.waiting.pop(0)
        if not self.waiting:
            assert item.cursor == self.polled
        return item


TRANSPORTS = {"sse": SSEEnvelope, "websocket": WS, "longpoll": LongPoll, "lines": Lines}


def subscribe(kind, node, channels, since=None, **options):
    """Returns a subscriber that the node has registered: it gets all events published from now on."""
    subscriber = TRANSPORTS[kind](node, channels, since, **options)
    if kind == "longpoll" and since is None:
        names = [channels] if isinstance(channels, str) else channels
        name = names[0].split(".b")[0]
        before = node.subscribers(name)
        subscriber.send_poll()
        if not any(n.split(".b")[0] != n for n in names):
            eventually(lambda: node.subscribers(name) > before or subscriber.has_response(), every=0.005)
    return subscriber
