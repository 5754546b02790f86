"""The rows for a cluster: runs them, and prints their results."""

import json
import math
import statistics
import sys
import time

from . import changes, hot, machine, steady
from .bench import Bench

# name: title, rounds, about how many seconds a round takes, function. A function measures one round, and returns {column: {metric: number or samples}}.
ROWS = {
    "relay": ("publish at one node, owner another, subscribers at a third", 3, 95, steady.relay),
    "nchan": ("the same at 2,000 events/s, beside three nchan instances with Redis", 3, 70, steady.nchan),
    "quiet": ("channels that nobody listens to, published at a node that is not their owner", 3, 60, steady.quiet),
    "append": ("appends through the log on Redis, beside a bare pipeline of XADD", 3, 40, steady.append),
    "durability": ("the log on Redis without file, with appendfsync everysec and always, and with WAIT 1", 3, 110, steady.durability),
    "handoff": ("256 single moves while 2,000 events/s flow", 1, 300, changes.handoff),
    "deaths": ("time to serve again after each kind of death, under load; a round is one death of each kind", 12, 90, changes.deaths),
    "rolling": ("rolling restart of all nodes under load", 3, 90, changes.rolling),
    "hot": ("one hot channel with --subscribers subscribers over --nodes nodes", 1, 180, hot.hot),
}
TITLES = {name: f"{title} ({rounds} rounds of about {seconds} s)" for name, (title, rounds, seconds, _) in ROWS.items()}
# `hot` needs gigabytes of memory, so it runs only if it is named.
DEFAULT = [name for name in ROWS if name != "hot"]


def number(value):
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "never"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 or value == 0 else f"{value:.2f}"


def percentile(samples, share):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def cells(values):
    """{suffix: text} of one metric over all rounds. Samples of all rounds are one distribution; of numbers, the median and the range are shown."""
    if isinstance(values[0], list):
        samples = [s for round in values for s in round]
        if not samples:
            return {"": "no samples"}
        parts = {f", {name}": number(percentile(samples, share)) for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
        return {**parts, ", worst": number(max(samples)), ", samples": f"{len(samples):,}"}
    middle = number(statistics.median(values))
    return {"": middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"}


def table(rounds):
    """One line for each metric, one column for each thing measured."""
    columns = list(rounds[0])
    found = {}
    for column in columns:
        for metric in rounds[0][column]:
            for suffix, text in cells([r[column][metric] for r in rounds]).items():
                found.setdefault(metric + suffix, {})[column] = text
    lines = [f"| metric | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {metric} | {' | '.join(texts.get(column, '') for column in columns)} |" for metric, texts in found.items()]
    return "\n".join(lines)


def measure(names, options, binary):
    bench = Bench(binary, options)
    description = f"{machine.describe()}; all processes share all cores"
    results = {}
    if options.output == "table":
        print(description, flush=True)
    for name in names:
        title, rounds, _, function = ROWS[name]
        result = results[name] = {"title": title, "rounds": [], "steal_percent": [], "notes": []}
        for index in range(options.rounds or rounds):
            begin, before = time.monotonic(), machine.steal()
            bench.begin(name, index + 1, result["notes"])
            result["rounds"].append(function(bench))
            result["steal_percent"].append(machine.steal_percent(before))
            print(f"{name}: round {index + 1} took {time.monotonic() - begin:.0f} s, steal {result['steal_percent'][-1]:.2f} %", file=sys.stderr, flush=True)
        if options.output == "table":
            print(f"\n### {name}: {title}\n\n{table(result['rounds'])}\n")
            print(f"{len(result['rounds'])} rounds, steal at most {max(result['steal_percent']):.2f} %.")
            print("\n".join(f"* {note}" for note in dict.fromkeys(result["notes"])), flush=True)
    if options.output == "json":
        print(json.dumps({"machine": description, "rows": results}))
