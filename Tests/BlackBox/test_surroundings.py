"""A node's environment fails or is unusual: its standard error, wall clock, data folder, signals, descriptors and processors."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness.cluster import Member, ZooKeeper
from harness.node import HOST, PATIENCE, Port, eventually
from harness.subscribers import SSE, WS
from harness.wall_clock import WallClock
from harness.websocket import Closed


# MARK: standard error that is not read


class Pipe:
    """A pipe for a node's log. The test decides when the pipe is read."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()

    def fill(self):
        os.set_blocking(self.write_end, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.write_end, b"x" * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.write_end, b"x")
        os.set_blocking(self.write_end, True)

    def read(self):
        """Returns the bytes that are in the pipe now."""
        os.set_blocking(self.read_end, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self.read_end, 1 << 20).decode(errors="replace")
        return ""

    def close(self):
        for end in (self.read_end, self.write_end):
            os.close(end)


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_a_full_pipe_on_standard_error_stops_nothing(nodes, pipe, channel):
    """The node starts, serves and stops. Its log lines arrive when the pipe is read again."""
    node = nodes.make(start=False)
    node.popen["stderr"] = pipe.write_end
    pipe.fill()
    node.start()
    node.publish(channel, 1)
    node.healthy()
    assert node.metric("realertime_stderr_lines_dropped_total") == 0
    text = ""

    def ready():
        nonlocal text
        text += pipe.read()
        return "] ready" in text
    eventually(ready)
    pipe.fill()
    assert node.terminate() == 0


def test_a_second_signal_ends_a_node_whose_log_is_not_read(nodes, pipe, channel):
    node = nodes.make("--shutdown-seconds-max", "3600", "--stalled-seconds-max", "3600", start=False)
    node.popen["stderr"] = pipe.write_end
    node.start()
    pipe.fill()
    with SSE(node, channel, receive_buffer=4096):
        node.post("/api/batch", {"commands": [{"publish": {"channel": channel, "data": "x" * 16_000}}] * 60})
        for _ in range(60):
            node.publish(channel, "x" * 60_000)
        node.process.send_signal(signal.SIGTERM)
        eventually(lambda: stopping(node))
        # The node waits for the subscriber, which reads nothing.
        time.sleep(1)
        assert node.process.poll() is None
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(PATIENCE) == 1


def stopping(node):
    """Returns whether the node's ports are closed, or the node reports that it stops."""
    try:
        return node.get("/readyz").status == 503
    except OSError:
        return True


def test_refused_links_and_zookeeper_do_not_block_on_the_log(nodes, pipe, channel):
    """Links and the ZooKeeper client both log lines: the links on an event loop, the ZooKeeper client on its own threads."""
    closed = Port()
    node = Member(nodes.folder / "member", f"{HOST}:{closed.number}", "n1")
    nodes.made.append(node)
    node.popen["stderr"] = pipe.write_end
    node.start(ready=False)
    # The test reads the pipe until the node begins to join. Then it fills the pipe and reads no more.
    text = ""

    def joining():
        nonlocal text
        text += pipe.read()
        return "joining the cluster" in text
    eventually(joining)
    pipe.fill()
    for _ in range(50):
        with socket.create_connection((HOST, node.link.number), PATIENCE) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                s.recv(1000)
    for _ in range(10):
        node.healthy()
        assert node.get("/readyz").status == 503 and node.get("/metrics").status == 200
    assert node.terminate() == 0
    closed.release()


# MARK: the wall clock


@pytest.fixture
def clock(nodes):
    if not WallClock.COMPILER:
        pytest.skip("needs a C compiler")
    return WallClock(nodes.folder / "clock")


@pytest.mark.parametrize("step", [-3600, -86_400, 3600])
def test_setting_the_wall_clock_does_not_affect_expiry(nodes, clock, channel, step):
    """Expiry depends on elapsed time, not on the wall clock."""
    clock.set(max(0, -step))
    node = nodes.make("--channels-max", "50", "--history-seconds-max", "2", env=clock.env)
    for n in range(50):
        node.publish(f"{channel}{n}", n)
    assert node.post(f"/pub?id={channel}x", b"1").status in (200, 429)
    clock.set(max(0, step))
    status = node.status()
    assert 0 <= status["node"]["uptime_seconds"] < 1000, status["node"]
    assert 0 <= node.get("/api/members").json["members"][0]["uptime_seconds"] < 1000
    # The old channels become idle and are forgotten.
    for n in range(60):
        eventually(lambda: node.post(f"/pub?id={channel}new{n}", b"1").status == 200, every=0.1)
        if n == 10:
            assert node.history(f"{channel}new10")["publications"], "a new event was deleted too early"
    eventually(lambda: node.status()["log"]["events"] == 0, every=0.2)


