"""The rows for a cluster: runs them, and prints their results."""

import json
import math
import signal
import statistics
import sys
import time
import traceback
from pathlib import Path

from . import arithmetic, changes, hot, machine, steady
from .bench import Bench

# name: title, rounds, about how many seconds a round takes, function. A function measures one round, and returns {column: {metric: number or samples}}.
ROWS = {
    "relay": ("publish at one node, owner another, subscribers at a third", 3, 100, steady.relay),
    "nchan": ("the same at 2,000 events/s, beside three nchan instances with Redis", 3, 60, steady.nchan),
    "quiet": ("channels that nobody listens to, published at a node that is not their owner", 3, 70, steady.quiet),
    "append": ("appends through the log on Redis, beside a bare pipeline of XADD", 3, 35, steady.append),
    "durability": ("the log on Redis without file, with appendfsync everysec and always, and with WAIT 1", 3, 140, steady.durability),
    "handoff": ("256 single moves while 2,000 events/s flow", 1, 190, changes.handoff),
    "deaths": ("time to serve again after each kind of death, under load; a round is one death of each kind", 12, 70, changes.deaths),
    "rolling": ("rolling restart of all nodes under load", 3, 30, changes.rolling),
    "hot": ("one hot channel with --subscribers subscribers over --nodes nodes", 1, 300, hot.hot),
}
ARITHMETIC = "how the cluster grows past this machine, from the rows relay, quiet and hot in --results; measures nothing"
TITLES = {
    **{name: f"{title} (rounds: {rounds}, each about {seconds} s)" for name, (title, rounds, seconds, _) in ROWS.items()}, "arithmetic": ARITHMETIC}
# `hot` needs gigabytes of memory, so it runs only if it is named.
DEFAULT = [name for name in TITLES if name != "hot"]


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


def run(name, bench, options):
    """All rounds of a row. A failure ends the row, and keeps the rounds before it."""
    title, rounds, _, function = ROWS[name]
    result = {"title": title, "rounds": [], "steal_percent": [], "notes": []}
    for index in range(options.rounds or rounds):
        begin, before = time.monotonic(), machine.steal()
        bench.begin(name, index + 1, result["notes"])
        try:
            result["rounds"].append(function(bench))
        except Exception as error:
            result["failure"] = f"{type(error).__name__}: {error}"
            bench.say(traceback.format_exc())
            break
        result["steal_percent"].append(machine.steal_percent(before))
        bench.say(f"took {time.monotonic() - begin:.0f} s, steal {result['steal_percent'][-1]:.2f} %")
    return result


def text(name, result):
    lines = [f"\n### {name}: {result['title']}\n"]
    if result["rounds"]:
        lines += [table(result["rounds"]), "", f"Rounds: {len(result['rounds'])}. Steal: at most {max(result['steal_percent']):.2f} %."]
    lines += [f"* {note}" for note in dict.fromkeys(result["notes"])]
    if "failure" in result:
        lines.append(f"* The row ended with an error: {result['failure']}")
    return "\n".join(lines)


def interrupted(*_):
    raise KeyboardInterrupt


def measure(names, options, binary):
    # All processes end, and no file remains, also after SIGTERM.
    signal.signal(signal.SIGTERM, interrupted)
    bench = Bench(binary, options)
    description = f"{machine.describe()}; all processes share all cores"
    store = Path(options.results) if options.results else None
    results = json.loads(store.read_text())["rows"] if store and store.exists() else {}
    if options.output == "table":
        print(description, flush=True)
    for name in names:
        if name == "arithmetic":
            if options.output == "table":
                print(f"\n### arithmetic: {ARITHMETIC}\n\n{arithmetic.show(results)}", flush=True)
            continue
        results[name] = run(name, bench, options)
        if options.output == "table":
            print(text(name, results[name]), flush=True)
        if store:
            store.write_text(json.dumps({"machine": description, "rows": results}))
    if options.output == "json":
        print(json.dumps({"machine": description, "rows": results}))
    if any("failure" in results[name] for name in names if name in results):
        sys.exit(1)
