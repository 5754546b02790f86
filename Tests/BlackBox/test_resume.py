"""After any failure, a subscriber resumes exactly, or the loss is reported."""

import random
import shutil
import threading
import time

import pytest

from harness.history import faults, position
from harness.node import PATIENCE, eventually
from harness.publisher import Publisher
from harness.subscribers import TRANSPORTS, Item, Lines, Refused, SSE, SSEEnvelope, subscribe

EVERY = pytest.mark.parametrize("kind", TRANSPORTS)

# A node's loops may still have events that its history no longer has. With these flags loops keep almost nothing, so that a test knows which events are gone.
EXACT = ["--feed-bytes-max", "1024", "--feed-seconds-max", "1"]


def big(n):
    """Returns a payload so large that two of them exceed the memory of a loop's encoded events."""
    return {"n": n, "x": "x" * 600}


# MARK: the storm: connections break at random, the node is killed twice


class Storm:
    """One subscriber that repeatedly breaks its own connections, and continues from its last cursor each time."""

    def __init__(self, node, kind, channels, seed):
        self.node, self.kind, self.channels = node, kind, channels
        self.random = random.Random(seed)
        self.received = []
        self.connections = self.broken = 0
        self.failure = None
        self.cursor = None
        self.published = None   # set when publishing has ended
        self.thread = threading.Thread(target=self.run, daemon=True)

    def connect(self):
        subscriber = TRANSPORTS[self.kind](
            self.node, self.channels, self.cursor, as_header=self.random.random() < 0.3,
            recv_bytes=self.random.choice([50, 333, 1000, 65536]))
        self.connections += 1
        return subscriber

    def begin(self):
        """Opens the first connection before anything is published, so that its cursor covers all events."""
        self.subscriber = subscribe(self.kind, self.node, self.channels)
        self.connections += 1
        self.thread.start()

    def complete(self):
        return self.published is not None and len([i for i in self.received if i.kind == "event"]) >= sum(self.published.values())

    def run(self):
        try:
            subscriber, self.subscriber = self.subscriber, None
            deadline = time.monotonic() + 4 * PATIENCE
            first = True
            while time.monotonic() < deadline and not self.complete():
                try:
                    if subscriber is None:
                        subscriber = self.connect()
                    # A long-poll has no cursor before its first response, so its connection is broken only after that response.
                    left = self.random.randint(0, 40) if not first or self.kind != "longpoll" else 1
                    until = time.monotonic() + self.random.uniform(0.05, 0.6)
                    self.cursor = subscriber.cursor or self.cursor
                    while left > 0 and not self.complete() and (time.monotonic() < until or self.cursor is None):
                        try:
                            self.received.append(subscriber.next(0.1))
                        except TimeoutError:
                            continue
                        first = False
                        self.cursor = subscriber.cursor
                        left -= 1
                    self.broken += 1
                    subscriber.reset() if self.random.random() < 0.7 else subscriber.close()
                except (EOFError, OSError):
                    if subscriber:
                        self.cursor = subscriber.cursor or self.cursor
                        subscriber.close()
                    time.sleep(0.03)
                except Refused as refused:
                    assert refused.status == 503 and refused.head["retry-after"], refused
                    time.sleep(0.03)
                subscriber = None
            # No further item may arrive.
            self.subscriber = self.connect()
            try:
                while True:
                    self.received.append(self.subscriber.next(0.5))
            except TimeoutError:
                self.subscriber.close()
        except BaseException as error:
            self.failure = error


@pytest.fixture(scope="module")
def storm(module_nodes, seed):
    """Subscribers of all transports, each with one channel and with five. The node is killed and restarted twice while they run."""
    node = module_nodes.make("--history-events-max", "100000")
    runs, publishers = {}, []
    for index, (kind, count) in enumerate((k, c) for k in TRANSPORTS for c in (1, 5)):
        channels = [f"storm:{kind}:{count}:{n}" for n in range(count)]
        run = Storm(node, kind, channels, seed + index)
        run.begin()
        publisher = Publisher(node, channels, seed=seed + 100 + index, pause=0.02)
        runs[kind, count] = run, publisher
        publishers.append(publisher)
    for publisher in publishers:
        publisher.start()
    chance = random.Random(seed)

    def rages():
        """Waits until every publisher has published, and every subscriber has broken a connection, since the call."""
        before = [(publisher.count() + 17, run.broken + 1) for run, publisher in runs.values()]
        eventually(lambda: all(
            run.failure or publisher.failure or (publisher.count() >= count and run.broken >= broken)
            for (run, publisher), (count, broken) in zip(runs.values(), before)))
    for _ in range(2):
        time.sleep(chance.uniform(1.5, 2.5))
        rages()
        node.kill()
        time.sleep(chance.uniform(0, 0.3))
        node.start()
    time.sleep(chance.uniform(1.0, 2.0))
    rages()
    for run, publisher in runs.values():
        run.published = publisher.finish()
    for run, _ in runs.values():
        run.thread.join(5 * PATIENCE)
    return node, runs


