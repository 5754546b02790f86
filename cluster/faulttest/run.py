"""One run: servers, nodes, clients, faults, and the verdict."""

import contextlib
import http.client
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from harness.cluster import ZooKeeper
from harness.faults import Ensemble, FaultCluster, FaultMember, Witness
from harness.node import Node
from harness.redis import Redis
from harness.wall_clock import WallClock

from . import publishers, subscribers
from .checker import check
from .cursor import Cursors
from .history import History
from .nemeses import NEMESES, SESSION

CHANNELS = 8
# How long the cluster may take to settle after a fault. A debug build on a busy machine needs longer than the design's 15 s.
SETTLE_SECONDS = 60
# How long the last events may take to arrive.
LAST_SECONDS = 60
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec")


class Run:
    LAST = "last"

    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.folder = Path(tempfile.mkdtemp(prefix="realertime-faults-"))
        self.history = History(self.folder / "history.jsonl")
        self.channels = [f"thread:{n}" for n in range(CHANNELS)]
        self.cursors = Cursors(self.channels)
        self.log = options.log if options.nodes > 1 else "sqlite"
        self.has = set()
        self.nodes, self.extras, self.publishers, self.subscribers = [], [], [], []
        self.zookeepers, self.redis, self.replicas, self.cluster, self.witness, self.reader = [], [], {}, None, None, None
        self.pins = set()
        self.findings = []
        self.targets = []
        self.begun = time.monotonic()

    @property
    def names(self):
        return {n.name: n for n in self.nodes}

    def everyone(self):
        return self.nodes + self.extras

    def prepare(self, node):
        """Its own wall clock, its defect, and the file to which a debug build writes what it owns."""
        if WallClock.COMPILER:
            self.has.add("clock")
            node.clock = WallClock(node.folder / "clock")
            node.env |= node.clock.env
        node.env["TEST_OWNER_HISTORY"] = str(node.folder / "owner.jsonl")
        if self.options.defect:
            node.env["TEST_DEFECT"] = self.options.defect
        return node

    def say(self, text):
        if self.options.o != "json":
            print(f"{time.monotonic() - self.begun:7.1f} s  {text}", flush=True)

    def finding(self, text):
        self.findings.append(text)
        self.say(f"!! {text}")

    def target(self, name):
        self.targets.append(name)

    @staticmethod
    def wait(condition, seconds, every=0.05):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(every)
        return True

    # MARK: what runs

    def start(self):
        self.history.add(
            "run", log=self.log, seed=self.options.seed, nodes=self.options.nodes, history_events_max=1000, settle_seconds=SETTLE_SECONDS)
        if self.options.nodes == 1:
            node = self.prepare(Node(self.folder / "n1"))
            node.name = "n1"
            self.nodes.append(node)
            node.start()
            return
        self.has.add("cluster")
        zookeeper = Ensemble(self.folder) if self.options.ensemble else ZooKeeper(self.folder)
        if self.options.ensemble:
            self.has.add("ensemble")
        self.cluster = FaultCluster(self.folder, zookeeper)
        self.zookeepers = zookeeper.servers if self.options.ensemble else [zookeeper]
        if self.log == "redis":
            self.has |= {"redis", "replica"}
            # A server whose commits are confirmed by a replica need not wait for its disk.
            flags = EVERY_SECOND if self.options.replicas else ALWAYS
            self.redis = [Redis(self.folder / f"redis{n}", *flags).start() for n in (1, 2)]
            for number, server in enumerate(self.redis if self.options.replicas else self.redis[:1]):
                self.replicas[number] = Redis(self.folder / f"replica{number + 1}", *flags).start("--replicaof", "127.0.0.1", str(server.port.number))
        for n in range(self.options.nodes):
            self.nodes.append(self.make(f"n{n + 1}"))
        for node in self.nodes:
            node.start()
        self.settle(record=False)
        self.witness = Witness(self.nodes, every=0.5)

    def make(self, name):
        """A node that reaches ZooKeeper and Redis, and is reached by the other nodes, only through proxies."""
        zookeepers = [self.cluster.proxy(s.port.number) for s in self.zookeepers]
        redis = [self.cluster.proxy(r.port.number) for r in self.redis]
        log = ("--redis", ",".join(f"redis://{p.address}" for p in redis)) if redis else ("--log", "memory")
        if self.options.replicas:
            log += ("--redis-replicas-min", "1")
        node = self.cluster.make(name, *log, "--drain-seconds", "2", zookeeper=",".join(p.address for p in zookeepers), session=SESSION, link_proxy=True)
        node.zookeeper_proxies, node.redis_proxies = zookeepers, redis
        return self.prepare(node)

    def second(self, node):
        """Another process with the id and the connections of this node, and ports and a folder of its own."""
        name = f"{node.name}-again"
        if name not in self.cluster.members:
            member = FaultMember(self.folder / name, node.zookeeper, node.name, *node.flags, session=SESSION)
            member.link_proxy = self.cluster.proxy(member.link.number)
            member.flags[member.flags.index("--link-advertise") + 1] = member.link_proxy.address
            self.cluster.members[name] = self.prepare(member)
        return self.cluster.members[name]

    def extra(self):
        if not self.extras:
            self.extras.append(self.make(f"n{self.options.nodes + 1}"))
        return self.extras[0]

    def start_zookeeper(self, servers):
        """Starts servers that were killed."""
        if self.options.ensemble:
            for server in servers:
                server.launch(self.zookeepers)
            self.wait(lambda: all(s.mode for s in servers), 60)
        else:
            for server in servers:
                server.start()

    def clients(self):
        count = (1 if self.options.nodes == 1 else 2) * len(publishers.KINDS)
        for n in range(count):
            kind = publishers.KINDS[n % len(publishers.KINDS)]
            self.publishers.append(kind(self, f"p{n + 1}", self.options.seed, kind.EVENTS * count / self.options.rate))
        kinds = list(subscribers.TRANSPORTS)
        for n in range(2 * len(kinds)):
            channels = self.random.sample(self.channels, self.random.randint(1, 5))
            if n < 4:
                channels = self.channels[2 * n:2 * n + 2] + [c for c in channels if c not in self.channels[2 * n:2 * n + 2]]
            self.subscribers.append(subscribers.Subscriber(self, f"s{n + 1}", kinds[n % len(kinds)], channels, self.options.seed))
        for subscriber in self.subscribers:
            subscriber.start()
        self.wait(lambda: all(s.connected.is_set() for s in self.subscribers), 30)
        for publisher in self.publishers:
            publisher.start()
        self.reader = publishers.Reader(self, self.options.seed)
        self.reader.start()

    @property
    def threads(self):
        return [*self.publishers, *self.subscribers, *([self.reader] if self.reader else [])]

    def close(self):
        for thread in self.threads:
            thread.stopping.set()
        for subscriber in self.subscribers:
            subscriber.stop()
        if self.witness:
            self.witness.stopping.set()
        for process in self.everyone() + self.zookeepers + self.redis:
            if process.process and process.process.poll() is None:
                process.process.send_signal(signal.SIGCONT)
        if self.cluster:
            self.cluster.close()
        else:
            for node in self.nodes:
                node.close()
        for server in [*self.redis, *self.replicas.values()]:
            server.close()
        for thread in self.threads:
            if thread.is_alive():
                thread.join(20)
        owners = self.cluster.members.items() if self.cluster else [(n.name, n) for n in self.nodes]
        self.history.take({name: member.folder / "owner.jsonl" for name, member in owners})
        self.history.close()

    # MARK: what the faults need

    def get(self, path, through=None):
        for node in [through] if through else self.random.sample(self.nodes, len(self.nodes)):
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                reply = node.get(path, timeout=3)
                if reply.status == 200:
                    return reply.json
        return None

    def locate(self, channel):
        """The entry of the channel's partition, or None."""
        reply = self.get(f"/api/locate?channel={channel}")
        return reply["partitions"][0] if reply and reply["partitions"] else None

    def owner(self):
        """The owner of a channel."""
        entry = self.locate(self.random.choice(self.channels)) if self.cluster else None
        return self.names.get((entry or {}).get("owner")) or self.random.choice(self.nodes)

    def controller(self):
        found = (self.get("/api/cluster") or {}).get("controller") or {}
        return self.names.get(found.get("id")) or self.random.choice(self.nodes)

    def ingress(self):
        """A node that a publisher uses."""
        node = self.random.choice(self.publishers).node
        return node if node in self.nodes else self.random.choice(self.nodes)

    def edge(self):
        """A node that a subscriber uses."""
        node = self.random.choice(self.subscribers).node
        return node if node in self.nodes else self.random.choice(self.nodes)

    def command(self, path, body):
        """An operator's request to any node. Returns whether it was accepted."""
        reply = self.random.choice(self.nodes).post(f"/api/{path}", json.dumps({**body, "by": "faults"}), timeout=5)
        return reply.status == 200

    def insist(self, path, body):
        """Repeats an operator's request until it is accepted."""
        def accepted():
            try:
                return self.command(path, body)
            except (OSError, http.client.HTTPException):
                return False
        if not self.wait(accepted, 60, every=0.5):
            self.finding(f"the request {path} {body} was not accepted within a minute")

    def owners(self):
        """The owner of each partition."""
        reply = self.get("/api/partitions")
        return {p["partition"]: p.get("owner") for p in reply["partitions"]} if reply else {}

    def moved(self, before):
        """Writes down how many partitions have moved, and how many had to, after the set of nodes has changed once. Returns the owners."""
        after = self.owners()
        if before and after and None not in [*before.values(), *after.values()]:
            counts = Counter(before.values())
            nodes, left = {n.name for n in self.nodes}, counts.copy()
            # Each node keeps its share, and the nodes with the most partitions keep the larger shares.
            share, rest = divmod(len(after), len(nodes))
            kept = 0
            for index, name in enumerate(sorted(nodes, key=lambda n: -left[n])):
                kept += min(left[name], share + (index < rest))
            self.history.add("cluster.moves", moves=sum(before[p] != after[p] for p in after), lower_bound=len(after) - kept)
        return after

    def reconnect(self):
        for subscriber in self.subscribers:
            subscriber.leaving.set()

    @staticmethod
    def unrouted(node):
        """The number of partitions without an owner that the node knows. All of them if the node does not respond."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for line in node.get("/metrics", timeout=3).body.decode().splitlines():
                if line.startswith("realertime_relay_unrouted_partitions "):
                    return int(float(line.split()[1]))
        return 256

    def look(self):
        """The state of the cluster, if every node reports that it is complete."""
        views, status = [], None
        for node in self.nodes:
            status = self.get("/api/cluster", node)
            if not status or not status["authoritative"] or status["nodes"].get("active") != len(self.nodes):
                return None
            views.append(status["view_version"])
        parts = self.get("/api/partitions")
        if not parts:
            return None
        owned = Counter(p.get("owner") for p in parts["partitions"])
        counts = status["partitions"]
        found = {"served": counts["served"], "total": counts["total"], "contested": counts["contested"], "views": views, "owned": dict(owned),
                 "moving": counts["moving"] + counts["preparing"]}
        found["unrouted"] = sum(self.unrouted(node) for node in self.nodes)
        good = counts["served"] == counts["total"] and not counts["contested"] and not found["moving"] and len(set(views)) == 1 and not found["unrouted"]
        self.last_look = found
        return found if good and max(owned.values()) - min(owned.values()) <= 1 and len(owned) == len(self.nodes) else None

    last_look = None

    def settle(self, after=None, record=True):
        """Waits until the cluster has settled, and stores how long it took."""
        begin = time.monotonic()
        if not self.cluster:
            self.nodes[0].wait_ready()
            return time.monotonic() - begin
        self.last_look = None
        found = {}

        def settled():
            found["state"] = self.look()
            return found["state"]
        if not self.wait(settled, 2 * SETTLE_SECONDS, every=0.1):
            dead = [n.name for n in self.nodes if not n.running]
            self.finding(f"the cluster did not settle within {2 * SETTLE_SECONDS} s; ended nodes: {dead}; last state: {self.last_look}")
        took = time.monotonic() - begin
        if record and (found["state"] or self.last_look):
            self.history.add("cluster.settled", after=after, took_ms=round(1000 * took), **(found["state"] or self.last_look))
        return took

    # MARK: the run

    def schedule(self):
        """The faults, each once in random order, and again until the time is over."""
        names = self.options.nemesis or [n for n, one in NEMESES.items() if one.possible(self)]
        while True:
            yield from self.random.sample(names, len(names))

    def strike(self, number, name):
        one = NEMESES[name]
        allowed = one.allows(self)
        self.targets.clear()
        self.history.add("nemesis.begin", id=number, name=name, target="", settles=bool(self.cluster), **allowed)
        begun = time.monotonic()
        for seconds in one.cause(self):
            time.sleep(seconds)
        self.history.add("nemesis.end", id=number)
        healed = time.monotonic()
        took = self.settle(after=number)
        self.say(f"{number:3}  {name:<24} {', '.join(dict.fromkeys(self.targets)):<16} {healed - begun:5.1f} s, settled after {took:5.1f} s; "
                 f"{self.acknowledged:,} acknowledged, {self.delivered:,} delivered")
        for thread in self.threads:
            if thread.failure:
                raise thread.failure
        for node in self.nodes:
            if not node.running:
                self.finding(f"{node.name} has ended with status {node.process.returncode}")
                node.start()

    @property
    def acknowledged(self):
        return sum(p.acknowledged for p in self.publishers)

    @property
    def delivered(self):
        return sum(s.delivered for s in self.subscribers)

    def execute(self):
        self.start()
        self.say(f"{len(self.nodes)} nodes run, log {self.log}, seed {self.options.seed}, folder {self.folder}")
        self.clients()
        deadline = time.monotonic() + 60 * self.options.minutes
        time.sleep(1)
        for number, name in enumerate(self.schedule(), 1):
            if time.monotonic() > deadline:
                break
            self.strike(number, name)
            time.sleep(self.random.uniform(1, 3))
        self.finish()

    def finish(self):
        """Each channel gets one last event, which must arrive at every subscriber. Then every node reads the stored history."""
        self.say("no further faults; the last events must arrive everywhere")
        for thread in [*self.publishers, self.reader]:
            thread.stopping.set()
        for publisher in self.publishers:
            publisher.join(60)
            if publisher.is_alive():
                self.finding(f"publisher {publisher.name} hangs")
        for subscriber in self.subscribers:
            subscriber.reading.set()
            subscriber.staying.set()
        last = publishers.Sequential(self, self.LAST, self.options.seed, 0)
        last.node = self.nodes[0]
        sent = []
        for channel in self.channels:
            if last.publish(last.next(channel), last=True, patience=LAST_SECONDS):
                sent.append(channel)
            else:
                self.finding(f"the last event of {channel} was not acknowledged within {LAST_SECONDS} s")
        last.leave()
        self.wait(lambda: all(s.complete >= set(s.channels) & set(sent) for s in self.subscribers), LAST_SECONDS)
        for subscriber in self.subscribers:
            self.history.add("sub.end", subscriber=subscriber.name, channels=[c for c in subscriber.channels if c in sent])
        for node in self.nodes:
            for channel in sent:
                self.read(node, channel)

    def read(self, node, channel):
        """Writes down the stored history of a channel, as one node returns it."""
        try:
            reply = node.post("/api/history", {"channel": channel, "limit": 100_000}, timeout=30)
        except (OSError, http.client.HTTPException) as error:
            self.finding(f"{node.name} does not return the history of {channel}: {error!r}")
            return
        if reply.status != 200:
            self.finding(f"{node.name} does not return the history of {channel}: {reply}")
            return
        self.stored(f"{node.name} {channel}", channel, reply.json["result"]["publications"], final=True)

    def stored(self, reader, channel, publications, **fields):
        for event in publications:
            data = event["data"]
            self.history.add(
                "log.read", reader=reader, channel=channel, position=event["id"], message=f"{data['p']}/{channel}/{data['n']}", **fields)


def interrupted(*_):
    raise KeyboardInterrupt


def main(options, command):
    signal.signal(signal.SIGTERM, interrupted)
    run = Run(options)
    failure = None
    try:
        run.execute()
    except KeyboardInterrupt:
        failure = "interrupted"
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        (run.folder / "failure.txt").write_text(traceback.format_exc())
    finally:
        run.close()
    verdict = check(run.history.path)
    for finding in [*run.findings, *(run.witness.faults if run.witness else ())]:
        verdict.find("K10" if "settle" in finding else "K7" if "partition" in finding else "run", finding)
    if failure:
        verdict.find("run", f"the run ended early: {failure}")
    good = verdict.good
    if options.o == "json":
        print(json.dumps({**verdict.json(), "folder": None if good else str(run.folder)}, indent=1))
    else:
        table = verdict.markdown() if options.o == "markdown" else verdict.table()
        print(f"\n{table}\n\n{'GOOD: no acknowledged event was lost, repeated or reordered, and every gap was told' if good else 'BAD'}")
    if good and not options.keep:
        shutil.rmtree(run.folder, ignore_errors=True)
    else:
        print(f"Logs and history: {run.folder}\nRepeat with: {command}", file=sys.stderr)
    return 0 if good else 1
