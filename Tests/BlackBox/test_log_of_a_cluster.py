"""Which log a member of a cluster may have, and what it does while Redis is away or refused."""

import shutil
import tempfile
from pathlib import Path

import pytest

from harness.cluster import Member, ZooKeeper
from harness.node import HOST, PATIENCE, Node, eventually
from harness.redis import Redis
from harness.wire import Wire


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="realertime-log-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def zookeeper(folder):
    server = ZooKeeper(folder).start()
    yield server
    server.close()


@pytest.fixture
def redis(folder):
    server = Redis(folder / "redis")
    yield server
    server.close()


def test_a_member_without_a_log_for_a_cluster_is_refused(folder):
    node = Node(folder)
    code, output = node.fails("--zookeeper", f"{HOST}:1", "--link", f"{HOST}:1")
    assert code == 64 and "Set redis (redis://host:6379)" in output and "Or set log: memory" in output, output
    code, output = node.fails("--zookeeper", f"{HOST}:1", "--link", f"{HOST}:1", "--log", "sqlite")
    assert code == 64 and "--log: log: sqlite stores events in the data folder of one node" in output, output
    code, output = node.fails("--redis", f"redis://:s3cret@{HOST}", "--check-config")
    assert code == 64 and "set zookeeper too" in output and "s3cret" not in output, output
    code, output = node.fails("--redis", f"redis://:s3cret@{HOST}", "--zookeeper", f"{HOST}:1", "--link", f"{HOST}:1", "--check-config")
    assert code == 0 and f"redis://{HOST}:6379" in output and "s3cret" not in output, output
    node.close()


def test_a_member_starts_without_redis_and_recovers_by_itself(folder, zookeeper, redis):
    member = Member(folder / "n1", zookeeper.address, "n1", "--redis", redis.url)
    try:
        member.start(ready=False)
        eventually(lambda: member.get_or_none("/healthz"))
        away = f"the log cannot be written: Redis at {HOST}:{redis.port.number} cannot be reached"
        eventually(lambda: away in reason(member))
        assert any(away.split(": ", 1)[1] in r for r in member.get("/api/status").json["reasons"])
        assert member.post("/pub?id=a", b"1").status == 503
        # A server that would delete events.
        redis.start("--maxmemory-policy", "allkeys-lru")
        eventually(lambda: "has maxmemory-policy allkeys-lru" in reason(member) and "set it to noeviction" in reason(member))
        assert "Redis is refused" in member.output.read_text()
        assert redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction") == b"+OK\r\n"
        eventually(lambda: member.get("/readyz").status == 200)
        # Redis goes away and comes back.
        redis.kill()
        eventually(lambda: "the log cannot be written: Redis at" in reason(member))
        redis.start()
        eventually(lambda: member.get("/readyz").status == 200)
        assert member.terminate() == 0
    finally:
        member.close()


def test_subscribers_are_accepted_while_the_heads_of_their_channels_are_unknown(folder, zookeeper, redis):
    member = Member(folder / "n1", zookeeper.address, "n1", "--redis", redis.start().url)
    try:
        member.start()
        cursor = member.post("/pub?id=a", b"1").json["cursor"]
        assert member.post("/pub?id=a", b"2").status == 200
        member.kill()
        # The node that starts again knows no channel. It has sealed its partitions, and then Redis is silent.
        member.start()
        redis.pause()

        def stream(*fields):
            return Wire(member.listen).send("\r\n".join(["GET /ev/a HTTP/1.0", *fields, "", ""]))

        resume = f"Last-Event-ID: {cursor}"
        with stream() as new, stream(resume) as resumed:
            for wire in new, resumed:
                assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            # Without a head there is no cursor, and a stream that resumes repeats its own.
            assert b"id:" not in new.until(b"\n\n")
            assert resumed.until(b"\n\n").endswith(b"\nid: " + cursor.encode())
            with stream(resume) as second:
                assert second.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            redis.resume()
            assert new.until(b"\n\n", 2 * PATIENCE).startswith(b"id: ")
            assert resumed.until(b"\n\n", 2 * PATIENCE) == b"id: " + cursor.encode()
            assert resumed.until(b"\n\n").endswith(b"\ndata: 2")
            eventually(lambda: member.post("/pub?id=a", b"3").status == 200)
            for wire in new, resumed:
                assert wire.until(b"\n\n").endswith(b"\ndata: 3")
        with stream(resume) as again:
            again.until(b"\r\n\r\n")
            assert again.until(b"\n\n").endswith(b"\nid: " + cursor.encode())
            assert again.until(b"\n\n").endswith(b"\ndata: 2")
    finally:
        member.close()


def reason(member):
    """Why the node is not ready; an empty text if it is."""
    reply = member.get("/readyz")
    return "" if reply.status == 200 else reply.json["error"]["message"]


def test_a_second_member_cannot_use_the_folder_of_the_first(folder, zookeeper):
    first, second = (Member(folder / "n1", zookeeper.address, name) for name in ("n1", "n2"))
    try:
        first.start()
        code, output = second.fails()
        assert code == 1 and "is in use by process" in output, output
    finally:
        second.close()
        first.close()
