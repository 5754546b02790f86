"""Planned moves of partitions under load: a node that stops, and one that joins. No publish fails, and no subscriber gets a gap."""

import shutil
import signal
import tempfile
import threading
from pathlib import Path

import pytest

from harness.cluster import Cluster
from harness.node import PATIENCE, eventually
from harness.publisher import Publisher
from harness.redis import Redis
from harness.subscribers import SSEEnvelope

CHANNELS = [f"c{number}" for number in range(24)]


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="realertime-moves-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Reader(threading.Thread):
    """Subscribes at a node, and when its stream ends, at the next node with its cursor. Collects what arrives."""

    def __init__(self, nodes, channels):
        super().__init__(daemon=True)
        self.nodes, self.channels = nodes, channels
        self.items, self.streams, self.failure = [], 0, None
        self.opened, self.stopping = threading.Event(), threading.Event()

    def run(self):
        cursor = None
        try:
            while not self.stopping.is_set():
                node = self.nodes[min(self.streams, len(self.nodes) - 1)]
                with SSEEnvelope(node, self.channels, cursor) as stream:
                    self.streams += 1
                    self.opened.set()
                    try:
                        while not self.stopping.is_set():
                            try:
                                self.items.append(stream.next(0.5))
                            except TimeoutError:
                                pass
                    except (EOFError, ConnectionError):
                        pass
                    cursor = stream.cursor
        except BaseException as error:
            self.failure = error

    def received(self):
        if self.failure:
            raise self.failure
        gaps = [item for item in list(self.items) if item.kind == "gap"]
        assert gaps == []
        events = {channel: [] for channel in self.channels}
        for item in list(self.items):
            events[item.channel].append(item.data["n"])
        return events


@pytest.mark.parametrize("log", ["memory", "redis"])
def test_a_node_stops_and_returns_under_load(folder, log):
    redis = Redis(folder / "redis").start() if log == "redis" else None
    cluster = Cluster(folder)
    try:
        names = ["n1", "n2", "n3"]
        for name in names:
            # On a busy machine the moves may take longer than half of the default time.
            cluster.add(name, "--shutdown-seconds-max", str(2 * int(PATIENCE)), *(("--redis", redis.url) if redis else ()))
        cluster.settled(names)
        # The first node is the controller too.
        stopping, *others = (cluster.members[name] for name in names)
        readers = [Reader([stopping, others[0]], CHANNELS), Reader([others[0]], CHANNELS), Reader([others[1]], CHANNELS)]
        for reader in readers:
            reader.start()
            assert reader.opened.wait(PATIENCE)
        publishers = [Publisher(node, CHANNELS[index::2], seed=index) for index, node in enumerate(others)]
        for publisher in publishers:
            publisher.start()
        eventually(lambda: all(publisher.count() > 200 for publisher in publishers))

        stopping.process.send_signal(signal.SIGTERM)
        assert stopping.process.wait(2 * PATIENCE) == 0
        before = [publisher.count() for publisher in publishers]
        cluster.settled(["n2", "n3"])
        eventually(lambda: all(p.count() > count + 200 for p, count in zip(publishers, before)))
        stopping.start()
        cluster.settled(names)
        before = [publisher.count() for publisher in publishers]
        eventually(lambda: all(p.count() > count + 200 for p, count in zip(publishers, before)))

        counts = {}
        for publisher in publishers:
            counts |= publisher.finish()
            assert publisher.repeats == 0, "a publish failed"
        expected = {channel: list(range(1, count + 1)) for channel, count in counts.items()}
        for reader in readers:
            try:
                eventually(lambda: reader.received() == expected)
            except AssertionError:
                found = reader.received()
                raise AssertionError({c: (found[c][-3:], len(found[c]), counts[c]) for c in counts if found[c] != expected[c]}) from None
            assert reader.streams <= 2
            reader.stopping.set()
        assert readers[0].streams == 2, "the subscriber of the stopping node has reconnected"
    finally:
        cluster.close()
        if redis:
            redis.kill()
