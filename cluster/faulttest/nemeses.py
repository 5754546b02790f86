"""The faults. Each is a generator: it causes the fault, yields how many seconds it lasts, and heals it.

All run on the main thread, because a node dies with the thread that started it.
"""

import contextlib
import http.client
import os
import resource
import shutil
import signal

from harness.faults import restored

NEMESES = {}
# The session timeout of the nodes, in seconds.
SESSION = 6


class Nemesis:
    def __init__(self, name, cause, needs, memory, redis, loses, overflows):
        self.name, self.cause, self.needs = name, cause, needs
        self.memory, self.redis, self.loses, self.overflows = memory, redis, loses, overflows

    def possible(self, run):
        return self.needs <= run.has

    def allows(self, run):
        """The consequences that this fault may have, for the checker."""
        count = {"memory": self.memory, "redis": self.redis, "sqlite": 0}[run.log]
        # If commits wait for the replica, its promotion loses nothing.
        loses = count if self.loses and not (self.name.endswith("redis-promote") and run.options.replicas) else 0
        return {
            "resets": len(run.nodes) if count == "nodes" else count, "loses": bool(loses), "expires": bool(loses and run.log == "redis"), "overflows": self.overflows,
            # A node that takes a partition over later notices what happened to Redis.
            "lasting": bool(count and run.log == "redis")}


def nemesis(name, *needs, memory=0, redis=0, loses=True, overflows=0):
    """`memory` and `redis`: how many new epochs of one channel the fault may cause with that log. `nodes` is one for each node.

    `loses`: whether the end of the old epoch may be missing.
    """
    def register(cause):
        NEMESES[name] = Nemesis(name, cause, set(needs), memory, redis, loses, overflows)
        return cause
    return register


# MARK: processes

def kill(run, node):
    run.target(node.name)
    node.kill()
    # Sometimes the node is back before its session ends, sometimes after.
    yield run.random.choice((0.1, 1, SESSION + 2))
    node.start(ready=False)


@nemesis("kill-owner", memory=1)
def kill_owner(run):
    yield from kill(run, run.owner())


@nemesis("kill-controller", "cluster", memory=1)
def kill_controller(run):
    yield from kill(run, run.controller())


@nemesis("kill-ingress", "cluster", memory=1)
def kill_ingress(run):
    yield from kill(run, run.ingress())


@nemesis("kill-edge", "cluster", memory=1)
def kill_edge(run):
    yield from kill(run, run.edge())


@nemesis("kill-two", "cluster", memory=2)
def kill_two(run):
    first, second = run.random.sample(run.nodes, 2)
    run.target(f"{first.name}, {second.name}")
    first.kill()
    yield run.random.uniform(0, 1)
    second.kill()
    yield run.random.uniform(0.5, SESSION + 2)
    first.start(ready=False)
    second.start(ready=False)


@nemesis("kill-all", "cluster", memory=1)
def kill_all(run):
    run.target("all")
    for node in run.nodes:
        node.kill()
    yield 1
    for node in run.nodes:
        node.start(ready=False)


@nemesis("rolling-kill", "cluster", memory="nodes")
def rolling_kill(run):
    for node in list(run.nodes):
        run.target(node.name)
        node.kill()
        yield 0.5
        node.start(ready=False)
        run.settle(record=False)


def terminate(run, node):
    node.process.send_signal(signal.SIGTERM)
    run.wait(lambda: not node.running, 40)
    if node.running:
        run.finding(f"{node.name} did not end within 40 s after SIGTERM")
        node.kill()
    elif node.process.returncode != 0:
        run.finding(f"{node.name} ended with status {node.process.returncode} after SIGTERM")
    if run.cluster:
        node.did_end()


@nemesis("terminate")
def terminate_one(run):
    node = run.owner()
    run.target(node.name)
    terminate(run, node)
    yield run.random.choice((0, 1, 3))
    node.start(ready=False)