@pytest.mark.parametrize("count", [1, 5])
@EVERY
def test_nothing_is_lost_repeated_or_reordered(storm, seed, kind, count):
    node, runs = storm
    run, publisher = runs[kind, count]
    assert not run.thread.is_alive(), f"seed {seed}: the subscriber hangs"
    if run.failure:
        raise run.failure
    assert run.broken >= 3 and publisher.repeats >= 1 and sum(run.published.values()) >= 50, "too few connections broke, or too few events were published"
    found = faults(run.published, run.received)
    assert not found, f"seed {seed}: " + "; ".join(found)


@pytest.mark.parametrize("count", [1, 5])
@EVERY
def test_acknowledged_positions_have_no_hole(storm, seed, kind, count):
    """Each channel keeps one epoch over both kills, with the offsets 1, 2, 3… The history has exactly the acknowledged events."""
    node, runs = storm
    _, publisher = runs[kind, count]
    for channel, positions in publisher.acknowledged.items():
        pairs = [position(p) for p in positions]
        assert len({epoch for epoch, _ in pairs}) <= 1, f"seed {seed}: {channel} changed its epoch"
        assert [offset for _, offset in pairs] == list(range(1, len(pairs) + 1)), f"seed {seed}: {channel}"
        publications = node.everything(channel)
        assert [p["id"] for p in publications] == positions, f"seed {seed}: {channel}"
        assert [p["data"]["n"] for p in publications] == list(range(1, len(pairs) + 1)), f"seed {seed}: {channel}"


# MARK: the checker itself detects faults


def good():
    events = [Item("event", c, {"channel": c, "n": n}, "x") for n in range(1, 6) for c in "ab"]
    return {"a": 5, "b": 5}, events


def test_the_checker_accepts_a_good_history():
    assert faults(*good()) == []


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("fault", ["lost", "repeated", "swapped", "gap", "foreign", "ahead"])
def test_the_checker_detects(fault, index):
    published, received = good()
    if fault == "lost":
        del received[index]
    elif fault == "repeated":
        received.insert(10 - index, received[index])
    elif fault == "swapped":
        other = (index + 2) % 10
        received[index], received[other] = received[other], received[index]
    elif fault == "gap":
        received.insert(index, Item("gap", "a", {"from": "1-1", "to": "1-2", "reason": "expired"}, "x"))
    elif fault == "foreign":
        received.insert(index, Item("event", "c", {"channel": "c", "n": 1}, "x"))
    else:
        received.append(Item("event", "a", {"channel": "a", "n": 6}, "x"))
    assert faults(published, received)


# MARK: restarts


@EVERY
def test_every_cursor_survives_a_restart(nodes, channel, kind):
    """Every issued cursor works, not only the last one."""
    node = nodes.make()
    names = [channel, channel + "x"]
    with subscribe(kind, node, names) as s:
        for n in range(10):
            node.publish(names[n % 2], {"channel": names[n % 2], "n": n})
        items = s.take(10)
    node.restart()
    for index, item in enumerate(items):
        with TRANSPORTS[kind](node, names, item.cursor) as s:
            # The order of events is defined only within a channel.
            rest = s.take(9 - index)
            key = lambda i: (i.channel, i.data["n"])
            assert sorted(map(key, rest)) == sorted(map(key, items[index + 1:]))
            for name in names:
                numbers = [i.data["n"] for i in rest if i.channel == name]
                assert numbers == sorted(numbers)


def test_a_cursor_from_before_the_first_event_survives_a_restart(nodes, channel):
    node = nodes.make()
    with SSE(node, channel) as s:
        cursor = s.cursor
    node.restart()
    node.publish(channel, 1)
    with SSE(node, channel, cursor) as s:
        items = [s.next()]
        # The channel had no event, so nothing of it was stored. The subscriber gets every event, or a gap.
        assert [i.data for i in items if i.kind == "event"] == ["1"] or items[0].data["reason"] == "reset"