def test_message_ids_outlive_a_step_of_the_wall_clock(nodes, clock, channel):
    node = nodes.make("--history-seconds-max", "600", env=clock.env)
    first = node.publish(channel, 1, message_id="m")["id"]
    clock.set(86_400)
    # The node deletes old message ids once a second.
    commits = node.metric("realertime_log_commits_total")
    time.sleep(2.5)
    again = node.publish(channel, 1, message_id="m")
    assert (again["id"], again.get("duplicate")) == (first, True)
    assert node.metric("realertime_log_commits_total") == commits
    assert len(node.history(channel)["publications"]) == 1


def test_events_stored_with_a_time_in_the_future(nodes, clock, channel):
    """An event was stored while the clock was an hour ahead. After a restart the event counts as stored at that start."""
    clock.set(3600)
    node = nodes.make("--channels-max", "50", "--history-seconds-max", "3", env=clock.env)
    for n in range(50):
        node.publish(f"{channel}{n}", n)
    node.kill()
    clock.set(0)
    node.start()
    eventually(lambda: node.post(f"/pub?id={channel}new", b"1").status == 200, every=0.1)
    eventually(lambda: node.status()["log"]["events"] == 0, every=0.2)
    node.restart()
    assert node.post(f"/pub?id={channel}new", b"1").status == 200


# MARK: the data folder is removed or replaced


def files(folder):
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def lost(node, channel):
    """Checks that the node refuses publishes, reports why, is not ready, and does not recover."""
    def refused():
        reply = node.post(f"/pub?id={channel}", b"1")
        return reply.status == 503 and reply
    reply = eventually(refused)
    assert reply.error == "unavailable" and str(node.data) in reply.json["error"]["message"], reply
    ready = node.get("/readyz")
    assert ready.status == 503 and str(node.data) in ready.body.decode(), ready
    status = node.status()
    assert status["health"] == "critical" and str(node.data) in " ".join(status["reasons"]), status
    node.healthy()
    eventually(lambda: "publishes are refused with 503, because the log cannot be written" in node.tail())


@pytest.mark.parametrize("how", ["removed", "renamed", "older copy", "database", "wal", "lock", "overwritten"])
def test_a_data_folder_that_is_removed_or_replaced(nodes, channel, how):
    node = nodes.make()
    aside = node.folder / "aside"
    if how == "overwritten":
        assert node.terminate() == 0
        shutil.copytree(node.data, aside)
        node.start()
        # The events are enough for a checkpoint, which makes the database larger.
        for _ in range(300):
            node.publish(channel, "x" * 60_000)
        eventually(lambda: (node.data / "log.sqlite").stat().st_size > 1 << 20)
        time.sleep(1.5)
    node.publish(channel, 1)
    if how == "removed":
        shutil.rmtree(node.data)
    elif how == "renamed":
        node.data.rename(aside)
    elif how == "older copy":
        shutil.copytree(node.data, aside)
        shutil.rmtree(node.data)
        aside.rename(node.data)
    elif how == "overwritten":
        # The files have the same names and other bytes.
        subprocess.run(["cp", "-r", f"{aside}/.", node.data], check=True)
    else:
        (node.data / {"database": "log.sqlite", "wal": "log.sqlite-wal", "lock": "lock"}[how]).unlink()
    lost(node, channel)
    # The node does not recover later: the former data is lost.
    if how == "renamed":
        aside.rename(node.data)
        for _ in range(20):
            assert node.post(f"/pub?id={channel}", b"1").status == 503
            time.sleep(0.1)
    before = files(node.data)
    assert node.terminate() == 0
    if how in ("older copy", "overwritten"):
        assert files(node.data) == before, "the node changed the files that replaced its own"
    if how == "overwritten":
        # The documented way to restore: empty the folder, then copy the backup into it.
        shutil.rmtree(node.data)
        aside.rename(node.data)
        node.start()
        assert node.publish(channel, 1)
    if how in ("renamed", "older copy"):
        node.start()
        # Events that the node acknowledged before it noticed the change are in the renamed folder, and not in the copy.
        assert node.history(channel)["offset"] == 1 if how == "older copy" else node.history(channel)["offset"] >= 1