@nemesis("rolling-restart", "cluster")
def rolling_restart(run):
    for node in list(run.nodes):
        run.target(node.name)
        terminate(run, node)
        yield 0.2
        node.start(ready=False)
        run.settle(record=False)


@nemesis("join", "cluster")
def join(run):
    """A new node takes its share, serves requests meanwhile, and leaves."""
    node = run.extra()
    run.target(node.name)
    node.start(ready=False)
    run.nodes.append(node)
    yield run.random.uniform(2, 8)
    terminate(run, node)
    run.nodes.remove(node)
    yield 1
    with contextlib.suppress(OSError, http.client.HTTPException):
        run.command("forget", {"node": node.name})


# MARK: pauses

def pause(run, node, seconds):
    run.target(node.name)
    node.process.send_signal(signal.SIGSTOP)
    try:
        yield seconds
    finally:
        node.process.send_signal(signal.SIGCONT)


@nemesis("pause-short", memory=1)
def pause_short(run):
    yield from pause(run, run.owner(), SESSION / 3)


@nemesis("pause-owner", "cluster", memory=1)
def pause_owner(run):
    yield from pause(run, run.owner(), SESSION + 2)


@nemesis("pause-controller", "cluster", memory=1)
def pause_controller(run):
    yield from pause(run, run.controller(), SESSION + 2)


@nemesis("pause-edge", "cluster", memory=1)
def pause_edge(run):
    yield from pause(run, run.edge(), SESSION + 2)


@nemesis("pause-long", "cluster", memory=1)
def pause_long(run):
    yield from pause(run, run.random.choice(run.nodes), 3 * SESSION)


# MARK: changes of ownership

def move(run):
    """Moves the partition of one channel. Returns its owner and its next owner."""
    channel = run.random.choice(run.channels)
    entry = run.locate(channel)
    if not entry or not entry.get("owner") in run.names:
        return None
    source = run.names[entry["owner"]]
    target = run.random.choice([n for n in run.nodes if n is not source])
    with contextlib.suppress(OSError, http.client.HTTPException):
        if run.command("move", {"partition": entry["partition"], "node": target.name}):
            run.pins.add(entry["partition"])
            return source, target
    return None


def unpin(run):
    for partition in list(run.pins):
        with contextlib.suppress(OSError, http.client.HTTPException):
            run.command("unpin", {"partition": partition})
            run.pins.discard(partition)


@nemesis("move", "cluster")
def moves(run):
    if not any([move(run) for _ in range(3)]):
        run.finding("no request to move a partition was accepted")
    for _ in range(6):
        move(run)
        yield run.random.uniform(0, 1)
    unpin(run)


@nemesis("move-with-resumes", "cluster")
def move_with_resumes(run):
    """Subscribers come with their cursors while the owners seal."""
    for _ in range(6):
        move(run)
        run.reconnect()
        yield run.random.uniform(0.2, 0.6)
    unpin(run)


def move_and_kill(run, which):
    found = move(run)
    node = run.controller() if which is None else found[which] if found else run.owner()
    run.target(node.name)
    yield run.random.choice((0, 0.01, 0.05))
    node.kill()
    yield run.random.choice((0.5, SESSION + 2))
    node.start(ready=False)
    yield 1
    unpin(run)


@nemesis("move-kill-source", "cluster", memory=1)
def move_kill_source(run):
    yield from move_and_kill(run, 0)


@nemesis("move-kill-target", "cluster", memory=1)
def move_kill_target(run):
    yield from move_and_kill(run, 1)


@nemesis("move-kill-controller", "cluster", memory=1)
def move_kill_controller(run):
    yield from move_and_kill(run, None)


@nemesis("move-expire-target", "cluster", memory=1)
def move_expire_target(run):
    """The target of a handoff loses its session, and lives."""
    found = move(run)
    node = found[1] if found else run.owner()
    run.target(node.name)
    yield from proxied(run, node.zookeeper_proxies, lambda p: p.silence(), SESSION + 3)
    unpin(run)


