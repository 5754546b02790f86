"""How a cluster grows past this machine, computed from measured rows. docs/performance.md explains the formulas."""

import math
import statistics

# A node or a Redis server that uses more of its core than this has no reserve for peaks.
UTILIZATION = 0.7
NODES = (10, 50, 200)
# Subscribers of an event's channel.
SUBSCRIBERS = (1, 100)
NEEDED = ("relay", "quiet")
# The column of relay, the column of quiet, and where the owner has one edge for each event. The fuller the frames and the commits are, the less an event costs. The more nodes there are, the fewer
# events one node has for another node at a time. So a large cluster is between the two cases.
CASES = {
    "one event in each frame": ("2,000 events/s", "nobody listens", ("quiet", "one subscriber a channel")),
    "full frames": ("as many as possible", "nobody listens, as many as possible", ("relay", "as many as possible")),
}


def median(results, row, column, metric):
    return statistics.median(r[column][metric] for r in results[row]["rounds"])


class Costs:
    """CPU time in microseconds. Each has its meaning, and the rows that it comes from."""

    def __init__(self, results, case):
        relay, quiet, with_edge = CASES[case]
        self.table = {}
        owner = median(results, *with_edge, "owner, CPU µs per event")
        one, ten = (median(results, "relay", column, "subscriber's node, CPU µs per event")
                    for column in ("2,000 events/s", "2,000 events/s, ten subscribers a channel"))
        edge = median(results, "relay", relay, "subscriber's node, CPU µs per event")
        self.a = self.add("a", "publisher's node, per event", median(results, "relay", relay, "publisher's node, CPU µs per event"), "relay")
        self.o = self.add("o", "owner, per event", median(results, "quiet", quiet, "owner, CPU µs per event"), "quiet")
        self.f = self.add("f", "owner, per event and edge", owner - self.o, "the owner with one subscriber in quiet (full frames: in relay), less o")
        self.d = self.add("d", "edge, per delivery", (ten - one) / 9, "a ninth of what nine more subscribers of each channel cost in relay")
        self.r = self.add("r", "edge, per event", edge - self.d, "the subscriber's node in relay, less d")
        self.s = self.add("s", "Redis, per event", median(results, "relay", relay, "redis, CPU µs per event"), "relay")

    def add(self, symbol, meaning, value, source):
        # A difference of two measurements may be below zero.
        value = max(0, value)
        self.table[symbol] = (meaning, value, source)
        return value


class Idle:
    """The share of its core that a node uses without load."""

    def __init__(self, results):
        self.three = statistics.mean(
            median(results, "relay", "idle", f"{role}, idle CPU ms/s") for role in ("publisher's node", "owner", "subscriber's node")) / 1000
        self.each = None
        if results.get("hot", {}).get("rounds"):
            column = next(iter(results["hot"]["rounds"][0]))
            nodes, many = (median(results, "hot", column, metric) for metric in ("nodes", "a node, idle CPU ms/s"))
            self.each = max(0, many / 1000 - self.three) / max(1, nodes - 3)

    def of(self, nodes):
        return self.three + (self.each or 0) * max(0, nodes - 3)


def edges(nodes, subscribers):
    """The number of nodes other than the owner that have at least one of these subscribers."""
    return (nodes - 1) * (1 - (1 - 1 / nodes) ** subscribers)


def row(case, costs, idle, nodes, subscribers):
    far = edges(nodes, subscribers)
    each = costs.a * (nodes - 1) / nodes + costs.o + far * (costs.f + costs.r) + subscribers * costs.d
    events = nodes * max(0, UTILIZATION - idle.of(nodes)) * 1e6 / each
    redis = UTILIZATION * 1e6 / costs.s
    return {
        "case": case, "nodes": nodes, "subscribers of an event": subscribers, "CPU µs of all nodes per event": each, "events/s": events,
        "deliveries/s": events * subscribers, "Redis servers for these": math.ceil(events / redis), "events/s of one Redis server": redis,
        "events/s of one channel with an edge on every node": UTILIZATION * 1e6 / (costs.o + (nodes - 1) * costs.f)}


def show(results):
    missing = [name for name in NEEDED if not results.get(name, {}).get("rounds")]
    if missing:
        return f"The arithmetic needs the rows {' and '.join(missing)}: measure them first, with the same --results."
    costs, idle = {case: Costs(results, case) for case in CASES}, Idle(results)
    first, second = costs.values()
    lines = [f"| symbol | CPU time | {', µs | '.join(CASES)}, µs | from |", "|---|---|---|---|---|"]
    lines += [f"| {symbol} | {meaning} | {value:.1f} | {second.table[symbol][1]:.1f} | {source} |" for symbol, (meaning, value, source) in first.table.items()]
    lines.append(f"\nAn idle node of three uses {100 * idle.three:.2f} % of its core (relay).")
    if idle.each is not None:
        lines.append(f"Each further node costs {100 * idle.each:.3f} % (hot).")
    rows = [row(case, costs[case], idle, nodes, subscribers) for subscribers in SUBSCRIBERS for case in CASES for nodes in NODES]
    lines += ["", "| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    lines += ["| " + " | ".join(value if isinstance(value, str) else f"{value:,.0f}" for value in r.values()) + " |" for r in rows]
    lines += ["", f"One core for each node and for each Redis server, used to {100 * UTILIZATION:.0f} %."]
    return "\n".join(lines)
