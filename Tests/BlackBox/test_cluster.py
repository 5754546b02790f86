"""A cluster of real processes with a real ZooKeeper: membership, ownership, and how they change."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.cluster import Cluster, Member, health, moved
from harness.node import PATIENCE, binary, eventually
from harness.subscribers import SSE, WS, Lines, LongPoll
from harness.websocket import Closed


@pytest.fixture
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="realertime-cluster-"))
    cluster = Cluster(folder)
    yield cluster
    cluster.close()
    shutil.rmtree(folder, ignore_errors=True)


def served(cluster, names):
    """Checks that no two nodes report that they serve one partition under the same owner epoch."""
    for name in names:
        status = cluster.members[name].authoritative("/api/cluster")
        assert status["partitions"]["contested"] == 0, status


def incarnations(member):
    return {m["id"]: m.get("incarnation") for m in member.authoritative("/api/members")["members"]}


def test_a_cluster_grows_to_five_nodes_and_shrinks(cluster):
    cluster.add("n1")
    owners = cluster.settled(["n1"])
    names = ["n1"]
    for name in ("n2", "n3", "n4", "n5"):
        # The session of n3 is short, because this test later pauses n3 until its session ends.
        cluster.add(name, **({"session": 6} if name == "n3" else {}))
        names.append(name)
        before, owners = owners, cluster.settled(names)
        # A join moves only the new node's share.
        assert moved(before, owners) == 256 // len(names), Counter(owners.values())
        assert all(owners[p] == name for p in owners if owners[p] != before[p])
        served(cluster, names)

    def without(name, end):
        nonlocal owners
        member = cluster.members[name]
        had = [p for p, owner in owners.items() if owner == name]
        end(member)
        names.remove(name)
        before, owners = owners, cluster.settled(names)
        # Only the partitions of this node moved.
        assert sorted(p for p in owners if owners[p] != before[p]) == sorted(had)
        served(cluster, names)

    without("n5", lambda member: member.process.kill())
    without("n4", lambda member: member.process.send_signal(signal.SIGTERM))
    assert cluster.members["n4"].process.wait(PATIENCE) == 0
    without("n3", lambda member: member.process.send_signal(signal.SIGSTOP))
    cluster.members["n3"].process.send_signal(signal.SIGCONT)
    names.append("n3")
    cluster.settled(names)
    # The node notices that it was paused. It serves only partitions that were granted to it after the pause.
    assert cluster.members["n3"].authoritative("/api/cluster")["partitions"]["contested"] == 0


def test_the_controller_dies(cluster):
    for name in ("n1", "n2", "n3"):
        cluster.add(name)
    cluster.settled(["n1", "n2", "n3"])
    for _ in range(2):
        names = [m.name for m in cluster.running()]
        before = cluster.members[names[0]].authoritative("/api/cluster")["controller"]
        cluster.members[before["id"]].kill()
        rest = [name for name in names if name != before["id"]]
        cluster.settled(rest)
        after = cluster.members[rest[0]].authoritative("/api/cluster")["controller"]
        assert after["id"] in rest and after["epoch"] > before["epoch"]


def test_a_restarted_node_keeps_its_id(cluster):
    cluster.add("n1")
    # This session would end only after a minute. No node waits for its end.
    member = cluster.add("n2", session=60)
    cluster.settled(["n1", "n2"])
    before = incarnations(cluster.members["n1"])
    member.kill()
    killed = time.monotonic()
    member.start()
    eventually(lambda: (incarnations(cluster.members["n1"])["n2"] or 0) > before["n2"])
    assert time.monotonic() - killed < 50, "the node waited until its former session ended"
    cluster.settled(["n1", "n2"])
    assert incarnations(cluster.members["n1"])["n1"] == before["n1"]


def test_a_second_node_with_the_same_id_is_refused(cluster):
    cluster.add("n1")
    cluster.settled(["n1"])
    # The second node waits for the end of the first node's session, but at most for its own session timeout.
    twin = Member(cluster.folder / "twin", cluster.zookeeper.address, "n1", session=2)
    try:
        code, output = twin.fails()
        assert code == 78 and "another node uses the id n1" in output, output
        assert "serving, joining the cluster" in output and "] ready" not in output and "joined the cluster" not in output, output
    finally:
        twin.close()
    cluster.settled(["n1"])


def test_a_node_logs_when_it_is_ready(cluster):
    """The log has the same steps as /readyz, in order: the node serves, has joined, is ready."""
    member = cluster.add("n1")
    eventually(lambda: "] ready" in member.tail(20_000))
    log = member.tail(20_000)
    assert log.index("] serving, joining the cluster") < log.index("] joined the cluster") < log.index("] ready"), log


def test_every_kind_of_event_can_be_chosen(cluster):
    member = cluster.add("n1")
    kinds = re.findall(r'realertime_cluster_events_total\{kind="(.*?)"', member.get("/metrics").body.decode())
    assert len(kinds) > 10
    code, output = run("events", *(option for kind in kinds for option in ("--kind", kind)), api=member.api)
    assert code == 0 and " joined " in output, output


def test_zookeeper_is_away(cluster):
    # Sessions are long: without a server a node keeps its partitions for a third of its session timeout, and a server needs some seconds to start.
    for name in ("n1", "n2"):
        cluster.add(name, session=60)
    owners = cluster.settled(["n1", "n2"])
    before = incarnations(cluster.members["n1"])
    cluster.zookeeper.kill()
    # The outage is long enough to be detected, and shorter than the sessions.
    eventually(lambda: (cluster.members["n1"].get_json("/api/cluster") or {"zookeeper": {"state": "connected"}})["zookeeper"]["state"] != "connected")
    # Publishes and readiness need no decision of the cluster, so both continue.
    cluster.members["n1"].publish("c", "x")
    assert cluster.members["n1"].get("/readyz").status == 200
    cluster.zookeeper.start()
    health(cluster.members["n1"], "healthy")
    after = cluster.settled(["n1", "n2"])
    now = incarnations(cluster.members["n1"])
    assert set(now) == set(before)
    # A client that connects before the server is ready may wait until its session ends. If all nodes kept their sessions, no partition has moved.
    assert now != before or moved(owners, after) == 0


def test_a_node_starts_before_zookeeper(cluster):
    cluster.zookeeper.kill()
    member = cluster.add("n1", ready=False)
    eventually(lambda: member.get_or_none("/healthz"))
    eventually(lambda: "joined" in member.get("/readyz").body.decode())
    assert member.get("/readyz").status == 503
    assert member.status()["node"]["state"] == "starting" and "] ready" not in member.tail()
    cluster.zookeeper.start()
    cluster.settled(["n1"])
    eventually(lambda: member.get("/readyz").status == 200 and member.status()["node"]["state"] == "ready")


def run(*arguments, api, timeout=3 * PATIENCE):
    """Runs a command, as an operator would. Returns its exit code and its output."""
    done = subprocess.run(
        [binary(), *arguments, "--timeout", str(PATIENCE), "--api", f"http://127.0.0.1:{api}"], capture_output=True, text=True, timeout=timeout,
        env={k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")})
    return done.returncode, done.stdout + done.stderr


def test_operators_drain_cordon_and_move(cluster):
    for name in ("n1", "n2", "n3"):
        cluster.add(name)
    owners = cluster.settled(["n1", "n2", "n3"])
    # The commands may use any node, here n2.
    api = cluster.members["n2"].api
    eventually(lambda: run("status", api=api)[0] == 0)
    code, output = run("drain", "n3", "--note", "kernel update", api=api)
    assert code == 0, output
    after = cluster.members["n1"].owners()
    assert "n3" not in after.values()
    # Only the partitions of n3 have moved.
    assert all(owners[p] == "n3" for p in owners if owners[p] != after[p])
    member = next(m for m in cluster.members["n1"].authoritative("/api/members")["members"] if m["id"] == "n3")
    assert member["state"] == "drained" and member["note"] == "kernel update"
    # Operator and note are in the status, in the events and in the log. The drain is one event, about its node.
    code, output = run("status", api=api)
    assert code == 0 and "n3 is drained, requested by " in output and "(kernel update)" in output, output
    events = json.loads(run("events", "--kind", "operation", "--kind", "moved", "-o", "json", api=api)[1])["events"]
    [operation] = [e for e in events if e["kind"] == "operation"]
    assert operation["node"] == "n3" and operation["note"] == "kernel update" and operation["text"].endswith(": kernel update"), events
    [drain] = [e for e in events if e["kind"] == "moved" and e["text"].startswith("drain n3: ")]
    had = sum(owner == "n3" for owner in owners.values())
    assert drain["node"] == "n3" and drain["count"] == had == sum(t["count"] for t in drain["transfers"]), events
    assert any(operation["text"] in m.output.read_bytes().decode() for m in cluster.running())
    code, output = run("undrain", "n3", api=api)
    assert code == 0, output
    owners = cluster.settled(["n1", "n2", "n3"])
    # A cordoned node keeps its partitions and gains none.
    assert run("cordon", "n1", api=api)[0] == 0
    had = [p for p, owner in owners.items() if owner == "n1"]
    cluster.members["n2"].process.kill()
    eventually(lambda: Counter(cluster.members["n3"].owners().values()) == {"n1": len(had), "n3": 256 - len(had)})
    api = cluster.members["n3"].api
    assert run("uncordon", "n1", api=api)[0] == 0
    eventually(lambda: Counter(cluster.members["n3"].owners().values()) == {"n1": 128, "n3": 128})
    # A partition stays at the node that an operator moved it to.
    partition = next(p for p, owner in cluster.members["n3"].owners().items() if owner == "n1")
    code, output = run("move", str(partition), "--to", "n3", api=api)
    assert code == 0, output
    eventually(lambda: cluster.members["n1"].owners()[partition] == "n3")
    # A node that is down can be forgotten. A live node cannot.
    code, output = run("forget", "n1", api=api)
    assert code != 0 and "member" in output, output
    assert run("forget", "n2", api=api)[0] == 0
    eventually(lambda: {m["id"] for m in cluster.members["n3"].authoritative("/api/members")["members"]} == {"n1", "n3"})
    events = cluster.members["n3"].authoritative("/api/events")["events"]
    assert any("drain n3" in e["text"] for e in cluster.members["n1"].authoritative("/api/events")["events"] + events)


def test_a_drained_node_asks_its_subscribers_to_reconnect(cluster):
    for name in ("n1", "n2"):
        cluster.add(name, "--drain-seconds", "2")
    cluster.settled(["n1", "n2"])
    node, other = cluster.members["n1"], cluster.members["n2"]
    with SSE(node, "c") as sse, WS(node, "c") as ws, Lines(node, "c") as lines, LongPoll(node, "c") as poll, SSE(other, "c") as elsewhere:
        poll.send_poll()
        # Four of them at n1: the number counts the subscribers of all nodes.
        eventually(lambda: node.subscribers("c") == 5)
        code, output = run("drain", "n1", api=other.api)
        assert code == 0, output
        eventually(lambda: node.get("/readyz").status == 503)
        with pytest.raises(EOFError):
            sse.next()
        assert sse.retries and sse.response.ended
        with pytest.raises(Closed) as closed:
            ws.next()
        assert closed.value.code == 1012
        with pytest.raises(EOFError):
            lines.next()
        assert poll.poll()[0] == []
        # The node serves a subscriber that still arrives, and asks it to reconnect a little later.
        node.publish("c", 1)
        with SSE(node, "c.b1") as late:
            assert late.next().data == "1"
            with pytest.raises(EOFError):
                late.next()
        eventually(lambda: node.metric("realertime_drained_total") == 5)
        assert run("undrain", "n1", api=other.api)[0] == 0
        eventually(lambda: node.get("/readyz").status == 200)
        cluster.settled(["n1", "n2"])
        # The node's loops stop disconnecting subscribers within a second. A subscriber that arrives before that may still be asked to reconnect.
        time.sleep(3)
        # A channel that the node owns: with the log in memory, the death of the other node begins new epochs in its own channels.
        own = next(c for c in (f"c{i}" for i in range(200)) if node.get_json(f"/api/locate?channel={c}")["partitions"][0]["owner"] == "n1")
        with SSE(node, own) as back:
            back.none(4)
            # If no other node is active, the subscribers stay.
            elsewhere.close()
            other.kill()
            eventually(lambda: node.authoritative("/api/cluster")["nodes"]["active"] == 1)
            assert run("drain", "n1", "--no-wait", api=node.api)[0] == 0
            eventually(lambda: node.get("/readyz").status == 503)
            back.none(4)


def test_many_nodes_vanish_together(cluster):
    names = ["n1", "n2", "n3", "n4", "n5"]
    for name in names:
        cluster.add(name)
    owners = cluster.settled(names)
    controller = cluster.members["n1"]
    assert controller.authoritative("/api/cluster")["controller"]["id"] == "n1"
    last = max(e["number"] for e in controller.authoritative("/api/events")["events"])
    vanished = ("n3", "n4", "n5")
    for name in vanished:
        cluster.members[name].process.kill()
    for name in vanished:
        cluster.members[name].process.wait()
    # The cause is more likely the network than the nodes, so the partitions wait for their owners. The controller reassigned the partitions of the first
    # two nodes before it found the third one missing. Only the partitions of the third node wait.
    guarded = {}

    def is_guarded():
        guarded.update(controller.get_json("/api/cluster") or {})
        return guarded.get("mode") == "guarded"
    eventually(is_guarded)
    assert guarded["partitions"]["orphan"] >= 51 and guarded["health"] == "critical", guarded
    for name in vanished:
        cluster.members[name].start(ready=False)
    after = cluster.settled(names)
    eventually(lambda: controller.authoritative("/api/cluster")["mode"] == "normal")
    events = [e for e in controller.authoritative("/api/events")["events"] if e["number"] > last]
    modes = [e for e in events if e["kind"] == "mode"]
    assert [e["text"].split(":")[0] for e in modes] == ["mode normal is now guarded", "mode guarded is now normal"], events
    assert all(name in modes[0]["text"] for name in vanished), modes
    begin, end = (e["number"] for e in modes)
    taken = [e for e in events if begin < e["number"] < end and e["kind"] == "granted" and {t["to"] for t in e["transfers"]} & {"n1", "n2"}]
    assert taken == [], taken
    # Partitions wait only 15 seconds. A node that was back within that time has its partitions again.
    back = [next(e["view"] for e in events if e["node"] == name and e["number"] > begin and " is now active" in e["text"]) for name in vanished]
    if max(back) <= modes[1]["view"]:
        assert moved(owners, after) <= 103, Counter(after.values())


def metrics_of(member):
    """Returns the samples of /metrics, by name and labels."""
    text = member.get("/metrics").body.decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and not line.startswith("#")}


def test_a_member_shows_its_links_and_metrics(cluster):
    for name in ("n1", "n2", "n3"):
        cluster.add(name)
    cluster.settled(["n1", "n2", "n3"])
    members = cluster.running()

    def links_up():
        return all(
            metrics_of(m).get(f'realertime_link_up{{peer="{peer.name}"}}') == 1 for m in members for peer in members if peer is not m
        )

    eventually(links_up)
    figures = [metrics_of(m) for m in members]
    assert sum(f["realertime_controller"] for f in figures) == 1
    assert len({f["realertime_view_version"] for f in figures}) == 1
    for f in figures:
        assert f["realertime_zookeeper_connected"] == 1
        assert f["realertime_controller_known"] == 1
        assert f["realertime_cluster_alarm"] == 0
    assert sum(f['realertime_partitions{state="serving"}'] for f in figures) == 256
    assert sum(f['realertime_cluster_events_total{kind="elected"}'] for f in figures) == 1

    status = members[0].authoritative("/api/status")["cluster"]
    assert status["session"] == "connected"
    up = {(link["peer"], link["direction"]) for link in status["links"] if link["state"] == "up"}
    assert up == {(m.name, way) for m in members[1:] for way in ("outgoing", "incoming")}, status

    # The link to a dead peer is down, with the reason, until the view shows the peer as down.
    members[2].process.kill()
    members[2].process.wait()
    cluster.settled(["n1", "n2"])
    eventually(lambda: [link["peer"] for link in members[0].authoritative("/api/status")["cluster"]["links"] if link["state"] == "up"] == ["n2", "n2"])
    sessions = {m["id"]: m.get("session") for m in members[0].authoritative("/api/members")["members"]}
    assert (sessions["n1"], sessions["n2"], sessions["n3"]) == ("connected", "connected", None)
