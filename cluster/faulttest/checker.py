"""Checks a history (see history.py): was an acknowledged event lost, repeated or reordered, and was every gap reported and caused by a fault?

The rules:

    K1   a position of a channel belongs to one message: in acknowledgements, deliveries, commits and the stored history
    K2   each subscriber receives growing positions; within an epoch each is the previous one plus one, unless a gap notice names what is missing
    K3   every acknowledged event was delivered to every subscriber whose cursor passed it, and is in the stored history. Only a gap notice that a fault allows
         excuses a missing event
    K4   a message has one position, and a subscriber receives it once
    K5   an event that was acknowledged before another one was published has the lower position
    K6   the events of one publisher in one channel keep their order, also when they were sent again
    K7   one node commits under an owner epoch; owner epochs do not fall along a channel's positions; nothing is appended under an owner epoch after a higher one is sealed
    K8   an event that was refused as "not committed" is never delivered; nothing is delivered that was not published
    K9   a channel begins a new epoch only because of a fault that allows it, and a gap notice has a cause
    K10  after a fault is healed the cluster settles: each partition has one owner, all nodes have the same view, the partitions are evenly owned, none moves
    K11  no more partitions move than the lower bound of the plan
    P1   while partitions move as planned, no timer decides when events arrive
    R1   a response counts as "not committed" only if it says so
    R2   an owner logs the position of an event before it appends the event
    R3   the last event of each channel arrives at every subscriber that is connected at the end

Memory stays bounded: if the history is large, its lines are first distributed over files by channel, and each file is checked on its own.
"""

import contextlib
import json
import statistics
import tempfile
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

from .history import position, text

RULES = {
    "K1": "one message at a position", "K2": "growing positions without a silent hole", "K3": "no acknowledged event lost", "K4": "each message once",
    "K5": "real-time order", "K6": "a publisher's order", "K7": "one owner at a time", "K8": "nothing refused or unknown delivered", "K9": "gaps have causes",
    "K10": "the cluster settles", "K11": "no needless moves", "P1": "planned moves need no timer", "R1": "only 'not committed' is a failure", "R2": "positions logged before appends",
    "R3": "the last event arrives", "format": "lines that the checker understands",
    # Found while a run lasts, not in its history.
    "run": "nodes and commands behave",
}
# Responses with these statuses refuse a request before anything is published.
REFUSALS = {400, 401, 403, 404, 405, 413, 414, 415, 426, 429, 431, 501, 505}
# The faults that only move partitions, and how long an event may take meanwhile: far above what a move takes on a busy machine (a second), and below the period of
# a timer that repeats what has failed. A disk that stalls delays one of these faults; a timer delays most of them, so some are necessary for a verdict.
PLANNED = ("move", "move-with-resumes")
PLANNED_TIMES = 3
PLANNED_US = 3_000_000
# A file of lines of this size needs about 1 GB of memory.
BYTES_AT_A_TIME = 200 << 20
# How long after a fault is healed its consequences may still become visible.
GRACE_US = 60_000_000


class Message:
    __slots__ = ("publisher", "number", "own", "invoked", "invoked_line", "acknowledged", "acknowledged_line", "at", "at_line", "failed", "failed_line",
                 "uncertain", "refused", "attempts", "delivered", "last")

    def __init__(self):
        self.publisher = self.number = self.invoked = self.acknowledged = self.at = self.delivered = None
        self.invoked_line = self.acknowledged_line = self.at_line = self.failed_line = 0
        self.own = self.failed = self.uncertain = self.refused = self.last = False
        self.attempts = 0


class Reader:
    """What one subscriber received of one channel: runs of positions without a hole, the gaps between them, and holes without a notice."""

    __slots__ = ("name", "last", "last_line", "starts", "ends", "gaps", "holes", "slow", "ended", "begin", "stored")

    def __init__(self, name):
        self.name, self.last, self.last_line = name, None, 0
        self.starts, self.ends, self.gaps, self.holes = [], [], [], {}
        self.slow = self.ended = False
        # The position before the first event. Earlier events do not concern this subscriber.
        self.begin = None
        # Whether this is the stored history rather than a subscriber.
        self.stored = False

    def extend(self, at):
        if self.ends and self.ends[-1] == self.last and at == after(self.last):
            self.ends[-1] = at
        else:
            self.starts.append(at)
            self.ends.append(at)

    def received(self, at):
        """Whether the subscriber received this position. Resumed subscriptions may cover a position again, so the runs are not always sorted."""
        i = bisect_right(self.starts, at) - 1
        return i >= 0 and self.starts[i] <= at <= self.ends[i]