@EVERY
def test_the_loss_of_a_log_in_memory_is_reported_after_a_restart(nodes, channel, kind):
    node = nodes.make("--log", "memory")
    with Lines(node, channel) as s:
        for n in range(5):
            before = position(node.publish(channel, n)["id"])
        cursor = s.take(5)[-1].cursor
    node.restart()
    with TRANSPORTS[kind](node, channel, cursor) as s:
        if kind == "longpoll":
            s.send_poll()
        gap = s.next()
        assert (gap.kind, gap.channel, gap.data["reason"]) == ("gap", channel, "reset")
        after = position(node.publish(channel, "new")["id"])
        assert after > before, "a position is never used twice"
        assert s.next().data == "new"


@EVERY
def test_memory_with_events_before_the_resume(nodes, channel, kind):
    """After a restart with the log in memory, the new history already has events. They follow the gap without a further hole."""
    node = nodes.make("--log", "memory")
    with Lines(node, channel) as s:
        for n in range(3):
            node.publish(channel, n)
        cursor = s.take(3)[-1].cursor
    node.restart()
    ids = [node.publish(channel, n)["id"] for n in range(10, 14)]
    with TRANSPORTS[kind](node, channel, cursor) as s:
        gap = s.next()
        assert (gap.kind, gap.data["reason"]) == ("gap", "reset")
        follow_gap(s, gap, dict(zip(ids, range(10, 14))), node, channel)


def follow_gap(s, gap, events, node, channel):
    """Checks that all events after the gap's `to` follow in order, and then live events."""
    expected = [data for id, data in events.items() if position(id) > position(gap.data["to"])]
    items = s.take(len(expected))
    assert [(i.kind, i.data) for i in items] == [("event", data) for data in expected]
    node.publish(channel, "live")
    item = s.next()
    assert (item.kind, item.data) == ("event", "live")


# MARK: gaps


@EVERY
def test_history_by_count_has_expired(nodes, channel, kind):
    node = nodes.make("--history-events-max", "5", *EXACT)
    with Lines(node, channel) as s:
        first = node.publish(channel, big(1))["id"]
        cursor = s.next().cursor
    ids = [first] + [node.publish(channel, big(n))["id"] for n in range(2, 21)]
    with TRANSPORTS[kind](node, channel, cursor) as s:
        gap = s.next()
        assert (gap.kind, gap.channel) == ("gap", channel)
        assert gap.data == {"channel": channel, "from": ids[1], "to": ids[14], "reason": "expired"}
        items = s.take(5)
        assert [i.data["n"] for i in items] == [16, 17, 18, 19, 20]
        after_gap = gap.cursor
    with TRANSPORTS[kind](node, channel, after_gap) as s:
        assert [i.data["n"] for i in s.take(5)] == [16, 17, 18, 19, 20], "the cursor of a gap must be the position after the gap"


def expired(node, channel):
    """Waits until neither the history nor a loop holds the channel's events."""
    eventually(lambda: not node.history(channel)["publications"] and node.metric("realertime_feed_bytes") == 0)


@EVERY
def test_history_by_age_has_expired(nodes, channel, kind):
    node = nodes.make("--history-seconds-max", "1", *EXACT)
    with Lines(node, channel) as s:
        node.publish(channel, 1)
        cursor = s.next().cursor
    ids = [node.publish(channel, n)["id"] for n in (2, 3)]
    expired(node, channel)
    with TRANSPORTS[kind](node, channel, cursor) as s:
        gap = s.next()
        assert (gap.kind, gap.data) == ("gap", {"channel": channel, "from": ids[0], "to": ids[1], "reason": "expired"})
        last = node.publish(channel, 4)["id"]
        assert position(last)[1] == 4, "offsets must continue after the history expired"
        assert s.next().data == 4


@EVERY
def test_an_expired_history_is_no_gap_if_no_event_was_missed(nodes, channel, kind):
    node = nodes.make("--history-seconds-max", "1", *EXACT)
    with Lines(node, channel) as s:
        node.publish(channel, 1)
        cursor = s.next().cursor
    expired(node, channel)
    s = TRANSPORTS[kind](node, channel, cursor)
    with s:
        if kind == "longpoll":
            s.send_poll()
        s.none(0.3)
        node.publish(channel, 2)
        assert s.next().data == 2