# MARK: paths are paths


@pytest.mark.parametrize("name", ["file:data", "file:///srv/data", "file:data?mode=memory", ":memory:", "a?b=c#d%41", "x/", "-x"])
def test_a_data_path_is_not_treated_as_a_uri(nodes, name):
    """The path is not treated as a URI: the database and its lock are in the same folder, and no other folder is created."""
    base = nodes.folder / "base"
    base.mkdir()
    two = [nodes.make(start=False), nodes.make(start=False)]
    for node in two:
        node.data = name if name != "-x" else "./-x"
        node.popen["cwd"] = base
    two[0].start()
    folder = base / name
    assert {"lock", "log.sqlite", "log.sqlite-wal"} <= {f.name for f in folder.iterdir()}, list(base.rglob("*"))
    assert folder.stat().st_mode & 0o777 == 0o700
    two[1].start(ready=False)
    assert two[1].process.wait(PATIENCE) == 1
    assert "in use" in two[1].tail()
    two[0].publish("a", 1)
    assert two[0].terminate() == 0
    two[1].start()
    assert two[1].history("a")["offset"] == 1


# MARK: signals


def test_sighup_stops_a_node_gracefully(nodes, channel):
    """SIGHUP acts as SIGTERM, because a closing terminal sends SIGHUP. Two SIGHUPs count as one, because a shell and the kernel both send it."""
    node = nodes.make()
    with SSE(node, channel) as sse, WS(node, channel) as ws:
        eventually(lambda: node.subscribers(channel) == 2)
        node.process.send_signal(signal.SIGHUP)
        with pytest.raises(EOFError):
            sse.next()
        assert sse.retries
        with pytest.raises(Closed) as closed:
            ws.next()
        assert closed.value.code == 1012
        with contextlib.suppress(ProcessLookupError):
            node.process.send_signal(signal.SIGHUP)
    assert node.process.wait(PATIENCE) == 0
    assert "stopped" in node.tail()


def test_sighup_that_was_ignored_stays_ignored(nodes, channel):
    node = nodes.make(start=False)
    node.prefix = ["nohup"]
    node.start()
    with SSE(node, channel) as sse:
        eventually(lambda: node.subscribers(channel) == 1)
        for n in range(10):
            node.process.send_signal(signal.SIGHUP)
            node.publish(channel, n)
            assert sse.next().data == str(n)
            time.sleep(0.1)
        assert node.get("/readyz").status == 200
    assert node.terminate() == 0


# MARK: descriptors


@pytest.fixture
def zookeeper():
    folder = Path(tempfile.mkdtemp(prefix="realertime-surroundings-"))
    server = ZooKeeper(folder)
    yield server
    server.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_node_with_many_idle_api_connections_can_join_a_cluster(nodes, zookeeper, channel):
    node = Member(nodes.folder / "member", zookeeper.address, "n1", "--handshake-seconds-max", "300", descriptors=200)
    nodes.made.append(node)
    node.start(ready=False)
    eventually(lambda: node.get_or_none("/healthz"))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection((HOST, node.api), PATIENCE)) for _ in range(300)]
        assert len(idle) == 300
        # Only now the node can join. It must still have descriptors for ZooKeeper, subscribers and its history.
        zookeeper.start()
        eventually(lambda: "] ready" in node.tail())
        with SSE(node, channel) as sse:
            assert sse.cursor
            assert node.descriptor_count() < 200
            node.get("/healthz", port=node.listen)
    eventually(lambda: node.get_or_none("/api/status"))
    node.publish(channel, 1)


# MARK: processors


def test_loops_default_to_the_usable_processors(nodes):
    node = nodes.make(start=False)
    node.prefix = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    node.start()
    assert node.status()["node"]["loops"] == 1
    done = subprocess.run([*node.command(), "--check-config"], env=node.environment, capture_output=True, text=True, timeout=PATIENCE)
    line = next(line for line in done.stdout.splitlines() if line.startswith("loops"))
    assert line.split()[1] == "1" and "affinity" in line, line
