"""Rows without faults: latency and CPU time across three nodes, channels without subscribers, appends, and the settings of Redis."""

import json
import shutil
import tempfile
from contextlib import ExitStack

from harness.node import HOST

from . import load as loads
from . import machine, one_node, pipeline
from .servers import Servers, publish_target, subscribe_target

# n1 and n3 own no partitions, so publishers at n1 and subscribers at n3 need n2 for every event.
SEPARATE = (0, 1, 0)
ONE_EACH = ["-n", "1000", "-c", "1000", "--publishers", "32"]


def latencies(report):
    return {f"delivery {name} ms": loads.latency(report, "delivery", key) for name, key in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"))}


def common(report):
    """What shows whether a result can be trusted."""
    return {"published, % of the requested rate": loads.asked(report), "lost, repeated or reordered": loads.wrong(report)}


def costs(cpu, per_second, idle, unit="event"):
    """The CPU time of each process for each event, without what the process uses when idle."""
    return {f"{name}, CPU µs per {unit}": cpu.microseconds(name, per_second) - 1e6 * idle.get(name, 0) / per_second for name in cpu.seconds}


def roles(servers):
    """Nodes by what they do, for the names of metrics."""
    publisher, owner, edge = servers.nodes
    owned = {entry["owner"] for entry in servers.share()}
    assert owned == {owner.name}, f"{owned} own partitions, but only {owner.name} should"
    return servers.pids(**{"publisher's node": publisher, "owner": owner, "subscriber's node": edge})


def relay(bench):
    with Servers(bench.binary, SEPARATE) as servers:
        pids = roles(servers)
        idle = bench.idle(pids)
        target = [*publish_target(servers.nodes[0]), *subscribe_target(servers.nodes[2])]
        columns = {}
        for column, options, seconds in (
                ("50 events/s", [*ONE_EACH, "-r", "50"], 30),
                ("2,000 events/s", [*ONE_EACH, "-r", "2000"], 20),
                ("2,000 events/s, ten subscribers a channel", ["-n", "2000", "-c", "200", "--publishers", "32", "-r", "2000"], 15),
                # The cost of an event falls while more events share a frame and a commit.
                ("as many as possible", ["-n", "1000", "-c", "1000", "--publishers", "64", "-r", "max"], 10)):
            bench.say(column)
            report, cpu = bench.load(column, target, options, seconds, pids)
            published, delivered = loads.acknowledged(report), loads.deliveries(report)
            columns[column] = {
                **latencies(report), **common(report), "events/s": published, "deliveries": report["deliveries"]["received_in_window"],
                # At a low rate the idle work of a node is most of its work.
                **({} if published < 500 else {
                    **costs(cpu, published, idle),
                    "subscriber's node, CPU µs per delivery": cpu.microseconds("subscriber's node", delivered)
                    - 1e6 * idle["subscriber's node"] / delivered})}
        columns["idle"] = {f"{name}, idle CPU ms/s": 1000 * share for name, share in idle.items()}
    return align(columns)


def align(columns):
    """Each column with each metric, because one line of a table is one metric."""
    metrics = dict.fromkeys(metric for values in columns.values() for metric in values)
    return {column: {metric: values.get(metric, float("nan")) for metric in metrics} for column, values in columns.items()}


def nchan(bench):
    """Both servers in each round, in alternating order, so that a slow change of the machine's speed affects both."""
    order = [("realertime", of_realertime), ("nchan", of_nchan)]
    columns = {name: measured(bench) for name, measured in (order if bench.round % 2 else order[::-1])}
    return align({name: columns[name] for name, _ in order})


COMPARED = [*ONE_EACH, "-r", "2000"]
COMPARED_SECONDS = 20


def compared(bench, name, target, pids):
    bench.say(name)
    idle = bench.idle(pids, 3)
    report, cpu = bench.load(name, target, COMPARED, COMPARED_SECONDS, pids)
    published = loads.acknowledged(report)
    total = sum(seconds - idle[process] * cpu.elapsed for process, seconds in cpu.seconds.items())
    return {
        **latencies(report), **common(report), **costs(cpu, published, idle),
        "all processes, CPU µs per event": 1e6 * total / max(1e-9, cpu.elapsed * published)}


def of_realertime(bench):
    with Servers(bench.binary, SEPARATE) as servers:
        return compared(bench, "realertime", [*publish_target(servers.nodes[0]), *subscribe_target(servers.nodes[2])], roles(servers))


def of_nchan(bench):
    """Three instances, as three nodes: publishers use the first one, subscribers the third one."""
    folder = tempfile.mkdtemp(prefix="realertime-benchmark-")
    try:
        with ExitStack() as stack:
            redis = stack.enter_context(pipeline.bare_redis())
            instances = [stack.enter_context(one_node.Nchan(folder, redis=redis.url, cpu=None)) for _ in range(3)]
            pids = {"publisher's node": instances[0].pids(), "subscriber's node": instances[2].pids(), "redis": [redis.process.pid]}
            return compared(bench, "nchan", [*instances[0].publish_target(), *instances[2].subscribe_target()], pids)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def quiet(bench):
    with Servers(bench.binary, SEPARATE) as servers:
        pids = roles(servers)
        idle = bench.idle(pids)
        publisher, owner, edge = servers.nodes
        columns = {}
        for column, at, subscribers, rate in (
                ("nobody listens", publisher, 0, ["--publishers", "32", "-r", "2000"]),
                ("nobody listens, published at the owner", owner, 0, ["--publishers", "32", "-r", "2000"]),
                ("one subscriber a channel", publisher, 1000, ["--publishers", "32", "-r", "2000"]),
                ("nobody listens, as many as possible", publisher, 0, ["--publishers", "64", "-r", "max"])):
            bench.say(column)
            target = [*publish_target(at), *subscribe_target(edge)]
            report, cpu = bench.load(column, target, ["-n", subscribers, "-c", "1000", *rate], 12, pids)
            columns[column] = {
                "events/s": loads.acknowledged(report), "acknowledged after, p50 ms": loads.latency(report, "acknowledge", "p50"),
                "acknowledged after, p99 ms": loads.latency(report, "acknowledge", "p99"), **costs(cpu, loads.acknowledged(report), idle)}
        return align(columns)


# MARK: appends

SATURATE = ["-n", "0", "-c", "1000", "--publishers", "64", "-r", "max"]
CHANNELS = 1000
BATCH = 100


def append(bench):
    """The three ways use one Redis server, one after the other."""
    with Servers(bench.binary, (1, 0, 0)) as servers:
        owner = servers.nodes[0]
        pids = servers.pids(owner=owner)
        idle = bench.idle(pids)
        columns = {}

        def add(column, per_second, cpu):
            columns[column] = {
                "appends/s": per_second, **costs(cpu, per_second, idle, "append"),
                **{f"{name}, CPU %": 100 * cpu.seconds[name] / cpu.elapsed for name in ("owner", "redis")}}

        bench.say("single publishes")
        report, cpu = bench.load("single publishes", [*publish_target(owner), *subscribe_target(owner)], SATURATE, 8, pids)
        add("single publishes", loads.acknowledged(report), cpu)

        bench.say("batches")
        add("batches of 100", *pipeline.saturate((HOST, owner.api), batches(), pipeline.batch_replies, machine.CPU(pids), connections=4))

        bench.say("XADD")
        add("bare XADD, 100 in one write", *pipeline.saturate(
            (HOST, servers.redis.port.number), bare_appends(), pipeline.redis_replies, machine.CPU(pids), connections=1, in_flight=4))
        return align(columns)


PAYLOAD = json.dumps({"text": "x" * 100}, separators=(",", ":"))


def batches():
    """Requests of 100 events, each event for another channel."""
    requests = []
    for first in range(0, CHANNELS, BATCH):
        commands = ",".join('{"publish":{"channel":"append-%d","data":%s}}' % (first + n, PAYLOAD) for n in range(BATCH))
        body = f'{{"commands":[{commands}]}}'
        requests.append(f"POST /api/batch HTTP/1.1\r\nHost: benchmark\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    return requests


def bare_appends():
    """The same payloads to as many streams, which keep as many events as a channel does."""
    def command(*words):
        return f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
    return ["".join(command("XADD", f"bare-{first + n}", "MAXLEN", "1000", "*", "d", PAYLOAD) for n in range(BATCH)).encode()
            for first in range(0, CHANNELS, BATCH)]


def durability(bench):
    columns = {}
    settings = {
        "no file": dict(),
        "everysec": dict(redis=("--appendonly", "yes", "--appendfsync", "everysec")),
        "always": dict(redis=("--appendonly", "yes", "--appendfsync", "always")),
        "everysec, WAIT 1": dict(redis=("--appendonly", "yes", "--appendfsync", "everysec"), replica=True, flags=("--redis-replicas-min", "1")),
    }
    for column, options in settings.items():
        with Servers(bench.binary, SEPARATE, **options) as servers:
            bench.say(column)
            publisher, owner, edge = servers.nodes
            report, _ = bench.load(column, [*publish_target(publisher), *subscribe_target(edge)], [*ONE_EACH, "-r", "500"], 10)
            full, _ = bench.load(column, [*publish_target(owner), *subscribe_target(owner)], SATURATE, 6)
            batched, _ = pipeline.saturate((HOST, owner.api), batches(), pipeline.batch_replies, machine.CPU({}), connections=4)
            columns[column] = {
                **{f"500 events/s: {name}": value for name, value in latencies(report).items()},
                "500 events/s: acknowledged after, p50 ms": loads.latency(report, "acknowledge", "p50"),
                "500 events/s: acknowledged after, p99 ms": loads.latency(report, "acknowledge", "p99"),
                "lost, repeated or reordered": loads.wrong(report), "appends/s, single publishes at the owner": loads.acknowledged(full),
                "then acknowledged after, p99 ms": loads.latency(full, "acknowledge", "p99"), "appends/s, batches of 100 at the owner": batched}
    return columns
