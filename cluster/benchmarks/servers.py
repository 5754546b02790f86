"""The cluster that is measured: real nodes, ZooKeeper and Redis on loopback."""

import contextlib
import http.client
import itertools
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness.faults import FaultCluster
from harness.node import HOST, eventually
from harness.redis import Redis

# The node's default.
SESSION = 6
SETTLE_SECONDS = 90


class Servers:
    """Nodes with these weights, one ZooKeeper server, one Redis server and perhaps its replica. Ends all of them, also after a failure."""

    def __init__(self, binary, weights=(1, 1, 1), redis=(), replica=False, flags=(), links=False):
        os.environ["REALERTIME_BINARY"] = binary
        self.folder = Path(tempfile.mkdtemp(prefix="realertime-benchmark-"))
        self.weights, self.redis_flags, self.has_replica, self.flags, self.links = weights, redis, replica, flags, links
        self.redis = self.replica = self.cluster = None
        self.nodes = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        self.redis = Redis(self.folder / "redis", *self.redis_flags).start()
        if self.has_replica:
            self.replica = Redis(self.folder / "replica", *self.redis_flags).start("--replicaof", HOST, str(self.redis.port.number))
        self.cluster = FaultCluster(self.folder)
        for number, weight in enumerate(self.weights, 1):
            self.nodes.append(self.cluster.make(
                f"n{number}", "--redis", self.redis.url, "--weight", str(weight), "--loops", "1", "--log-level", "warning", *self.flags,
                session=SESSION, link_proxy=self.links))
        for node in self.nodes:
            node.start(ready=False)
        for node in self.nodes:
            node.wait_ready()
        self.settle()

    def close(self):
        if self.cluster:
            self.cluster.close()
        for server in (self.redis, self.replica):
            if server:
                server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def zookeeper(self):
        return self.cluster.zookeeper

    # MARK: ownership

    def partitions(self):
        """The entry of each partition, if every node has the same view and every partition is served."""
        views = set()
        for node in self.nodes:
            status = node.get_json("/api/cluster")
            if not status or not status["authoritative"] or status["nodes"].get("active") != len(self.nodes) or status["partitions"]["contested"]:
                return None
            views.add(status["view_version"])
        entries = (self.nodes[0].get_json("/api/partitions") or {"partitions": []})["partitions"]
        return entries if len(views) == 1 and entries and all(e["state"] == "served" for e in entries) else None

    def share(self):
        """The entries of the partitions, if each node owns what its weight demands."""
        entries = self.partitions()
        if not entries:
            return None
        owned = Counter(e["owner"] for e in entries)
        for node, weight in zip(self.nodes, self.weights):
            if abs(owned[node.name] - len(entries) * weight / sum(self.weights)) >= 1:
                return None
        return entries

    def settle(self):
        try:
            return eventually(self.share, SETTLE_SECONDS, every=0.1)
        except AssertionError:
            states = {node.name: node.get_json("/api/cluster") for node in self.nodes}
            raise AssertionError(f"the cluster did not settle within {SETTLE_SECONDS} s: {states}") from None

    def channels(self, entries, prefix="probe"):
        """A channel of each of these partitions."""
        missing, found = {e["partition"] for e in entries}, {}
        connection = http.client.HTTPConnection(HOST, self.nodes[0].api, timeout=10)
        with contextlib.closing(connection):
            for number in itertools.count():
                if not missing:
                    return found
                connection.request("GET", f"/api/locate?channel={prefix}-{number}")
                partition = json.loads(connection.getresponse().read())["partitions"][0]["partition"]
                if partition in missing:
                    missing.remove(partition)
                    found[partition] = f"{prefix}-{number}"

    def command(self, path, **body):
        """An operator's request."""
        def accepted():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.nodes[0].post(f"/api/{path}", {**body, "by": "benchmark"}, timeout=5).status == 200
        eventually(accepted, 30, every=0.2)

    def controller(self):
        """The name of the controller, or None."""
        for node in self.nodes:
            if found := (node.get_json("/api/cluster") or {}).get("controller"):
                return found["id"]
        return None

    # MARK: processes

    def pids(self, **names):
        """The processes whose CPU time is measured: {name: pids}. `names` says what each node does."""
        return {
            **{role: [node.pid] for role, node in names.items()}, "redis": [self.redis.process.pid], "zookeeper": [self.zookeeper.process.pid],
            **({"replica": [self.replica.process.pid]} if self.replica else {})}


def subscribe_target(*nodes):
    return [word for node in nodes for word in ("--url", f"http://{HOST}:{node.listen}")]


def publish_target(node):
    return ["--api", f"http://{HOST}:{node.api}"]


def restart(server):
    """Kills a server, and starts it again with the same port and files."""
    server.kill()
    server.start()


def until(condition, seconds, every=0.02):
    """Returns whether the condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