@nemesis("drain", "cluster")
def drain(run):
    node = run.owner()
    run.target(node.name)
    run.command("drain", {"node": node.name})
    try:
        yield run.random.uniform(1, 8)
    finally:
        run.insist("undrain", {"node": node.name})


@nemesis("rebalance", "cluster", memory=1)
def rebalance(run):
    """Balancing is paused while a node leaves and comes back, and resumes."""
    run.insist("rebalance/pause", {})
    node = run.random.choice(run.nodes)
    run.target(node.name)
    terminate(run, node)
    yield 1
    node.start(ready=False)
    yield 2
    run.insist("rebalance/resume", {})


@nemesis("grow-and-shrink", "cluster")
def grow_and_shrink(run):
    """A new node gets its share, then leaves for ever. No more partitions may move than the new number of nodes needs."""
    node = run.extra()
    run.target(node.name)
    before = run.owners()
    node.start(ready=False)
    run.nodes.append(node)
    yield 0
    run.settle(record=False)
    before = run.moved(before)
    terminate(run, node)
    run.nodes.remove(node)
    yield 1
    with contextlib.suppress(OSError, http.client.HTTPException):
        run.command("forget", {"node": node.name})
    run.settle(record=False)
    run.moved(before)


@nemesis("duplicate-id", "cluster", memory=1)
def duplicate_id(run):
    """A second process joins with the id of a node that is paused for longer than its session. Then both run."""
    node = run.owner()
    run.target(node.name)
    second = run.second(node)
    node.process.send_signal(signal.SIGSTOP)
    try:
        yield SESSION + 2
        second.start(ready=False)
        yield 3
    finally:
        node.process.send_signal(signal.SIGCONT)
    yield run.random.choice((1, 6))
    if second.running:
        second.kill()
    yield 1
    # A node ends if another process has its id.
    if not node.running:
        node.did_end()
        node.start(ready=False)


@nemesis("rebalance-expire-session", "cluster", memory=1)
def rebalance_expire_session(run):
    """Balancing is paused while an owner loses its session and lives: its partitions stay at their next owners, although the former one ends its announcements later."""
    run.insist("rebalance/pause", {})
    node = run.owner()
    run.target(node.name)
    yield from proxied(run, node.zookeeper_proxies, lambda p: p.silence(), SESSION + 3)
    if not run.wait(lambda: not any(run.unrouted(n) for n in run.nodes), 15, every=0.2):
        run.finding(f"routes do not settle while balancing is paused: nodes know no owner of {[run.unrouted(n) for n in run.nodes]} partitions")
    run.insist("rebalance/resume", {})


# MARK: surroundings of a node

def wall_clock(run, seconds):
    node = run.owner()
    run.target(node.name)
    node.clock.set(seconds)
    try:
        yield 4
        run.reconnect()
        yield 2
    finally:
        node.clock.set(0)


@nemesis("clock-forward", "clock")
def clock_forward(run):
    """The wall clock of an owner jumps an hour ahead, and later back."""
    yield from wall_clock(run, 3600)


@nemesis("clock-back", "clock")
def clock_back(run):
    yield from wall_clock(run, -3600)


@nemesis("descriptors")
def descriptors(run):
    """A node gets no more file descriptors while clients and nodes connect."""
    node = run.owner()
    run.target(node.name)
    former = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{node.pid}/fd")) + 1, former[1]))
    try:
        for _ in range(3):
            run.reconnect()
            yield 1
        if run.cluster:
            node.link_proxy.shut()
            node.link_proxy.open()
        yield 2
    finally:
        if node.running:
            resource.prlimit(node.pid, resource.RLIMIT_NOFILE, former)


# MARK: connections

def proxied(run, proxies, change, seconds):
    try:
        for proxy in proxies:
            change(proxy)
        yield seconds
    finally:
        for proxy in proxies:
            proxy.open()


