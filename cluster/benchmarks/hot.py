"""One hot channel, delivered to very many subscribers over many node processes."""

import sys
import time

from . import load as loads
from . import machine
from .servers import Servers, publish_target, subscribe_target, until

# An estimate that is too high, to refuse a run that does not fit: the node's and the load tool's memory, and the kernel's for both ends.
BYTES_PER_SUBSCRIBER = 20_000
BYTES_PER_PROCESS = 80 << 20
EVENTS = 10


def hot(bench):
    subscribers, count = bench.options.subscribers, bench.options.nodes
    processes = count + subscribers // 19_000 + 4
    needed, free = subscribers * BYTES_PER_SUBSCRIBER + processes * BYTES_PER_PROCESS, machine.available_bytes()
    bench.say(f"{subscribers:,} subscribers over {count} nodes need up to {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are available")
    if needed > 0.8 * free:
        sys.exit("The row hot does not fit into this machine's memory: lower --subscribers.")
    # One event must reach all subscribers before the next one is published, or the times are those of a backlog.
    interval = max(2, subscribers / 20_000)
    connecting = 10 + subscribers / 2000
    with Servers(bench.binary, [1] + [0] * (count - 1)) as servers:
        limit = servers.nodes[0].status()["subscribers"]["connections_max"]
        if subscribers > limit * count:
            sys.exit(f"{count} nodes accept only {limit * count:,} subscribers: raise --nodes, or the descriptor limit.")
        before = memory(servers)
        idle = bench.idle({"nodes": [node.pid for node in servers.nodes]})
        load = loads.Run(
            bench.load_binary, [*publish_target(servers.nodes[0]), *subscribe_target(*servers.nodes)],
            ["-n", subscribers, "--hot", "--publishers", "1", "-r", 1 / interval, "--warm-up", interval, "--settle", "12", "--drain", "30", "--timeout", "30"],
            EVENTS * interval)
        try:
            if not until(lambda: connected(servers) >= subscribers or load.process.poll() is not None, connecting, every=0.5):
                bench.note(f"only {connected(servers):,} subscribers connected within {connecting:.0f} s")
            bench.say("connected")
            # The load tool waits a little longer before it publishes.
            time.sleep(4)
            after = memory(servers)
            time.sleep(9 + interval)
            cpu = machine.CPU({"nodes": [node.pid for node in servers.nodes], "owner": [servers.nodes[0].pid]})
            cpu.start()
            time.sleep((EVENTS - 1) * interval)
            cpu.stop()
            report = load.finish(EVENTS * interval + 120)
        finally:
            load.end()
    bench.check("hot", report)
    grown = {name: (after[name] - before[name]) / subscribers for name in after}
    return {f"{subscribers:,} subscribers, {count} nodes": {
        "nodes": count, "a node, idle CPU ms/s": 1000 * idle["nodes"] / count, "connects/s": report["connections"]["per_second"], "connects that failed": report["connections"]["failed"],
        "publish to last delivery, ms": [second["max"] / 1000 for second in report["latency_us"].get("delivery_by_second", {}).get("seconds", [])],
        "publish to delivery, p50 ms": loads.latency(report, "delivery", "p50"), "publish to delivery, p99 ms": loads.latency(report, "delivery", "p99"),
        "deliveries": report["deliveries"]["received_in_window"], "lost, repeated or reordered": loads.wrong(report),
        "nodes, CPU µs per delivery (with heartbeats)": cpu.microseconds("nodes", subscribers / interval) - 1e6 * idle["nodes"] * interval / subscribers,
        "nodes, resident bytes per subscriber": grown["nodes"],
        "kernel, slab bytes per connection (both ends)": grown["slab"], "kernel, socket buffer bytes per connection (both ends)": grown["buffers"],
        "resident and the kernel's half, bytes per subscriber": grown["nodes"] + (grown["slab"] + grown["buffers"]) / 2,
        "all memory that the machine lost, bytes per subscriber": (before["available"] - after["available"]) / subscribers}}


def memory(servers):
    slab, buffers = machine.kernel_bytes()
    return {"nodes": sum(machine.resident(node.pid) for node in servers.nodes), "slab": slab, "buffers": buffers, "available": machine.available_bytes()}


def connected(servers):
    """The number of subscribers. Nodes that accept many connections respond late."""
    return sum(((node.get_json("/api/status") or {}).get("subscribers") or {}).get("connections", 0) for node in servers.nodes)