@pytest.mark.parametrize("kind", [kind for kind in TRANSPORTS if kind != "longpoll"])
def test_a_backlog_that_has_expired_leaves_no_gap(nodes, channel, kind):
    node = nodes.make("--history-seconds-max", "1", *EXACT)
    for n in (1, 2, 3):
        node.publish(channel, n)
    eventually(lambda: not node.history(channel)["publications"])
    with TRANSPORTS[kind](node, channel + ".b3") as s:
        cursor = s.cursor
        s.none(0.3)
    with TRANSPORTS[kind](node, channel, cursor) as s:
        s.none(0.3)
        node.publish(channel, 4)
        item = s.next()
        assert (item.kind, item.data) == ("event", 4)


@EVERY
def test_a_gap_in_one_of_several_channels(nodes, channel, kind):
    node = nodes.make("--history-events-max", "3", *EXACT)
    a, b = channel + "a", channel + "b"
    with Lines(node, [a, b]) as s:
        node.publish(a, big(0))
        cursor = s.next().cursor
    ids = [node.publish(a, big(n))["id"] for n in range(1, 11)]
    node.publish(b, "one")
    node.publish(b, "two")
    with TRANSPORTS[kind](node, [a, b], cursor) as s:
        items = s.take(6)
        of_a = [i for i in items if i.channel == a]
        assert of_a[0].kind == "gap" and of_a[0].data == {"channel": a, "from": ids[0], "to": ids[6], "reason": "expired"}
        assert [i.data["n"] for i in of_a[1:]] == [8, 9, 10]
        assert [(i.kind, i.data) for i in items if i.channel == b] == [("event", "one"), ("event", "two")]


@EVERY
def test_a_cursor_from_the_future(nodes, channel, kind):
    """The subscriber's cursor is ahead of the history, as after a restored backup."""
    node = nodes.make()
    with Lines(node, channel) as s:
        for n in range(3):
            node.publish(channel, n)
        s.take(3)
    assert node.terminate() == 0
    backup = node.folder / "backup"
    shutil.copytree(node.data, backup)
    node.start()
    with Lines(node, channel) as s:
        for n in range(3, 10):
            node.publish(channel, n)
        cursor = s.take(7)[-1].cursor
    node.kill()
    shutil.rmtree(node.data)
    shutil.copytree(backup, node.data)
    node.start()
    with TRANSPORTS[kind](node, channel, cursor) as s:
        if kind == "longpoll":
            s.send_poll()
        gap = s.next()
        assert (gap.kind, gap.channel, gap.data["reason"]) == ("gap", channel, "reset")
        node.publish(channel, "new")
        item = s.next()
        while item.kind == "event" and item.data != "new":
            item = s.next()
        assert item.data == "new"


@EVERY
def test_a_cursor_of_another_installation(nodes, channel, kind):
    one, two = nodes.make(), nodes.make()
    with Lines(one, channel) as s:
        for n in range(10):
            one.publish(channel, n)
        cursor = s.take(10)[-1].cursor
    two.publish(channel, "a")
    with TRANSPORTS[kind](two, channel, cursor) as s:
        gap = s.next()
        assert (gap.kind, gap.data["reason"]) == ("gap", "reset")
        two.publish(channel, "b")
        item = s.next()
        assert item.data == "b" or (item.data == "a" and s.next().data == "b")


# MARK: bad cursors


def bad_cursors(cursor, other):
    middle = len(cursor) // 2
    flipped = "A" if cursor[middle] != "A" else "B"
    return {
        "truncated by one": cursor[:-1],
        "half": cursor[:middle],
        "one character": cursor[:1],
        "changed": cursor[:middle] + flipped + cursor[middle + 1:],
        "longer": cursor + "A",
        "twice": cursor + cursor,
        "half a position": "1-",
        "a position with a zero before it": "1-05",
        "a number": "7",
        "words": "null",
        "bad characters": "!!!!",
        "spaces": "a%20b",
        "padding": cursor + "=",
        "huge": "A" * 6000,
        "of another channel": other,
    }


BAD = list(bad_cursors("abcdef", ""))


@pytest.mark.parametrize("bad", BAD)
@EVERY
def test_bad_cursors(shared, channel, kind, bad):
    with Lines(shared, channel) as s:
        shared.publish(channel, 1)
        cursor = s.next().cursor
    with Lines(shared, channel + "x") as s:
        shared.publish(channel + "x", 1)
        other = s.next().cursor
    text = bad_cursors(cursor, other)[bad]
    with pytest.raises(Refused) as refused:
        s = TRANSPORTS[kind](shared, channel, query=f"since={text}")
        if kind == "longpoll":
            s.poll()
    assert (refused.value.status, refused.value.error) == (400, "bad_cursor")
    with pytest.raises(Refused) as refused:
        s = TRANSPORTS[kind](shared, channel, headers={"Last-Event-ID": text})
        if kind == "longpoll":
            s.poll()
    assert (refused.value.status, refused.value.error) == (400, "bad_cursor")