def connections(name, choose, memory, durations, *needs):
    """Five faults of the same connections."""
    changes = {
        "cut": lambda p: p.shut(), "silent": lambda p: p.silence(), "one-way-in": lambda p: p.one_way(True), "one-way-out": lambda p: p.one_way(False),
        "half-open": lambda p: p.strand(), "slow": lambda p: p.slow(0.02)}
    for kind, change in changes.items():
        def cause(run, change=change):
            node = run.random.choice((run.owner, run.controller, run.edge))()
            run.target(node.name)
            yield from proxied(run, choose(node), change, run.random.choice(durations))
        nemesis(f"{name}-{kind}", *needs, memory=memory)(cause)


connections("link", lambda node: [node.link_proxy], 1, (2, 6, 12), "cluster")
# Longer than a session: the node lives and loses its session.
connections("zookeeper", lambda node: node.zookeeper_proxies, 1, (3, SESSION + 3), "cluster")
connections("redis", lambda node: node.redis_proxies, 0, (1, 4, 8), "redis")


@nemesis("expire-session", "cluster", memory=1)
def expire_session(run):
    node = run.owner()
    run.target(node.name)
    yield from proxied(run, node.zookeeper_proxies, lambda p: p.silence(), SESSION + 3)


@nemesis("expire-all-sessions", "cluster", memory=1)
def expire_all_sessions(run):
    run.target("all")
    yield from proxied(run, [p for n in run.nodes for p in n.zookeeper_proxies], lambda p: p.silence(), SESSION + 3)


@nemesis("split", "cluster", memory=1)
def split(run):
    """One node is cut from all other nodes in both directions; ZooKeeper and Redis see it."""
    node = run.owner()
    run.target(node.name)
    # Its own proxy cuts what comes in. What it opens goes through the proxies of the other nodes, so their links are slow for a while too.
    yield from proxied(run, [n.link_proxy for n in run.nodes], lambda p: p.shut(), run.random.choice((2, 6)))


# MARK: ZooKeeper

@nemesis("zookeeper-restart", "cluster", memory=1)
def zookeeper_restart(run):
    run.target("all servers")
    for server in run.zookeepers:
        server.kill()
    yield run.random.choice((0.5, SESSION + 4))
    run.start_zookeeper(run.zookeepers)


@nemesis("zookeeper-pause", "cluster", memory=1)
def zookeeper_pause(run):
    run.target("all servers")
    for server in run.zookeepers:
        server.process.send_signal(signal.SIGSTOP)
    try:
        yield run.random.choice((2, SESSION + 4))
    finally:
        for server in run.zookeepers:
            server.process.send_signal(signal.SIGCONT)


@nemesis("zookeeper-kill-leader", "ensemble", memory=1)
def zookeeper_kill_leader(run):
    leader = next((s for s in run.zookeepers if s.mode == "leader"), run.zookeepers[0])
    run.target(leader.folder.name)
    leader.kill()
    yield run.random.uniform(1, SESSION)
    run.start_zookeeper([leader])


@nemesis("zookeeper-pause-leader", "ensemble", memory=1)
def zookeeper_pause_leader(run):
    leader = next((s for s in run.zookeepers if s.mode == "leader"), run.zookeepers[0])
    run.target(leader.folder.name)
    leader.process.send_signal(signal.SIGSTOP)
    try:
        yield SESSION
    finally:
        leader.process.send_signal(signal.SIGCONT)


@nemesis("zookeeper-older-snapshot", "cluster", memory=3)
def zookeeper_older_snapshot(run):
    """ZooKeeper comes back with older data: the view and the owner epochs of the last moves are gone."""
    run.target("all servers")
    copies = [run.folder / f"{server.folder.name}-copy" for server in run.zookeepers]
    for server in run.zookeepers:
        server.kill()
    for server, copy in zip(run.zookeepers, copies):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(server.folder / "data", copy)
    run.start_zookeeper(run.zookeepers)
    run.settle(record=False)
    for _ in range(4):
        move(run)
        yield 0.5
    for server in run.zookeepers:
        server.kill()
    for server, copy in zip(run.zookeepers, copies):
        restored(server, copy)
    run.start_zookeeper(run.zookeepers)
    yield 2
    run.pins.clear()
    for entry in (run.get("/api/partitions") or {"partitions": []})["partitions"]:
        if entry.get("pinned_to"):
            run.pins.add(entry["partition"])
    unpin(run)