def after(at):
    return at[0], at[1] + 1


class Channel:
    def __init__(self, name):
        self.name = name
        self.messages = {}
        self.at = {}
        self.readers = {}
        self.first_seen, self.last_seen = {}, {}
        self.commits = []
        self.assigned = {}
        self.newest = {}


class Verdict:
    """The findings, and the numbers of the table."""

    LISTED_MAX = 20

    def __init__(self):
        self.counts = Counter()
        self.findings = defaultdict(list)
        self.found = Counter()
        self.unavailability = {}
        self.run = {}
        self.measured = {}
        # When the first finding happened, in seconds since the run began.
        self.first_seconds = None

    def find(self, rule, what, *lines):
        self.found[rule] += 1
        if len(self.findings[rule]) < self.LISTED_MAX:
            self.findings[rule].append({"rule": rule, "what": what, "lines": sorted({n for n in lines if n})})

    def annotate(self, path):
        """Adds to each listed finding when it happened, and the newest fault before it."""
        wanted = {max(f["lines"]) for findings in self.findings.values() for f in findings if f["lines"]}
        if not wanted:
            return
        times, begin, fault = {}, None, "before any fault"
        with open(path) as file:
            for number, line in enumerate(file, 1):
                if begin is None and number == 1:
                    begin = json.loads(line).get("t", 0)
                if '"nemesis.begin"' in line:
                    event = json.loads(line)
                    fault = f"fault {event['id']} {event['name']}, {(event['t'] - begin) / 1e6:.1f} s"
                if number in wanted:
                    with contextlib.suppress(ValueError, KeyError):
                        seconds = (json.loads(line)["t"] - begin) / 1e6
                        times[number] = f"{seconds:.1f} s, after {fault}"
                        self.first_seconds = min(seconds, self.first_seconds or seconds)
        for findings in self.findings.values():
            for finding in findings:
                finding["when"] = times.get(max(finding["lines"], default=0), "")

    @property
    def good(self):
        return not self.found

    def json(self):
        return {
            "good": self.good, "run": self.run, "counts": {name: self.counts[name] for name in COUNTS}, "rules": {rule: self.found[rule] for rule in RULES},
            "findings": [f for rule in RULES for f in self.findings[rule]], "unavailability_ms": self.unavailability, "measured": self.measured,
            "first_seconds": self.first_seconds}

    def markdown(self):
        """The tables for docs/reliability.md."""
        lines = [f"| {' | '.join(COUNTS)} |", f"|{'---|' * len(COUNTS)}", f"| {' | '.join(f'{self.counts[name]:,}' for name in COUNTS)} |", ""]
        lines += [f"{name}: {value}" for name, value in self.measured.items()]
        lines += ["", "| fault | times | median | worst |", "|---|---|---|---|"]
        lines += [f"| `{name}` | {times} | {median:,.0f} | {worst:,.0f} |" for name, (times, median, worst) in sorted(self.unavailability.items())]
        broken = [f"{rule} {self.found[rule]}" for rule in RULES if self.found[rule]]
        return "\n".join([*lines, "", f"Broken rules: {', '.join(broken) or 'none'}"])

    def table(self):
        lines = [f"  {name:<14} {self.counts[name]:>10,}" for name in COUNTS]
        if self.unavailability:
            lines += ["", f"  {'publish → deliver, ms':<26} {'times':>6} {'median':>9} {'worst':>9}"]
            for name, (times, median, worst) in sorted(self.unavailability.items()):
                lines.append(f"  {name:<26} {times:>6} {median:>9,.0f} {worst:>9,.0f}")
        if self.measured:
            lines += ["", *(f"  {name}: {value}" for name, value in self.measured.items())]
        for rule in RULES:
            if self.found[rule]:
                lines += ["", f"  {rule} broken {self.found[rule]} times ({RULES[rule]}):"]
                lines += [f"    {f['what']} [line {', '.join(map(str, f['lines']))}; {f.get('when', '')}]" for f in self.findings[rule][:5]]
        return "\n".join(lines)