def test_every_changed_character_is_noticed(shared, channel):
    """A cursor with a changed character is never accepted as another position."""
    with Lines(shared, channel) as s:
        shared.publish(channel, 1)
        cursor = s.next().cursor
    for index in range(len(cursor)):
        changed = cursor[:index] + ("A" if cursor[index] != "A" else "B") + cursor[index + 1:]
        with pytest.raises(Refused) as refused:
            Lines(shared, channel, changed)
        assert refused.value.error == "bad_cursor", changed


# MARK: one cursor, every transport


@pytest.mark.parametrize("to", TRANSPORTS)
@pytest.mark.parametrize("start", TRANSPORTS)
def test_a_cursor_of_one_transport_works_on_another(shared, channel, start, to):
    names = [channel, channel + "x", channel + "y"]
    with subscribe(start, shared, names) as s:
        for n in range(4):
            shared.publish(names[0], n)
        item = s.take(2)[-1]
    shared.publish(names[1], "x")
    with TRANSPORTS[to](shared, names, item.cursor) as s:
        items = s.take(3)
        assert [i.data for i in items if i.channel == names[0]] == [2, 3]
        assert [i.data for i in items if i.channel == names[1]] == ["x"]
        s.none(0.15)


def test_channels_in_another_order_and_number(shared, channel):
    names = [channel + suffix for suffix in "abcd"]
    with SSEEnvelope(shared, names) as s:
        for name in names:
            shared.publish(name, 1)
        cursor = s.take(4)[-1].cursor
    for name in names:
        shared.publish(name, 2)
    with Lines(shared, [names[3], names[1]], cursor) as s:
        assert sorted((i.channel, i.data) for i in s.take(2)) == [(names[1], 2), (names[3], 2)]
        s.none(0.15)


@EVERY
def test_an_immediate_reconnect_on_another_loop(nodes, channel, kind, seed):
    """Each connection receives one event and reconnects within a millisecond. The loop that accepts it may not have that event yet."""
    node = nodes.make("--loops", "4")
    publishers, threads, received, failures = [], [], {}, []

    def follow(name, cursor):
        got = received[name]
        try:
            deadline = time.monotonic() + 4 * PATIENCE
            while time.monotonic() < deadline:
                if counts[name].is_set() and got and got[-1].kind == "event" and got[-1].data["n"] == counts[name].count:
                    return
                with TRANSPORTS[kind](node, name, cursor) as s:
                    try:
                        got.append(s.next(0.5))
                    except TimeoutError:
                        pass
                    cursor = s.cursor
            raise TimeoutError(f"{name} ended at {got[-1:]} of {counts[name].count}")
        except BaseException as error:
            failures.append(error)

    counts = {}
    for index in range(3):
        name = f"{channel}:{index}"
        received[name] = []
        counts[name] = Counted()
        with Lines(node, name) as s:
            threads.append(threading.Thread(target=follow, args=(name, s.cursor), daemon=True))
        publishers.append(Publisher(node, [name], pause=0.001, seed=seed + index))
    for thread in publishers + threads:
        thread.start()
    time.sleep(2.2)
    for publisher in publishers:
        name = publisher.channels[0]
        counts[name].set(publisher.finish()[name])
    for thread in threads:
        thread.join(5 * PATIENCE)
    found = [sentence for name, items in received.items() for sentence in faults({name: counts[name].count}, items)]
    assert not found and not failures, f"seed {seed}: {len(found)} faults: {found[:5]} {failures}"


class Counted(threading.Event):
    def set(self, count):
        self.count = count
        super().set()


def test_the_switch_from_replay_to_live_is_exact(shared, channel):
    """Subscribers connect and disconnect while events are published as fast as possible."""
    with Lines(shared, channel) as s:
        shared.publish(channel, {"channel": channel, "n": 0})
        cursor = s.next().cursor
    publisher = Publisher(shared, [channel], pause=0)
    publisher.start()
    received = []
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        with Lines(shared, channel, cursor) as s:
            received += s.take(30)
            cursor = s.cursor
    count = publisher.finish()[channel]
    with Lines(shared, channel, cursor) as s:
        while len(received) < count:
            received.append(s.next())
    assert faults({channel: count}, received) == []