# MARK: Redis

@nemesis("redis-restart", "redis", redis=1, loses=False)
def redis_restart(run):
    """Killed, and started again with its append-only file: nothing acknowledged may be lost. A later owner cannot know this, and may begin a new epoch."""
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    server.kill()
    yield run.random.choice((0.2, 2, 6))
    server.start()


@nemesis("redis-pause", "redis")
def redis_pause(run):
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    server.pause()
    try:
        yield run.random.choice((0.5, 2, 6))
    finally:
        server.resume()


@nemesis("redis-pause-with-resumes", "redis")
def redis_pause_with_resumes(run):
    """The stored history is slow while all subscribers resume."""
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    server.pause()
    try:
        run.reconnect()
        yield 2
        run.reconnect()
    finally:
        server.resume()


@nemesis("redis-pause-restart-edge", "redis", overflows=1)
def redis_pause_restart_edge(run):
    """Subscribers that missed events come to a node that has just started, so it has to read these events. Redis is silent, and the reads fail."""
    node = run.edge()
    run.target(node.name)
    node.kill()
    for subscriber in run.subscribers:
        subscriber.reading.clear()
    try:
        yield 1.5
        node.start(ready=False)
        yield 1.5
        for server in run.redis:
            server.pause()
        run.reconnect()
        for subscriber in run.subscribers:
            subscriber.reading.set()
        yield 6
    finally:
        for subscriber in run.subscribers:
            subscriber.reading.set()
        for server in run.redis:
            server.resume()


@nemesis("redis-kill-owner", "redis")
def redis_kill_owner(run):
    """The owner dies while Redis holds its appends: they may be stored after the next owner asked."""
    node = run.owner()
    run.target(node.name)
    for server in run.redis:
        server.pause()
    try:
        yield 0.3
        node.kill()
        yield 1
    finally:
        for server in run.redis:
            server.resume()
    node.start(ready=False)


@nemesis("redis-silent-kill-owner", "redis")
def redis_silent_kill_owner(run):
    """The owner dies while its appends are on their way: they reach Redis after the next owner has sealed."""
    node = run.owner()
    run.target(node.name)
    for proxy in node.redis_proxies:
        proxy.silence()
    try:
        yield 0.5
        node.kill()
        yield run.random.choice((1, SESSION + 2))
    finally:
        for proxy in node.redis_proxies:
            proxy.open()
    node.start(ready=False)


@nemesis("redis-pause-move", "redis")
def redis_pause_move(run):
    """Partitions move while it is unknown whether Redis has stored their last events. It has."""
    run.target("all")
    for server in run.redis:
        server.pause()
    try:
        yield 3
        for _ in range(4):
            move(run)
        yield 3
    finally:
        for server in run.redis:
            server.resume()
    yield 1
    unpin(run)


@nemesis("redis-disk-full", "redis", redis=1, loses=False)
def redis_disk_full(run):
    """Redis cannot write its append-only file. It ends, and starts when there is room again."""
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    size = max(path.stat().st_size for path in server.folder.glob("appendonlydir/*"))
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 4096, resource.RLIM_INFINITY))
    for _ in range(20):
        yield 0.2
        if not server.running:
            break
    else:
        run.finding("Redis did not end though its disk was full")
        server.kill()
    yield run.random.choice((0.2, 3))
    server.start()


def used_memory(server):
    return int(server.command("INFO", "memory").decode().split("used_memory:")[1].split("\r")[0])


@nemesis("redis-memory-full", "redis")
def redis_memory_full(run):
    """Redis refuses to store more."""
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    server.command("CONFIG", "SET", "maxmemory", "1mb")
    try:
        yield run.random.choice((1, 6))
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")