COUNTS = ("published", "acknowledged", "ambiguous", "refused", "delivered", "resumed", "gaps told", "told missing", "lost", "repeated", "reordered", "untold")


def check(path, bytes_at_a_time=BYTES_AT_A_TIME):
    """Reads a history file. Returns the verdict."""
    verdict = Verdict()
    path = Path(path)
    buckets = -(-path.stat().st_size // bytes_at_a_time) or 1
    cluster = Cluster(verdict)
    with tempfile.TemporaryDirectory(prefix="realertime-history-") as folder:
        files = [open(f"{folder}/{i}", "w+") for i in range(buckets)] if buckets > 1 else None
        whole = []
        with open(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    event = json.loads(line)
                    event["e"], event["t"]
                except (ValueError, KeyError, TypeError):
                    # A killed run may end in the middle of a line. Any other broken line is a fault of the tool.
                    verdict.find("format", f"a broken line: {line[:80]!r}", number)
                    continue
                for channel, part in cluster.take(event, number):
                    if files:
                        files[zlib.crc32(channel.encode()) % buckets].write(json.dumps([number, channel, part]) + "\n")
                    else:
                        whole.append((number, channel, part))
        cluster.close()
        if files:
            for file in files:
                file.seek(0)
                Channels(cluster, verdict).check(json.loads(line) for line in file)
                file.close()
        else:
            Channels(cluster, verdict).check(whole)
    cluster.report()
    verdict.annotate(path)
    return verdict


class Cluster:
    """What concerns no single channel: faults, seals, and the state of the cluster."""

    def __init__(self, verdict):
        self.verdict = verdict
        self.run = {"log": "memory", "history_events_max": 1000, "settle_seconds": 15}
        self.nemeses, self.settled = {}, {}
        self.seals = defaultdict(list)
        self.owners = {}
        self.latencies = defaultdict(dict)
        self.calm = []

    def take(self, event, number):
        """Keeps what concerns no channel. Returns the rest, for each channel."""
        kind = event["e"]
        if kind in ("sub.closed", "own.fenced", "own.release"):
            return ()
        if kind == "sub.open":
            if event.get("resumed"):
                self.verdict.counts["resumed"] += 1
            return [(channel, {**event, "at": at}) for channel, at in event["at"].items()]
        if kind == "sub.end":
            return [(channel, event) for channel in event["channels"]]
        if kind == "run":
            self.run |= event
            self.verdict.run = {k: v for k, v in self.run.items() if k not in ("t", "e")}
        elif kind == "nemesis.begin":
            self.nemeses[event["id"]] = {**event, "line": number, "end": None}
        elif kind == "nemesis.end":
            if event["id"] in self.nemeses:
                self.nemeses[event["id"]]["end"] = event["t"]
        elif kind == "own.seal":
            partition, epoch, node = event["partition"], event["owner_epoch"], event["node"]
            self.seals[partition].append((event["t"], epoch, node, number))
            self.own(partition, epoch, node, number)
        elif kind == "cluster.settled":
            self.settled[event["after"]] = event
            self.check_settled(event, number)
        elif kind == "cluster.moves":
            if event["moves"] > event["lower_bound"]:
                self.verdict.find("K11", f"{event['moves']} partitions moved, though {event['lower_bound']} moves were enough", number)
        elif "channel" in event:
            return ((event["channel"], event),)
        else:
            self.verdict.find("format", f"an unknown kind of event: {kind}", number)
        return ()

    def own(self, partition, epoch, node, number):
        first = self.owners.setdefault((partition, epoch), (node, number))
        if first[0] != node:
            self.verdict.find("K7", f"{first[0]} and {node} both own partition {partition} under owner epoch {epoch}", first[1], number)

    def check_settled(self, event, number):
        owned = event["owned"].values()
        wrong = []
        if event["served"] != event["total"]:
            wrong.append(f"{event['served']} of {event['total']} partitions are served")
        if event["contested"]:
            wrong.append(f"{event['contested']} partitions have two owners")
        if len(set(event["views"])) != 1:
            wrong.append(f"the nodes have different views: {event['views']}")
        if owned and max(owned) - min(owned) > 1:
            wrong.append(f"the partitions are not evenly owned: {event['owned']}")
        if event.get("unrouted"):
            wrong.append(f"nodes know no owner of {event['unrouted']} partitions")
        if event["moving"]:
            wrong.append(f"{event['moving']} partitions still move")
        if event["took_ms"] > 1000 * self.run["settle_seconds"]:
            wrong.append(f"it took {event['took_ms']} ms")
        if wrong:
            self.verdict.find("K10", f"after fault {event['after']}: " + "; ".join(wrong), number)

    def close(self):
        for seals in self.seals.values():
            seals.sort()
            highest, reached = (0, 0), []
            for t, epoch, node, number in seals:
                highest = max(highest, (epoch, number))
                reached.append((t, *highest))
            seals[:] = reached
        for nemesis in self.nemeses.values():
            if nemesis.get("settles") and nemesis["id"] not in self.settled:
                self.verdict.find("K10", f"the cluster did not settle after fault {nemesis['id']} ({nemesis['name']})", nemesis["line"])
        self.windows = sorted((n["t"], n["end"] or 1 << 62, n["name"], n["id"]) for n in self.nemeses.values())

    def sealed_before(self, partition, t):
        """The highest owner epoch that was sealed before this time, and the line."""
        seals = self.seals.get(partition, ())
        i = bisect_left(seals, (t,)) - 1
        return seals[i][1:] if i >= 0 else (0, 0)

    def allowed(self, field, begin, end):
        """How many consequences of a kind the faults between two times allow."""
        return sum(
            int(n.get(field) or 0) for n in self.nemeses.values()
            if n["t"] <= end and (n.get("lasting") or (n["end"] or 1 << 62) + GRACE_US >= begin))

    def latency(self, channel, invoked, latency):
        """Stores how long an event took, under the newest fault that was active when it was published, or up to two seconds before."""
        found = None
        for begin, end, name, identity in self.windows:
            if begin > invoked:
                break
            if invoked <= end + 2_000_000:
                found = name, identity
        if found is None:
            self.calm.append(latency)
        else:
            worst, key = self.latencies[found[0]], (found[1], channel)
            worst[key] = max(worst.get(key, 0), latency)

    def report(self):
        table = self.verdict.unavailability
        planned = defaultdict(int)
        for name in PLANNED:
            for (identity, _), worst in self.latencies.get(name, {}).items():
                planned[identity] = max(planned[identity], worst)
        if len(planned) >= PLANNED_TIMES and statistics.median(planned.values()) > PLANNED_US:
            self.verdict.find("P1", f"in most of {len(planned)} planned moves, events took {statistics.median(planned.values()) / 1e6:.1f} s or longer")
        for name, worst in self.latencies.items():
            times = len({identity for identity, _ in worst})
            table[name] = (times, statistics.median(worst.values()) / 1000, max(worst.values()) / 1000)
        if self.calm:
            table["(no fault)"] = (len(self.calm), statistics.median(self.calm) / 1000, max(self.calm) / 1000)
        took = [e["took_ms"] for e in self.settled.values()]
        if took:
            self.verdict.measured["settled after a fault, ms (median, worst)"] = f"{statistics.median(took):,.0f}, {max(took):,.0f}"


class Channels:
    """The rules for each channel, over the lines of a set of channels."""

    def __init__(self, cluster, verdict):
        self.cluster, self.verdict = cluster, verdict
        self.channels = {}

    def check(self, lines):
        handlers = {
            "pub.invoke": self.invoke, "pub.ok": self.ok, "pub.fail": self.fail, "pub.info": self.info, "sub.open": self.open, "sub.deliver": self.deliver,
            "sub.gap": self.gap, "sub.end": self.end, "log.read": self.read, "own.assign": self.assign, "own.commit": self.commit}
        for number, name, event in lines:
            channel = self.channels.get(name)
            if channel is None:
                channel = self.channels[name] = Channel(name)
            handler = handlers.get(event["e"])
            if handler is None:
                self.verdict.find("format", f"an unknown kind of event: {event['e']}", number)
                continue
            handler(channel, event, number)
        for channel in self.channels.values():
            self.finish(channel)

    def message(self, channel, name):
        message = channel.messages.get(name)
        if message is None:
            message = channel.messages[name] = Message()
        return message

    def place(self, channel, name, at, t, number):
        """Someone says that this message has this position."""
        first = channel.at.setdefault(at, (name, number))
        if first[0] != name:
            self.verdict.find("K1", f"{channel.name}: {first[0]} and {name} both have position {text(at)}", first[1], number)
        message = self.message(channel, name)
        if message.at is None:
            message.at, message.at_line = at, number
        elif message.at != at:
            # Message ids are lost together with events: if the log is in memory, with its owner. An event that its publisher or its node sends again may then be
            # stored again, in a new epoch. K9 finds an epoch without a cause.
            forgotten = message.at[0] != at[0] and (self.cluster.run["log"] == "memory" or self.cluster.allowed("loses", 0, t))
            if not forgotten:
                self.verdict.find("K4", f"{channel.name}: {name} has two positions, {text(message.at)} and {text(at)}", message.at_line, number)
                self.verdict.counts["repeated"] += 1
        epoch = at[0]
        channel.first_seen[epoch] = min(channel.first_seen.get(epoch, t), t)
        channel.last_seen[epoch] = max(channel.last_seen.get(epoch, t), t)
        channel.newest[epoch] = max(channel.newest.get(epoch, 0), at[1])
        return message

    # MARK: publishers

    def invoke(self, channel, event, number):
        message = self.message(channel, event["message"])
        message.attempts += 1
        if message.invoked is None:
            message.publisher, message.number, message.own = event["publisher"], event["number"], event.get("own", False)
            message.invoked, message.invoked_line = event["t"], number
            message.last = event.get("last", False)
        elif (message.publisher, message.number) != (event["publisher"], event["number"]):
            self.verdict.find("format", f"{channel.name}: two publishers use the message {event['message']}", message.invoked_line, number)

    def ok(self, channel, event, number):
        message = self.place(channel, event["message"], position(event["position"]), event["t"], number)
        if message.acknowledged is None:
            message.acknowledged, message.acknowledged_line = event["t"], number

    def fail(self, channel, event, number):
        message = self.message(channel, event["message"])
        why = str(event.get("why", ""))
        status = int(why[:3]) if why[:3].isdecimal() else 0
        if status not in REFUSALS and "not committed" not in why:
            self.verdict.find("R1", f"{channel.name}: {event['message']} counts as failed, but the response does not say that it is not committed: {why}", number)
            message.uncertain = True
            return
        message.failed, message.failed_line, message.refused = True, number, True

    def info(self, channel, event, number):
        message = self.message(channel, event["message"])
        message.uncertain = True
        message.refused |= event.get("response", False)

    # MARK: subscribers

    def reader(self, channel, name):
        reader = channel.readers.get(name)
        if reader is None:
            reader = channel.readers[name] = Reader(name)
        return reader

    def open(self, channel, event, number):
        reader = self.reader(channel, event["subscriber"])
        reader.slow |= event.get("slow", False)
        if event["at"] is None:
            if reader.last is not None:
                self.verdict.find("format", f"{channel.name}: {reader.name} resumes without its cursor", reader.last_line, number)
            return
        at = position(event["at"])
        if reader.last is not None and at > reader.last:
            self.verdict.find("K2", f"{channel.name}: {reader.name} resumes at {text(at)}, but its last event is {text(reader.last)}", reader.last_line, number)
        # A client that lost its newest cursor resumes at an older one, and receives the events after it again.
        if at != reader.last:
            reader.last, reader.last_line = at, number
        if reader.begin is None:
            reader.begin = at

    def deliver(self, channel, event, number):
        self.verdict.counts["delivered"] += 1
        at = position(event["position"])
        message = self.place(channel, event["message"], at, event["t"], number)
        if message.delivered is None or event["t"] < message.delivered:
            message.delivered = event["t"]
        self.advance(channel, self.reader(channel, event["subscriber"]), at, number)

    def advance(self, channel, reader, at, number):
        last = reader.last
        if last is None:
            if reader.begin is None:
                reader.begin = (at[0], at[1] - 1)
        elif at <= last:
            if at in reader.holes:
                del reader.holes[at]
                self.verdict.counts["reordered"] += 1
                self.verdict.find("K2", f"{channel.name}: {reader.name} received {text(at)} after {text(last)}", reader.last_line, number)
                reader.gaps.append((at, at, "late"))
            elif reader.received(at):
                self.verdict.counts["repeated"] += 1
                self.verdict.find("K4", f"{channel.name}: {reader.name} received {text(at)} twice", reader.last_line, number)
            else:
                self.verdict.counts["reordered"] += 1
                self.verdict.find("K2", f"{channel.name}: {reader.name} received {text(at)} after {text(last)}", reader.last_line, number)
            return
        elif at[0] != last[0]:
            self.verdict.counts["untold"] += 1
            self.verdict.find("K2", f"{channel.name}: {reader.name} received {text(at)} after {text(last)}: a new epoch without a gap notice", reader.last_line, number)
        elif at[1] != last[1] + 1:
            # Whether an event arrives late or never is known only at the end.
            for offset in range(last[1] + 1, min(at[1], last[1] + 100_001)):
                reader.holes[(at[0], offset)] = (reader.last_line, number)
        reader.extend(at)
        reader.last, reader.last_line = at, number

    def gap(self, channel, event, number):
        self.verdict.counts["gaps told"] += 1
        reader = self.reader(channel, event["subscriber"])
        begin, end, reason = position(event["from"]), position(event["to"]), event["reason"]
        last = reader.last
        if begin > end:
            self.verdict.find("K2", f"{channel.name}: {reader.name} received a gap that ends before it begins: {text(begin)} to {text(end)}", number)
        if last is not None:
            if end < last or (end == last and reason != "reset"):
                self.verdict.find("K2", f"{channel.name}: {reader.name} received a gap up to {text(end)} after {text(last)}", reader.last_line, number)
                return
            expected = min(after(last), end)
            if begin > expected and begin[0] == expected[0]:
                for offset in range(expected[1], min(begin[1], expected[1] + 100_000)):
                    reader.holes[(begin[0], offset)] = (reader.last_line, number)
            elif begin != expected:
                self.verdict.find("K2", f"{channel.name}: {reader.name} received a gap from {text(begin)} after {text(last)}", reader.last_line, number)
            if reason == "reset" and end[0] == last[0]:
                self.verdict.find("K9", f"{channel.name}: {reader.name} received a reset within epoch {last[0]}, after {text(last)}", reader.last_line, number)
            elif reason != "reset" and end[0] != last[0]:
                self.verdict.find("K9", f"{channel.name}: {reader.name} received a new epoch as '{reason}' after {text(last)}", reader.last_line, number)
        if reason == "expired":
            newest = channel.newest.get(begin[0], 0)
            if newest - begin[1] < self.cluster.run["history_events_max"] and not self.cluster.allowed("expires", event["t"] - GRACE_US, event["t"]):
                self.verdict.find("K9", f"{channel.name}: {reader.name} received the gap {text(begin)} to {text(end)} as expired, but the history keeps it", number)
        elif reason == "overflow":
            if not reader.slow and not self.cluster.allowed("overflows", event["t"] - GRACE_US, event["t"]):
                self.verdict.find("K9", f"{channel.name}: {reader.name} is not slow, and received the gap {text(begin)} to {text(end)} as overflow", number)
        elif reason != "reset":
            self.verdict.find("K9", f"{channel.name}: {reader.name} received a gap with the unknown reason {reason}", number)
        reader.gaps.append((begin, end, reason))
        reader.last, reader.last_line = end, number

    def end(self, channel, event, number):
        self.reader(channel, event["subscriber"]).ended = True

    # MARK: the log and its owners

    def read(self, channel, event, number):
        """The stored history is read like a subscription that begins at its first stored event."""
        at = position(event["position"])
        self.place(channel, event["message"], at, event["t"], number)
        reader = self.reader(channel, f"history {event['reader']}")
        reader.stored, reader.ended = True, event.get("final", False)
        # A history of several epochs may begin in the middle of each.
        if reader.last is not None and at[0] > reader.last[0]:
            reader.gaps.append((after(reader.last), (at[0], at[1] - 1), "reset"))
            reader.last = (at[0], at[1] - 1)
        self.advance(channel, reader, at, number)

    def assign(self, channel, event, number):
        self.cluster.own(event["partition"], event["owner_epoch"], event["node"], number)
        channel.assigned[(event["node"], event["owner_epoch"], event["position"], event["message"])] = (event["t"], number)

    def commit(self, channel, event, number):
        node, epoch, at = event["node"], event["owner_epoch"], position(event["position"])
        self.cluster.own(event["partition"], epoch, node, number)
        self.place(channel, event["message"], at, event["t"], number)
        assigned = channel.assigned.pop((node, epoch, event["position"], event["message"]), None)
        if assigned is None or assigned[0] > event["t"]:
            self.verdict.find("R2", f"{channel.name}: {node} appended {event['message']} at {text(at)} without logging the position before", number)
        else:
            sealed, line = self.cluster.sealed_before(event["partition"], assigned[0])
            if sealed > epoch:
                self.verdict.find(
                    "K7", f"{channel.name}: {node} appended {text(at)} under owner epoch {epoch}, after owner epoch {sealed} was sealed", line, assigned[1], number)
        channel.commits.append((at, epoch, number))

    # MARK: at the end

    def finish(self, channel):
        self.check_outcomes(channel)
        self.check_order(channel)
        self.check_commits(channel)
        self.check_epochs(channel)
        lost = set()
        acknowledged = sorted((m.at, name) for name, m in channel.messages.items() if m.acknowledged is not None and m.at is not None)
        for reader in channel.readers.values():
            self.check_reader(channel, reader, acknowledged, lost)
        self.verdict.counts["lost"] += len(lost)

    def check_outcomes(self, channel):
        counts = self.verdict.counts
        for name, message in channel.messages.items():
            if message.invoked is None:
                self.verdict.find("K8", f"{channel.name}: {name} has position {text(message.at)}, but was never published" if message.at else
                                  f"{channel.name}: {name} has an outcome, but was never published", message.at_line)
                continue
            counts["published"] += 1
            if message.acknowledged is not None:
                counts["acknowledged"] += 1
            elif message.failed and not message.uncertain:
                counts["refused"] += 1
                if message.at is not None:
                    self.verdict.find("K8", f"{channel.name}: {name} was refused, but has position {text(message.at)}", message.failed_line, message.at_line)
            else:
                counts["ambiguous"] += 1
            if message.delivered is not None:
                self.cluster.latency(channel.name, message.invoked, max(0, message.delivered - message.invoked))

    def check_order(self, channel):
        """K5 and K6. The log is the order, so one pass over the positions is enough."""
        placed = sorted((m.at, name) for name, m in channel.messages.items() if m.at is not None and m.invoked is not None)
        latest, latest_name = -1, None
        newest = {}
        for at, name in placed:
            message = channel.messages[name]
            if message.acknowledged is not None and message.acknowledged < latest:
                other = channel.messages[latest_name]
                self.verdict.counts["reordered"] += 1
                self.verdict.find(
                    "K5", f"{channel.name}: {latest_name} was published after {name} was acknowledged, but {text(other.at)} is before {text(at)}",
                    message.acknowledged_line, other.invoked_line)
            if message.invoked > latest:
                latest, latest_name = message.invoked, name
            # An event keeps its place before the later events of its publisher, unless a response refused it, or the publisher never learned its outcome.
            if message.acknowledged is not None and not message.refused:
                highest = newest.get(message.publisher)
                if highest is not None and highest[0] > message.number:
                    self.verdict.counts["reordered"] += 1
                    self.verdict.find("K6", f"{channel.name}: {name} is at {text(at)}, after the later event {highest[1]} of its publisher",
                                      message.invoked_line, channel.messages[highest[1]].invoked_line)
            highest = newest.get(message.publisher)
            if highest is None or highest[0] < message.number:
                newest[message.publisher] = (message.number, name)

    def check_commits(self, channel):
        highest, line = 0, 0
        for at, epoch, number in sorted(channel.commits):
            if epoch < highest:
                self.verdict.find("K7", f"{channel.name}: {text(at)} was appended under owner epoch {epoch}, after an event of owner epoch {highest}", line, number)
            if epoch > highest:
                highest, line = epoch, number

    def check_epochs(self, channel):
        epochs = sorted(channel.first_seen)
        changes = list(zip(epochs, epochs[1:]))
        for old, new in changes:
            if channel.first_seen[new] < channel.first_seen[old]:
                self.verdict.find(
                    "K9", f"{channel.name}: epoch {new} was seen before epoch {old}", self.line_of(channel, old), self.line_of(channel, new))
            if not self.cluster.allowed("resets", min(channel.last_seen[old], channel.first_seen[new]), channel.first_seen[new]):
                self.verdict.find("K9", f"{channel.name}: epoch {new} follows epoch {old}, and no fault explains it", self.line_of(channel, new))
        if changes:
            begin, end = channel.first_seen[epochs[0]], channel.first_seen[epochs[-1]]
            allowed = self.cluster.allowed("resets", begin, end)
            if len(changes) > allowed > 0:
                self.verdict.find("K9", f"{channel.name}: {len(changes)} new epochs, but the faults explain only {allowed}", self.line_of(channel, epochs[-1]))

    def line_of(self, channel, epoch):
        return min((line for at, (_, line) in channel.at.items() if at[0] == epoch), default=0)

    def check_reader(self, channel, reader, acknowledged, lost):
        counts = self.verdict.counts
        holes = sorted(reader.holes)
        run = None
        for at in holes:
            counts["untold"] += 1
            if run is None or run[1] != (at[0], at[1] - 1) or reader.holes[at] != run[2]:
                if run:
                    self.untold(channel, reader, run)
                run = [at, at, reader.holes[at]]
            else:
                run[1] = at
        if run:
            self.untold(channel, reader, run)
        if reader.last is None:
            return
        gaps = sorted(reader.gaps)
        begins = [g[0] for g in gaps]
        # With resumes at older cursors the runs overlap. Sorted and joined they can be searched.
        order = sorted(zip(reader.starts, reader.ends))
        starts, ends = [], []
        for start, finish in order:
            if ends and start <= after(ends[-1]):
                ends[-1] = max(ends[-1], finish)
            else:
                starts.append(start)
                ends.append(finish)
        first = bisect_right(acknowledged, (reader.begin, chr(0x10FFFF))) if reader.begin is not None else 0
        for at, name in islice(acknowledged, first, None):
            message = channel.messages[name]
            if at > reader.last:
                if not reader.ended:
                    break
                lost.add(name)
                rule = "R3" if message.last else "K3"
                self.verdict.find(rule, f"{channel.name}: {reader.name} never received {name} ({text(at)}); its last event is {text(reader.last)}",
                                  message.acknowledged_line, reader.last_line)
                continue
            i = bisect_right(starts, at) - 1
            if i >= 0 and at <= ends[i]:
                continue
            i = bisect_right(begins, at) - 1
            told = i >= 0 and at <= gaps[i][1]
            if told and gaps[i][2] == "late":
                continue
            if told:
                counts["told missing"] += not reader.stored
                if gaps[i][2] == "reset" and not self.cluster.allowed("loses", message.acknowledged, 1 << 62):
                    lost.add(name)
                    self.verdict.find(
                        "K3", f"{channel.name}: {name} ({text(at)}) was acknowledged, {reader.name} received the gap {text(gaps[i][0])} to {text(gaps[i][1])}, and no "
                        "fault explains the loss", message.acknowledged_line)
                # A reset explains the end of the old epoch. The events of the new epoch are known, so they cannot be missing because of it.
                if gaps[i][2] == "reset" and at[0] == gaps[i][1][0] and at[0] != gaps[i][0][0]:
                    newest = channel.newest.get(at[0], 0)
                    if newest - at[1] < self.cluster.run["history_events_max"]:
                        lost.add(name)
                        self.verdict.find("K3", f"{channel.name}: {reader.name} received a reset that skips {name} ({text(at)}) of the new epoch", message.acknowledged_line)
                continue
            lost.add(name)
            self.verdict.find("K3", f"{channel.name}: {name} ({text(at)}) was acknowledged, but {reader.name} never received it, nor a gap", message.acknowledged_line)

    def untold(self, channel, reader, run):
        first, last, lines = run
        what = text(first) if first == last else f"{text(first)} to {text(last)}"
        self.verdict.find("K2", f"{channel.name}: {reader.name} did not receive {what}, and no gap notice", *lines)
