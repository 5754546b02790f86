"""Faults of a real cluster: a process is down, silent or paused, or ZooKeeper has old data. The cluster recovers completely afterwards."""

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

from harness.cluster import SESSION, health, moved
from harness.faults import Ensemble, FaultCluster, during, restored
from harness.node import HOST, PATIENCE, binary, eventually
from harness.publisher import Publisher

LONG = os.environ.get("REALERTIME_LONG_TESTS") == "1"
# The session timeout in seconds of a node that has to lose its session. All other sessions are much longer than any delay of a node in a test.
SHORT = 6


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="realertime-faults-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Clusters:
    """Makes the cluster of one test, and stops it. A failure shows the last output of its members."""

    def __init__(self, folder):
        self.folder, self.cluster = folder, None

    @property
    def made(self):
        return list(self.cluster.members.values()) if self.cluster else []

    def make(self, zookeeper=None):
        self.cluster = FaultCluster(self.folder, zookeeper)
        return self.cluster


@pytest.fixture
def clusters(folder):
    clusters = Clusters(folder)
    yield clusters
    if clusters.cluster:
        clusters.cluster.close()


@pytest.fixture
def cluster(clusters):
    """A cluster with one ZooKeeper server."""
    return clusters.make()


def run(member, *arguments, timeout=3 * PATIENCE):
    """Runs a command, as an operator would. Returns its exit code and its output."""
    if "--timeout" not in arguments:
        arguments += ("--timeout", str(PATIENCE))
    done = subprocess.run(
        [binary(), *arguments, "--api", f"http://{HOST}:{member.api}"], capture_output=True, text=True, timeout=timeout,
        env={k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")})
    return done.returncode, done.stdout + done.stderr


def says(member, command, words):
    """Waits until a command prints these words and its exit code is 1."""
    last = []

    def check():
        last[:] = run(member, command)
        return last[0] == 1 and words in last[1]
    try:
        eventually(check)
    except AssertionError:
        raise AssertionError(f"the command never printed {words!r}: {last}") from None


def publishing(members):
    publishers = {m.name: Publisher(m, ["c"], pause=0.02) for m in members}
    for publisher in publishers.values():
        publisher.start()
    return publishers


def counts(publishers):
    return {name: len(publisher.acknowledged["c"]) for name, publisher in publishers.items()}


def goes_on(publishers):
    """Waits until the node of each publisher acknowledges further publishes."""
    before = counts(publishers)
    eventually(lambda: all(now > before[name] for name, now in counts(publishers).items()))


def kinds_logged(member, since, kinds):
    """Returns the kinds of the events about a member in its own log, in order, from the offset `since`."""
    logged = re.findall(rf" event=(\w+) node={member.name} ", member.output.read_bytes()[since:].decode())
    return [kind for kind in logged if kind in kinds]


def has_link(member, peer):
    return f'realertime_link_up{{peer="{peer}"}} 1\n' in member.get("/metrics").body.decode()


def judged_alike(member):
    """Checks that every command reports the same reason while ZooKeeper is away, and first says whether clients are affected."""
    unaffected = "Subscribers are not affected, and with the log on Redis publishers are not affected either; "
    own, whole = member.get("/api/status").json, member.get_json("/api/cluster")
    # A second reason says that partitions have no owner. The session, which the sentence names, changes between lost and connecting.
    text = own["reasons"][0].split(" (its session is")[0]
    assert text.startswith(unaffected) and own["health"] == "degraded", own
    assert whole["reasons"][0].startswith(text) and whole["health"] == whole["coordination"]["health"] == "degraded", whole
    for looks in ["status"], ["members"], ["partitions"]:
        code, output = run(member, *looks)
        assert code == 1 and output.count(text) == 1, (looks, output)
    code, output = run(member, "members")
    assert " live " not in output and output.count("no report") == 2 and "\nS" not in output, output
    # With the log in memory nothing can be published, and the checks that publish say so.
    code, output = run(member, "doctor", "--timeout", "2")
    assert code == 2 and re.search(r"warn +zookeeper +" + re.escape(text), output) and "\nfail" in output, output
    code, output = run(member, "drain", "n3", "--no-wait")
    assert code == 2 and f"503 for /api/drain: nothing was changed. {unaffected}" in output and "not the controller" not in output, output


def test_zookeeper_is_away_for_longer_than_the_sessions(cluster):
    names = ["n1", "n2", "n3"]
    owners = cluster.begin(*names)
    epochs = cluster.epochs("n1")
    members = [cluster.members[name] for name in names]
    versions = {m.name: m.own["view_version"] for m in members}
    cluster.zookeeper.kill()
    killed = time.monotonic()
    # Each node relinquishes its partitions before its session ends, and reports why it is degraded.
    for member in members:
        eventually(lambda: member.serving == 0)
    for _ in during((60 if LONG else SESSION + 2) - (time.monotonic() - killed)):
        for member in members:
            own, status = member.own, eventually(lambda: member.get_json("/api/cluster"))
            assert own["session"] != "connected" and own["partitions"]["serving"] == 0, own
            # No node makes a decision.
            assert own["view_version"] == status["view_version"] == versions[member.name] and not status["authoritative"], status
            assert status["health"] != "healthy" and status["zookeeper"]["state"] != "connected", status
            assert any("no connection to ZooKeeper" in reason for reason in status["reasons"]), status
            assert {m["id"] for m in eventually(lambda: member.get_json("/api/members"))["members"]} == set(names)
            assert member.get("/readyz").status == 200
    # With the log in memory only the session proves that no other node owns a partition.
    assert members[0].post("/pub?id=c", b"1").status == 503
    for member in members:
        judged_alike(member)
    cluster.zookeeper.start()
    # The member znodes exist for another session timeout. All nodes come back before that time is over.
    after = cluster.settled(names)
    assert moved(owners, after) == 0, Counter(zip(owners.values(), after.values()))
    # Each partition was granted exactly once, to its previous owner. No other node owned it in the meantime.
    assert {p: e - epochs[p] for p, e in cluster.epochs("n1").items() if e - epochs[p] != 1} == {}
    for member in members:
        health(member, "healthy")
    publishers = publishing(members)
    goes_on(publishers)
    for publisher in publishers.values():
        publisher.finish()
    cluster.witness.finish()


def codes(member):
    """Returns for each node the two letters of its state and its session, as `members` shows them."""
    lines = run(member, "members")[1].splitlines()
    return {line.split()[1]: (line.split()[0], line[lines[0].index("SESSION"):].split("  ")[0]) for line in lines[1:] if re.match(r"[UDFS?][A-Z] ", line)}


def test_only_the_unreachable_node_is_suspect(cluster):
    names = ["n1", "n2", "n3"]
    cluster.begin(*names)
    controller = cluster.controller("n1")
    lost, other = [cluster.members[name] for name in names if cluster.members[name] is not controller]
    lost.process.send_signal(signal.SIGSTOP)
    for member in controller, other:
        eventually(lambda: codes(member).get(lost.name, ("", ""))[0] in ("SA", "FA"))
        seen = codes(member)
        assert seen[controller.name][0] == seen[other.name][0] == "UA", seen
        # The session is shown as "no report" five seconds after the node's last report.
        eventually(lambda: codes(member)[lost.name][1].startswith("no report"))
    code, output = run(other, "members")
    suspect = f"{lost.name} is suspect: unreachable from {', '.join(sorted([controller.name, other.name]))}"
    # After a few seconds the suspect is fenced.
    assert code == 1 and (suspect in output or f"{lost.name} is fenced: most nodes cannot reach its link" in output), output
    lost.process.send_signal(signal.SIGCONT)
    cluster.settled(names)
    # While ZooKeeper is away no decision is made, but a dead node is still shown as down.
    cluster.zookeeper.kill()
    eventually(lambda: other.own["session"] != "connected" and other.serving == 0 and controller.serving == 0)
    lost.process.kill()
    eventually(lambda: codes(other).get(lost.name) == ("DA", "no report"))
    seen = codes(other)
    assert seen[controller.name] == ("UA", "no report") and seen[other.name][0] == "UA", seen
    assert not seen[other.name][1].startswith("live"), seen


@pytest.mark.parametrize("elections", [0, 2], ids=["one-controller", "two-elections-later"])
def test_zookeeper_comes_back_with_an_older_snapshot(cluster, folder, elections):
    cluster.begin("n1", "n2", session=SHORT)
    # The copy is made while the server is down for a moment, as an operator would do it.
    cluster.zookeeper.kill()
    shutil.copytree(cluster.zookeeper.folder / "data", folder / "copy")
    cluster.zookeeper.start()
    cluster.settled(["n1", "n2"])
    at_copy = cluster.members["n1"].own["view_version"]
    # The view advances: a node joins, and other nodes become the controller.
    names = ["n1", "n2", "n3"]
    cluster.begin("n3", session=SHORT)
    asked = cluster.members["n3"]
    for _ in range(elections):
        before = asked.authoritative("/api/cluster")["controller"]
        controller = cluster.members[before["id"]]
        controller.kill()
        rest = [name for name in names if name != controller.name]
        cluster.settled(rest)
        asked = cluster.members[rest[0]]
        assert asked.authoritative("/api/cluster")["controller"]["epoch"] > before["epoch"]
        controller.start()
    cluster.settled(names)
    members = [cluster.members[name] for name in names]
    version, epochs = cluster.members["n1"].own["view_version"], cluster.epochs("n1")
    assert version > at_copy
    cluster.zookeeper.kill()
    restored(cluster.zookeeper, folder / "copy")
    cluster.zookeeper.start()
    # No node follows the old view, and one node reports the problem.
    eventually(lambda: any("lost writes" in (m.own or {}).get("alarm", "") for m in members))
    alarmed = next(m for m in members if "lost writes" in (m.own or {}).get("alarm", ""))
    # The controller's history contains the alarm after that node's next report.
    eventually(lambda: any(e["kind"] == "alarm" and "lost writes" in e["text"] for m in members for e in m.events))
    # No operator has to act: the controller writes the newer view again, with owner epochs that were never used.
    after = cluster.settled(names)
    assert alarmed.own["view_version"] > version
    assert {p: (epochs[p], e) for p, e in cluster.epochs("n1").items() if e <= epochs[p]} == {}
    # For ten minutes every node reports what was lost.
    for member in members:
        says(member, "status", "lost writes")
    # The cluster works again: an operator's request is executed.
    code, output = run(members[0], "drain", "n2")
    assert code == 0, output
    drained = cluster.members["n3"].owners()
    assert "n2" not in drained.values() and all(after[p] == "n2" for p in after if after[p] != drained[p])
    code, output = run(members[0], "undrain", "n2")
    assert code == 0, output
    cluster.settled(names)
    cluster.witness.finish()


def test_zookeeper_is_emptied_and_all_nodes_restart(cluster):
    names = ["n1", "n2"]
    cluster.begin(*names)
    members = [cluster.members[name] for name in names]
    code, output = run(members[0], "cordon", "n2", "--note", "disk")
    assert code == 0, output
    epochs, version = cluster.epochs("n1"), members[0].own["view_version"]
    # Every node has the last request on its disk within a second.
    eventually(lambda: all('"note":"disk"' in (m.data / "cluster.json").read_text() for m in members))
    cluster.witness.stop()
    for member in members:
        member.kill()
    cluster.zookeeper.kill()
    shutil.rmtree(cluster.zookeeper.folder / "data")
    cluster.zookeeper.start()
    for member in members:
        member.start()
    eventually(lambda: cluster.member_state("n2", "n1") == "cordoned")
    eventually(lambda: sum(m.serving for m in members) == 256)
    assert {p: (epochs[p], e) for p, e in cluster.epochs("n1").items() if e <= epochs[p]} == {}
    assert members[0].own["view_version"] > version
    assert any(e["kind"] == "alarm" and "n2 is to be cordoned" in e["text"] for m in members for e in m.events)
    # Other nodes make a new cluster of the same name. The first node is not a member of the new cluster.
    for member in members:
        member.kill()
    cluster.zookeeper.kill()
    shutil.rmtree(cluster.zookeeper.folder / "data")
    cluster.zookeeper.start()
    cluster.begin("n3")
    members[0].start(ready=False)
    eventually(lambda: members[0].process.poll() == 78)
    assert "another cluster at /rt/" in members[0].output.read_text()


def test_the_leader_of_the_ensemble_dies(clusters, folder):
    cluster = clusters.make(Ensemble(folder))
    names = ["n1", "n2", "n3"]
    # A node keeps its partitions for a third of its session while the ZooKeeper servers elect a leader.
    owners = cluster.begin(*names, session=60)
    members = [cluster.members[name] for name in names]
    incarnations, version = cluster.incarnations("n1"), members[0].own["view_version"]
    publishers = publishing(members)
    leader = cluster.zookeeper.leader()
    leader.kill()
    eventually(lambda: cluster.zookeeper.leader().mode == "leader")
    # Sessions survive the death of one server: no node left, and no partition moved.
    eventually(lambda: all((m.own or {}).get("session") == "connected" for m in members))
    after = cluster.settled(names)
    assert cluster.incarnations("n1") == incarnations
    assert moved(owners, after) == 0 and members[0].own["view_version"] >= version
    # ZooKeeper works with two of three servers.
    code, output = run(members[0], "drain", "n3")
    assert code == 0, output
    drained = cluster.members["n2"].owners()
    assert "n3" not in drained.values() and all(after[p] == "n3" for p in after if after[p] != drained[p])
    code, output = run(members[0], "undrain", "n3")
    assert code == 0, output
    cluster.settled(names)
    # The server that was killed starts again, and catches up.
    leader.launch(cluster.zookeeper.servers)
    eventually(lambda: leader.mode == "follower")
    for publisher in publishers.values():
        publisher.finish()
        assert publisher.repeats == 0
    cluster.witness.finish()


@pytest.mark.parametrize("name, cut", [("n1", "silence"), ("n3", "shut")], ids=["the-controller-in-silence", "another-at-once"])
def test_one_node_is_cut_off_from_zookeeper(cluster, name, cut):
    proxy = cluster.proxy(cluster.zookeeper.port.number)
    cluster.make(name, zookeeper=proxy.address, session=SHORT)
    names = ["n1", "n2", "n3"]
    owners = cluster.begin(*names)
    member, rest = cluster.members[name], [n for n in names if n != name]
    before = cluster.incarnations("n2")
    epochs = cluster.epochs("n2")
    publishers = publishing([member])
    logged = member.output.stat().st_size
    getattr(proxy, cut)()
    # No server can report the end of the session to this node. So the node ends its session by its own clock.
    eventually(lambda: member.serving == 0)
    assert eventually(lambda: kinds_logged(member, logged, ("session_lost", "joined", "elected", "evicted")))[0] == "session_lost"
    assert member.own["session"] != "connected" and member.own.get("incarnation") is None
    # The other nodes take over the partitions of this node, and no other partition moves.
    without = cluster.settled(rest)
    assert sorted(p for p in without if without[p] != owners[p]) == sorted(p for p in owners if owners[p] == name)
    assert all(e > epochs[p] for p, e in cluster.epochs("n2").items() if owners[p] == name)
    # The node returns only the data that it has itself, with the reason.
    status = eventually(lambda: member.get_json("/api/cluster"))
    assert not status["authoritative"] and any("no connection to ZooKeeper" in reason for reason in status["reasons"]), status
    assert member.serving == 0
    goes_on(publishers)
    proxy.open()
    after = cluster.settled(names)
    # Only as many partitions move back as a join needs.
    assert moved(without, after) == sum(owner == name for owner in after.values())
    now = cluster.incarnations("n2")
    assert now[name] > before[name] and all(now[other] == before[other] for other in rest)
    # The owner refuses a publish when it is not sure any more that it is the only owner. The publisher repeats it.
    publishers[name].finish()
    cluster.witness.finish()


def test_the_link_of_one_node_is_cut(cluster):
    names = ["n1", "n2", "n3"]
    cluster.make("n3", link_proxy=True)
    owners = cluster.begin(*names)
    member = cluster.members["n3"]
    before = cluster.incarnations("n1")
    publishers = publishing([member])
    member.link_proxy.silence()
    cutoff = time.monotonic()
    eventually(lambda: cluster.member_state("n3", "n1") == "fenced")
    # The node is fenced after four seconds of silence. The link itself is down before that.
    assert time.monotonic() - cutoff > 4
    eventually(lambda: Counter(cluster.members["n1"].owners().values()) == {"n1": 128, "n2": 128})
    fenced = cluster.members["n1"].owners()
    assert all(owners[p] == "n3" for p in owners if owners[p] != fenced[p])
    # The node has a session, so it reads in the view that it is fenced. The same incarnation stays a member, and owns nothing.
    eventually(lambda: member.serving == 0)
    assert member.own["session"] == "connected" and cluster.incarnations("n1") == before
    says(cluster.members["n2"], "status", "n3 is fenced")
    code, output = run(cluster.members["n2"], "members")
    assert any(line.split()[:2] == ["FA", "n3"] for line in output.splitlines()), output
    member.link_proxy.open()
    opened = time.monotonic()
    eventually(lambda: has_link(cluster.members["n1"], "n3") and has_link(cluster.members["n2"], "n3"))
    goes_on(publishers)
    # The node gets partitions only after it has been reached for half a minute. After that time this check would prove nothing.
    for _ in during(28 - (time.monotonic() - opened) if LONG else 2):
        seen = cluster.member_state("n3", "n1"), member.serving
        assert seen == ("fenced", 0) or time.monotonic() - opened > 28, seen
    if LONG:
        after = cluster.settled(names)
        assert moved(fenced, after) == sum(owner == "n3" for owner in after.values())
    publishers["n3"].finish()
    assert publishers["n3"].repeats == 0
    cluster.witness.finish()


def test_the_link_of_one_node_refuses(cluster):
    names = ["n1", "n2", "n3"]
    cluster.make("n3", link_proxy=True)
    owners = cluster.begin(*names)
    member = cluster.members["n3"]
    before = cluster.incarnations("n1")
    logged = member.output.stat().st_size
    member.link_proxy.shut()
    # A closed port counts as a dead process: the controller reassigns its partitions before its session ends and before it would be fenced.
    eventually(lambda: Counter(cluster.members["n1"].owners().values()) == {"n1": 128, "n2": 128})
    without = cluster.members["n1"].owners()
    assert all(owners[p] == "n3" for p in owners if owners[p] != without[p])
    states = [e["text"] for e in cluster.members["n1"].events if e["kind"] == "node" and e["node"] == "n3"]
    assert "active is now down: it refuses connections" in states and not any(text.startswith("active is now fenced") for text in states), states
    # But this node lives. It joins again as a new incarnation and owns nothing. It stays joining, because no node reaches it.
    eventually(lambda: cluster.member_state("n3", "n1") == "joining" and (cluster.incarnations("n1")["n3"] or 0) > before["n3"])
    joining = cluster.incarnations("n1")["n3"]
    for _ in during(3):
        assert cluster.member_state("n3", "n1") == "joining" and cluster.incarnations("n1")["n3"] == joining
        assert member.own["incarnation"] == joining and member.serving == 0 and member.own["session"] == "connected"
    assert kinds_logged(member, logged, ("session_lost", "evicted", "joined")) == ["evicted", "joined"]
    member.link_proxy.open()
    after = cluster.settled(names)
    assert moved(without, after) == sum(owner == "n3" for owner in after.values())
    cluster.witness.finish()


def test_a_pause_longer_than_the_session(cluster):
    names = ["n1", "n2", "n3"]
    # The pause ends before the other nodes would replace this node as controller. Another test covers that case.
    cluster.make("n1", session=SHORT)
    owners = cluster.begin(*names)
    member = cluster.members["n1"]
    assert cluster.controller("n2") is member
    incarnation, version = member.own["incarnation"], member.own["view_version"]
    logged = member.output.stat().st_size
    member.process.send_signal(signal.SIGSTOP)
    without = cluster.settled(["n2", "n3"])
    assert sorted(p for p in without if without[p] != owners[p]) == sorted(p for p in owners if owners[p] == "n1")
    taken = cluster.members["n2"].own["view_version"]
    member.process.send_signal(signal.SIGCONT)
    # The node first relinquishes its partitions. All partitions that it serves later were granted to its new incarnation, by a view written after the pause.
    seen = []

    def served_again():
        own = member.own
        if not own:
            return False
        seen.append(own)
        return own["partitions"]["serving"] and own.get("incarnation") not in (incarnation, None)
    eventually(served_again, every=0.005)
    # The limit is a number of responses and not of seconds, so that a slow machine has the same number of checks.
    kept = [own for own in seen if own["partitions"]["serving"] and own.get("incarnation") in (incarnation, None)]
    assert len(kept) < 100 and kept == seen[:len(kept)], f"{len(kept)} of {len(seen)}: {kept[-1:]}"
    assert seen[-1]["incarnation"] > incarnation and seen[-1]["view_version"] > taken, seen[-3:]
    after = cluster.settled(names)
    assert moved(without, after) == sum(owner == "n1" for owner in after.values())
    # The node logged first the lost session, then that it joined. It was not elected in between, so the others' decisions are still valid.
    assert kinds_logged(member, logged, ("session_lost", "joined", "elected", "alarm")) == ["session_lost", "joined"]
    assert cluster.controller("n1") is not member and member.own["view_version"] > version
    cluster.witness.finish()