@nemesis("redis-evict", "redis", redis=4)
def redis_evict(run):
    """An operator lets Redis delete keys, and it deletes a tenth of them."""
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    server.command("CONFIG", "SET", "maxmemory", str(used_memory(server) * 9 // 10))
    try:
        yield 2
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    yield 1


@nemesis("redis-flush", "redis", redis=1)
def redis_flush(run):
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    server.command("FLUSHALL")
    yield 2


@nemesis("redis-empty", "redis", redis=1)
def redis_empty(run):
    server = run.random.choice(run.redis)
    run.target(server.folder.name)
    server.kill()
    server.forget()
    yield run.random.choice((0.2, 3))
    server.start()


@nemesis("redis-promote", "replica", redis=1)
def redis_promote(run):
    """A server dies, and its replica, which may lack its last events unless commits wait for it, takes its place."""
    number = run.random.choice(sorted(run.replicas))
    master, replica = run.redis[number], run.replicas[number]
    run.target(master.folder.name)
    master.kill()
    yield 0.5
    replica.command("REPLICAOF", "NO", "ONE")
    for node in run.everyone():
        node.redis_proxies[number].retarget(replica.port.number)
    run.redis[number], run.replicas[number] = replica, master
    yield 1
    master.forget()
    master.start("--replicaof", "127.0.0.1", str(replica.port.number))


@nemesis("redis-script-flush", "redis")
def redis_script_flush(run):
    run.target("all")
    for _ in range(4):
        for server in run.redis:
            server.command("SCRIPT", "FLUSH")
        yield 0.5


# MARK: clients

@nemesis("slow-subscribers", overflows=1)
def slow_subscribers(run):
    chosen = run.random.sample(run.subscribers, len(run.subscribers) // 2)
    run.target(f"{len(chosen)} subscribers")
    for subscriber in chosen:
        subscriber.reading.clear()
    try:
        yield run.random.choice((2, 8))
    finally:
        for subscriber in chosen:
            subscriber.reading.set()


@nemesis("resumes")
def resumes(run):
    run.target("all subscribers")
    for _ in range(5):
        run.reconnect()
        yield run.random.uniform(0.2, 1)


# MARK: two faults at once

def together(first, second):
    """Both causes run at the same time. The second begins a moment after the first."""
    def cause(run):
        causes = [(0, NEMESES[first].cause(run)), (run.random.uniform(0, 1), NEMESES[second].cause(run))]
        now = 0
        try:
            while causes:
                causes.sort(key=lambda entry: entry[0])
                due, one = causes.pop(0)
                if due > now:
                    yield due - now
                    now = due
                with contextlib.suppress(StopIteration):
                    causes.append((now + next(one), one))
        finally:
            for _, one in causes:
                one.close()
    a, b = NEMESES[first], NEMESES[second]
    nemesis(
        f"{first}+{second}", *(a.needs | b.needs), memory=a.memory + b.memory, redis=a.redis + b.redis,
        loses=bool(a.loses and (a.memory or a.redis) or b.loses and (b.memory or b.redis)), overflows=a.overflows or b.overflows)(cause)


# The parts of a pair start and kill different processes.
for pair in (
    ("kill-owner", "zookeeper-restart"), ("kill-owner", "link-cut"), ("kill-controller", "zookeeper-pause"), ("pause-owner", "zookeeper-restart"),
    ("move-with-resumes", "link-silent"), ("move-with-resumes", "zookeeper-pause"), ("drain", "link-cut"), ("terminate", "slow-subscribers"),
    ("kill-owner", "redis-restart"), ("kill-owner", "redis-pause"), ("kill-owner", "redis-promote"), ("move-with-resumes", "redis-restart"),
    ("drain", "redis-pause"), ("pause-owner", "redis-cut"), ("redis-restart", "zookeeper-restart"), ("expire-session", "redis-pause"),
):
    together(*pair)
