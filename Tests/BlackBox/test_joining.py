"""Nodes that cannot join: what they report in their log, in their status and to a load balancer."""

import shutil
import tempfile
from pathlib import Path

import pytest

from harness.cluster import Cluster, Member, ZooKeeper
from harness.node import HOST, PATIENCE, Port, eventually


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="realertime-joining-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(folder):
    cluster = Cluster(folder)
    yield cluster
    cluster.close()


def waits(member, words):
    """Checks that a node reports why it has not joined: in the same words in its log, in its status and at /readyz."""
    eventually(lambda: words in member.tail(100_000) and "not in cluster test for" in member.tail(100_000), 2 * PATIENCE)
    status = member.get("/api/status").json
    assert status["health"] == "degraded" and any(words in reason for reason in status["reasons"]), status
    assert status["node"]["state"] == "starting", status
    ready = member.get("/readyz")
    assert ready.status == 503 and words in ready.body.decode(), ready
    # The liveness probe still succeeds.
    assert member.get("/healthz").status == 200


def test_no_zookeeper_server_responds(folder):
    closed = Port()
    member = Member(folder / "n1", f"{HOST}:{closed.number}/a", "n1").start(ready=False)
    try:
        waits(member, f"no ZooKeeper server of {HOST}:{closed.number}/a gives this node a session (Connection refused)")
        # The node logs the reason again, after a growing pause.
        eventually(lambda: member.tail(100_000).count("not in cluster test for") > 1, 2 * PATIENCE)
    finally:
        member.close()
        closed.release()


def test_a_chroot_that_does_not_exist_is_made(cluster):
    address = cluster.zookeeper.address
    members = [Member(cluster.folder / name, f"{address}/some/where", name).start() for name in ("n1", "n2")]
    try:
        eventually(lambda: (members[0].get_json("/api/cluster") or {"nodes": {"active": 0}})["nodes"]["active"] == 2)
        # Another cluster of the same name, in another ZooKeeper.
        cluster.add("n3")
        cluster.settled(["n3"])
    finally:
        for member in members:
            member.close()


def test_zookeeper_has_an_ipv6_address(folder):
    class Six(ZooKeeper):
        def configuration(self, data):
            return [*super().configuration(data), "clientPortAddress=::"]

    zookeeper = Six(folder)
    member = Member(folder / "n1", f"[::1]:{zookeeper.port.number}", "n1")
    try:
        zookeeper.start()
        member.start()
        assert "joined the cluster" in member.tail(20_000)
    finally:
        member.close()
        zookeeper.close()


def test_a_node_with_another_link_secret(cluster):
    good, bad = ("--link-secret", "0123456789abcdef"), ("--link-secret", "fedcba9876543210")
    # These sessions would end only after a minute. No node waits for their end.
    for name in ("n1", "n2", "n3"):
        cluster.add(name, *good, session=60)
    cluster.settled(["n1", "n2", "n3"])
    stranger = cluster.add("n4", *bad, session=60, ready=False)
    waits(stranger, "have different link secrets")
    # The node with another secret has no vote about the other nodes, and does not become their controller.
    before = cluster.members["n1"].authoritative("/api/cluster")["controller"]["id"]
    cluster.members[before].kill()
    rest = [name for name in ("n1", "n2", "n3") if name != before]

    def taken():
        status = cluster.members[rest[0]].get_json("/api/cluster")
        controller = status and status["authoritative"] and status["controller"]
        return controller and controller["id"] in rest and status["partitions"]["served"] == 256
    eventually(taken, 40)
    assert stranger.get("/readyz").status == 503
