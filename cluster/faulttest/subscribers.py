"""Subscribers that connect to any node, resume at other nodes, and write down everything that they receive."""

import random
import threading
import time

from harness.subscribers import TRANSPORTS, Refused

from .history import text


class Subscriber(threading.Thread):
    """Follows some channels with one transport until `stop` is called. Now and then it continues at another node with its cursor."""

    def __init__(self, run, name, transport, channels, seed):
        super().__init__(daemon=True, name=name)
        self.run_, self.history, self.transport, self.channels = run, run.history, transport, channels
        self.random = random.Random(f"{seed}/{name}")
        self.cursor, self.node = None, None
        self.delivered = 0
        # The channels whose last event has arrived.
        self.complete = set()
        self.failure = None
        self.stopping, self.staying, self.reading, self.leaving = (threading.Event() for _ in range(4))
        self.reading.set()
        self.connected = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.connect()
        except Exception as error:
            self.failure = error

    def connect(self):
        self.node = self.random.choice(self.run_.nodes)
        try:
            one = TRANSPORTS[self.transport](self.node, self.channels, self.cursor, timeout=15)
        except (OSError, EOFError, Refused, AssertionError) as error:
            # A node that stops may close a connection in the middle of its response.
            if isinstance(error, AssertionError):
                self.history.add("sub.closed", subscriber=self.name, why=f"a wrong response: {error}"[:200])
            time.sleep(self.random.uniform(0.05, 0.3))
            return
        with one:
            resumed = self.cursor is not None
            if not resumed:
                # A long-poll has no cursor before its first response. With the head of each channel it begins where the other transports begin.
                self.cursor = one.cursor
            at = self.run_.cursors.positions(self.cursor) if self.cursor else {}
            self.history.add("sub.open", subscriber=self.name, node=self.node.name, transport=self.transport, resumed=resumed,
                             at={c: text(at[c]) if c in at else None for c in self.channels}, **({"slow": True} if not self.reading.is_set() else {}))
            self.connected.set()
            why = self.follow(one)
        self.history.add("sub.closed", subscriber=self.name, why=why)

    def follow(self, one):
        """Reads until the connection ends, or until this subscriber wants to be elsewhere. Returns why it ended."""
        leave = time.monotonic() + self.random.expovariate(1 / 12)
        while not self.stopping.is_set():
            if not self.reading.is_set():
                self.reading.wait(0.2)
                continue
            if self.leaving.is_set() or (time.monotonic() > leave and not self.staying.is_set()):
                self.leaving.clear()
                return "to continue elsewhere"
            try:
                item = one.next(1)
            except TimeoutError:
                continue
            except (OSError, EOFError, Refused) as error:
                return repr(error)[:100]
            self.cursor = one.cursor
            at = self.run_.cursors.positions(item.cursor)
            if item.kind == "gap":
                self.history.add("sub.gap", subscriber=self.name, channel=item.channel, **{"from": item.data["from"], "to": item.data["to"]}, reason=item.data["reason"])
                continue
            name = f"{item.data['p']}/{item.channel}/{item.data['n']}"
            self.history.add("sub.deliver", subscriber=self.name, channel=item.channel, position=text(at[item.channel]), message=name)
            self.delivered += 1
            if item.data["p"] == self.run_.LAST:
                self.complete.add(item.channel)
        return "the end"

    def stop(self):
        self.stopping.set()
        self.reading.set()
