"""Tests the checker: it must accept a good history, and find each way in which a history can be broken with the rule that is meant for it.

    cluster/faults --self-test
"""

import json
import random
import tempfile
from pathlib import Path

from .checker import RULES, check
from .history import position, text

CHANNELS = ("a", "b")
SUBSCRIBERS = ("s1", "s2", "s3", "s4")


class Good:
    """Makes a good history: publishers that repeat, subscribers that resume, an owner that hands over, and one that dies with the log in memory."""

    def __init__(self, seed, log="memory"):
        self.random = random.Random(seed)
        self.lines, self.t = [], 1000
        self.oe = {c: 5 for c in CHANNELS}
        self.epoch = {c: 5 for c in CHANNELS}
        self.events = {c: [] for c in CHANNELS}
        self.cursors = {(s, c): None for s in SUBSCRIBERS for c in CHANNELS}
        self.numbers = {}
        self.add("run", log=log, seed=seed, nodes=3, history_events_max=1000, settle_seconds=15)
        for c in CHANNELS:
            self.seal(c)
        for s in SUBSCRIBERS:
            self.open(s, False)
        self.rounds(60)
        # A planned handoff: a higher owner epoch, and the same epoch.
        for c in CHANNELS:
            self.oe[c] += 1
            self.seal(c)
        self.rounds(40)
        self.add("nemesis.begin", id=1, name="kill-owner", target="n1", resets=1 if log == "memory" else 0,
                 loses=log == "memory", expires=0, overflows=0, lasting=False, settles=True)
        for c in CHANNELS:
            self.die(c, log)
        self.add("nemesis.end", id=1)
        self.add("cluster.settled", after=1, took_ms=900, served=256, total=256, contested=0, views=[9, 9, 9], owned={"n1": 85, "n2": 86, "n3": 85}, moving=0)
        self.add("cluster.moves", moves=3, lower_bound=3)
        self.rounds(60)
        self.add("pub.invoke", publisher="p9", channel="a", message="p9/a/1", number=1, attempt=1, own=False)
        self.add("pub.fail", publisher="p9", channel="a", message="p9/a/1", attempt=1, why="413 too_large")
        for c in CHANNELS:
            self.publish("last", c, last=True)
            self.catch_up(c)
        for s in SUBSCRIBERS:
            self.add("sub.end", subscriber=s, channels=list(CHANNELS))
        for c in CHANNELS:
            for at, m in self.events[c]:
                if at[0] == self.epoch[c]:
                    self.add("log.read", reader=f"n1 {c}", channel=c, position=text(at), message=m, final=True)

    def add(self, kind, **fields):
        self.t += self.random.randint(1, 2000)
        self.lines.append({"t": self.t, "e": kind, **fields})

    def owner(self, c):
        return {"node": f"n{self.oe[c] % 3 + 1}", "partition": CHANNELS.index(c), "owner_epoch": self.oe[c]}

    def seal(self, c):
        self.add("own.seal", **self.owner(c))

    def open(self, s, resumed):
        at = {c: text(self.cursors[s, c] or (self.epoch[c], 0)) for c in CHANNELS}
        for c in CHANNELS:
            self.cursors[s, c] = position(at[c])
        self.add("sub.open", subscriber=s, node=f"n{self.random.randint(1, 3)}", transport="sse", resumed=resumed, at=at)

    def rounds(self, count):
        for _ in range(count):
            c = self.random.choice(CHANNELS)
            self.publish(f"p{self.random.randint(1, 3)}", c)
            if self.random.random() < 0.1:
                s = self.random.choice(SUBSCRIBERS)
                self.add("sub.closed", subscriber=s, why="test")
                self.open(s, True)
            if self.random.random() < 0.5:
                self.catch_up(c)

    def publish(self, publisher, c, last=False, delivered=True):
        number = self.numbers[publisher, c] = self.numbers.get((publisher, c), 0) + 1
        m = f"{publisher}/{c}/{number}"
        who = {"publisher": publisher, "channel": c, "message": m}
        self.add("pub.invoke", **who, number=number, attempt=1, own=True, **({"last": True} if last else {}))
        at = (self.epoch[c], sum(e[0][0] == self.epoch[c] for e in self.events[c]) + 1)
        self.add("own.assign", **self.owner(c), channel=c, position=text(at), message=m)
        self.add("own.commit", **self.owner(c), channel=c, position=text(at), message=m)
        self.events[c].append((at, m))
        if self.random.random() < 0.1:
            self.add("pub.info", **who, attempt=1, why="503 unavailable", response=True)
            self.add("pub.invoke", **who, number=number, attempt=2, own=True)
            self.add("pub.ok", **who, attempt=2, position=text(at), duplicate=True)
        else:
            self.add("pub.ok", **who, attempt=1, position=text(at), duplicate=False)

    def catch_up(self, c, below=None):
        for s in SUBSCRIBERS:
            for at, m in self.events[c]:
                last = self.cursors[s, c]
                if at <= last or (below and at >= below):
                    continue
                if at[0] != last[0]:
                    self.add("sub.gap", subscriber=s, channel=c, **{"from": text((last[0], last[1] + 1)), "to": text((at[0], 0)), "reason": "reset"})
                self.add("sub.deliver", subscriber=s, channel=c, position=text(at), message=m)
                self.cursors[s, c] = at

    def die(self, c, log):
        """The owner dies. With the log in memory, its last events arrive nowhere."""
        self.catch_up(c)
        self.oe[c] += 1
        if log == "memory":
            self.oe[c] -= 1
            self.publish("p1", c)
            self.oe[c] += 1
            # No subscriber received the event, and the next epoch begins.
            self.events[c].pop()
            self.epoch[c] = self.oe[c]
        self.seal(c)


# MARK: the mutations. Each changes the lines in place, and returns false if it found nothing to change.

def pick(lines, rng, kind, where=lambda event: True):
    found = [i for i, e in enumerate(lines) if e["e"] == kind and where(e)]
    return rng.choice(found) if found else None


def following(lines, i):
    """The next delivery or gap of the same subscriber in the same channel."""
    e = lines[i]
    return next((j for j in range(i + 1, len(lines)) if lines[j]["e"] in ("sub.deliver", "sub.gap")
                 and (lines[j]["subscriber"], lines[j]["channel"]) == (e["subscriber"], e["channel"])), None)


def delivery(lines, rng):
    """A delivery that another delivery of the same epoch follows."""
    for _ in range(1000):
        i = pick(lines, rng, "sub.deliver")
        j = following(lines, i)
        if j is not None and lines[j]["e"] == "sub.deliver" and position(lines[j]["position"])[0] == position(lines[i]["position"])[0]:
            return i, j
    raise AssertionError("no such delivery")


def swap(lines, rng):
    i, j = delivery(lines, rng)
    for key in ("position", "message"):
        lines[i][key], lines[j][key] = lines[j][key], lines[i][key]


def drop(lines, rng):
    i, _ = delivery(lines, rng)
    del lines[i]


def repeat(lines, rng):
    i, j = delivery(lines, rng)
    lines.insert(j, dict(lines[i]))


def repeat_elsewhere(lines, rng):
    """The same event is delivered again, at the position after the newest one: a retry that was stored twice."""
    i = pick(lines, rng, "sub.deliver", lambda e: e["message"].startswith("p1/"))
    e = lines[i]
    lines.insert(i + 1, {**e, "position": text((position(e["position"])[0], 10_000))})


def wrong_epoch(lines, rng):
    i, _ = delivery(lines, rng)
    at = position(lines[i]["position"])
    lines[i]["position"] = text((at[0] + 50, at[1]))


def epoch_without_notice(lines, rng):
    del lines[pick(lines, rng, "sub.gap")]


def epoch_without_cause(lines, rng):
    for e in lines:
        if e["e"] == "nemesis.begin":
            e["resets"] = 0


def loss_without_cause(lines, rng):
    """A fault that may cause a new epoch, but no loss."""
    for e in lines:
        if e["e"] == "nemesis.begin":
            e["loses"] = False


def early_epoch(lines, rng):
    """The whole history reports a second new epoch: only one fault explains one."""
    at = max(position(e["position"]) for e in lines if e["e"] == "sub.deliver" and e["channel"] == "a")
    for e in lines:
        if e.get("channel") == "a" and "position" in e and position(e["position"])[0] == at[0] and position(e["position"])[1] > at[1] // 2:
            e["position"] = text((at[0] + 1, position(e["position"])[1] - at[1] // 2))


def lose_acknowledged(lines, rng):
    """The owner forgets an acknowledged event and gives its position to the next one. No subscriber notices a hole."""
    while True:
        i = pick(lines, rng, "pub.ok", lambda e: e["message"].startswith("p") and e["channel"] == "a")
        m, at = lines[i]["message"], position(lines[i]["position"])
        if any(e["e"] == "sub.deliver" and e["message"] == m for e in lines):
            break
    lines[:] = [e for e in lines if not (e["e"] in ("sub.deliver", "log.read", "own.assign", "own.commit") and e["message"] == m)]
    for e in lines:
        if e["e"] in ("sub.deliver", "log.read", "own.assign", "own.commit") and e["channel"] == "a":
            p = position(e["position"])
            if p[0] == at[0] and p[1] > at[1]:
                e["position"] = text((p[0], p[1] - 1))


def lose_the_last(lines, rng):
    """The last event arrives at all subscribers but one: its interest is dead."""
    i = pick(lines, rng, "sub.deliver", lambda e: e["message"].startswith("last/"))
    del lines[i]


def lose_from_history(lines, rng):
    found = [i for i, e in enumerate(lines) if e["e"] == "log.read"]
    same = [i for i in found[1:-1] if lines[i - 1]["e"] == lines[i + 1]["e"] == "log.read" and lines[i - 1]["channel"] == lines[i + 1]["channel"]]
    del lines[rng.choice(same)]


def shorter_history(lines, rng):
    last = [i for i, e in enumerate(lines) if e["e"] == "log.read"][-1]
    del lines[last]


def reset_skips_new_epoch(lines, rng):
    """A reset that also hides the first events of the new epoch."""
    i = pick(lines, rng, "sub.gap")
    j = following(lines, i)
    lines[i]["to"] = lines[j]["position"]
    del lines[j]


def two_at_one_position(lines, rng):
    i, _ = delivery(lines, rng)
    lines[i]["message"] = "other"
    lines.insert(1, {"t": 1001, "e": "pub.invoke", "publisher": "px", "channel": lines[i + 1]["channel"], "message": "other", "number": 1, "attempt": 1})


def unknown_message(lines, rng):
    """An event that no publisher published, at a new position."""
    i = [k for k, e in enumerate(lines) if e["e"] == "sub.deliver" and e["message"].startswith("last/")][-1]
    at = position(lines[i]["position"])
    lines.insert(i + 1, {**lines[i], "position": text((at[0], at[1] + 1)), "message": "unknown"})


def delivered_after_fail(lines, rng):
    i = pick(lines, rng, "sub.deliver", lambda e: e["message"].startswith("p"))
    m = lines[i]["message"]
    for e in lines:
        if e["e"] in ("pub.ok", "pub.info") and e["message"] == m:
            e["e"], e["why"] = "pub.fail", "400 bad_body"


def moved_as_failure(lines, rng):
    i = pick(lines, rng, "pub.info")
    lines[i]["e"], lines[i]["why"] = "pub.fail", "503 another node has taken over this channel"


def acknowledged_elsewhere(lines, rng):
    i = pick(lines, rng, "pub.ok", lambda e: e["channel"] == "b" and e["message"].startswith("p2"))
    lines[i]["position"] = text((position(lines[i]["position"])[0], 9999))


def gap_without_cause(lines, rng):
    """A gap notice for an event that the history still has."""
    i, _ = delivery(lines, rng)
    e = lines[i]
    lines[i] = {"t": e["t"], "e": "sub.gap", "subscriber": e["subscriber"], "channel": e["channel"], "from": e["position"], "to": e["position"], "reason": "expired"}


def overflow_of_a_fast_one(lines, rng):
    gap_without_cause(lines, rng)
    next(e for e in lines if e["e"] == "sub.gap" and e["reason"] == "expired")["reason"] = "overflow"


def reset_within_an_epoch(lines, rng):
    gap_without_cause(lines, rng)
    next(e for e in lines if e["e"] == "sub.gap" and e["reason"] == "expired")["reason"] = "reset"


def gap_of_received(lines, rng):
    """A gap notice for events that the subscriber received."""
    i, _ = delivery(lines, rng)
    e = lines[i]
    lines.insert(i + 1, {"t": e["t"], "e": "sub.gap", "subscriber": e["subscriber"], "channel": e["channel"], "from": e["position"], "to": e["position"], "reason": "expired"})


def short_gap(lines, rng):
    """A gap notice that begins too late."""
    i = pick(lines, rng, "sub.gap")
    at = position(lines[i]["from"])
    lines[i]["from"] = text((at[0], at[1] + 1))


def resume_from_now(lines, rng):
    """A resumed subscription continues with new events."""
    for _ in range(1000):
        i = pick(lines, rng, "sub.open", lambda e: e["resumed"])
        s, c = lines[i]["subscriber"], rng.choice(CHANNELS)
        later = [j for j in range(i, len(lines)) if lines[j]["e"] == "sub.deliver" and (lines[j]["subscriber"], lines[j]["channel"]) == (s, c)][:4]
        if len(later) == 4 and len({position(lines[j]["position"])[0] for j in later}) == 1:
            for j in reversed(later[:3]):
                del lines[j]
            return
    raise AssertionError("no such subscription")


def replay_cut(lines, rng):
    """A replay ends in the middle, and the subscription is live."""
    for _ in range(1000):
        i, j = delivery(lines, rng)
        k = following(lines, j)
        if k is not None and lines[k]["e"] == "sub.deliver" and position(lines[k]["position"])[0] == position(lines[j]["position"])[0]:
            del lines[j]
            return
    raise AssertionError("no such delivery")


def exchange(lines, first, second):
    """Exchanges the places of two messages everywhere."""
    for e in lines:
        if e.get("message") in (first, second) and e["e"] in ("pub.ok", "sub.deliver", "log.read", "own.assign", "own.commit"):
            e["message"] = second if e["message"] == first else first
    for e in lines:
        # The acknowledgement keeps its publisher: only its position changes.
        if e["e"] == "pub.ok" and e["message"] in (first, second):
            e["publisher"] = e["message"].split("/")[0]
    oks = {e["message"]: e for e in lines if e["e"] == "pub.ok" and e["message"] in (first, second)}
    # Each acknowledgement stays at its own time, so the messages of the lines change back and their positions change.
    a, b = oks[first], oks[second]
    a["message"], b["message"] = b["message"], a["message"]
    a["publisher"], b["publisher"] = b["publisher"], a["publisher"]
    a["position"], b["position"] = b["position"], a["position"]


def neighbours(lines, rng, same_publisher):
    """Two messages of one channel at neighbouring positions."""
    placed = sorted((e["channel"], position(e["position"]), e["message"]) for e in lines if e["e"] == "pub.ok" and e["message"].startswith("p"))
    pairs = [(a[2], b[2]) for a, b in zip(placed, placed[1:])
             if a[0] == b[0] and a[1][0] == b[1][0] and (a[2].split("/")[0] == b[2].split("/")[0]) == same_publisher]
    return rng.choice(pairs)


def reorder(lines, rng):
    """An event gets a lower position than an event that was acknowledged before it was published."""
    exchange(lines, *neighbours(lines, rng, False))


def reorder_pipelined(lines, rng):
    """A pipelined publisher's events are stored in the wrong order."""
    first, second = neighbours(lines, rng, True)
    lines[:] = [e for e in lines if not (e["e"] == "pub.info" and e["message"] in (first, second))]
    i = next(i for i, e in enumerate(lines) if e["e"] == "pub.invoke" and e["message"] == second)
    j = next(i for i, e in enumerate(lines) if e["e"] == "pub.invoke" and e["message"] == first)
    # Both are published before either is acknowledged.
    lines[i]["t"] = lines[j]["t"] + 1
    exchange(lines, first, second)


def two_owners(lines, rng):
    i = pick(lines, rng, "own.commit")
    lines[i]["node"] = "n9"


def zombie(lines, rng):
    """An owner appends after a higher owner epoch was sealed."""
    i = pick(lines, rng, "own.commit", lambda e: e["owner_epoch"] == 6 and e["channel"] == "a")
    for e in (lines[i], next(e for e in lines if e["e"] == "own.assign" and e["message"] == lines[i]["message"])):
        e["owner_epoch"], e["node"] = 5, "n3"


def append_before_log(lines, rng):
    i = pick(lines, rng, "own.commit")
    m = lines[i]["message"]
    del lines[next(j for j, e in enumerate(lines) if e["e"] == "own.assign" and e["message"] == m)]


def settled(field, value):
    def mutate(lines, rng):
        next(e for e in lines if e["e"] == "cluster.settled")[field] = value
    mutate.__name__ = f"settled_{field}"
    return mutate


def never_settled(lines, rng):
    del lines[next(i for i, e in enumerate(lines) if e["e"] == "cluster.settled")]


def needless_moves(lines, rng):
    next(e for e in lines if e["e"] == "cluster.moves")["moves"] += 1


def slow_moves(lines, rng):
    """Events wait for a timer while partitions move."""
    begin = next(e for e in lines if e["e"] == "nemesis.begin")
    begin["name"] = "move"
    i = lines.index(begin)
    # Three such faults, one soon after the other.
    lines[i + 1:i + 1] = [{**begin, "id": 1 + n, "t": begin["t"] + 100_000 * n} for n in (1, 2)]
    for e in lines:
        if e["e"] == "sub.deliver" and e["t"] > begin["t"]:
            e["t"] += 5_000_000


def broken_line(lines, rng):
    lines.insert(5, {"e": "what"})


# Each mutation with the rule that must find it.
MUTATIONS = [
    (swap, "K2"), (drop, "K2"), (drop, "K3"), (repeat, "K4"), (repeat_elsewhere, "K4"), (wrong_epoch, "K9"), (epoch_without_notice, "K2"),
    (epoch_without_cause, "K9"), (loss_without_cause, "K3"), (early_epoch, "K9"), (lose_acknowledged, "K1"), (lose_the_last, "R3"), (lose_from_history, "K3"), (shorter_history, "R3"),
    (reset_skips_new_epoch, "K3"), (two_at_one_position, "K1"), (unknown_message, "K8"), (delivered_after_fail, "K8"), (moved_as_failure, "R1"),
    (acknowledged_elsewhere, "K4"), (gap_without_cause, "K9"), (overflow_of_a_fast_one, "K9"), (reset_within_an_epoch, "K9"), (gap_of_received, "K2"),
    (short_gap, "K2"), (resume_from_now, "K2"), (replay_cut, "K2"), (reorder, "K5"), (reorder_pipelined, "K6"), (two_owners, "K7"), (zombie, "K7"),
    (append_before_log, "R2"), (settled("served", 255), "K10"), (settled("contested", 1), "K10"), (settled("views", [9, 8, 9]), "K10"),
    (settled("owned", {"n1": 80, "n2": 91, "n3": 85}), "K10"), (settled("moving", 1), "K10"), (settled("unrouted", 1), "K10"), (settled("took_ms", 99_000), "K10"), (never_settled, "K10"),
    (needless_moves, "K11"), (slow_moves, "P1"), (broken_line, "format"),
]


def judge(lines, folder, **options):
    path = Path(folder) / "history.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return check(path, **options)


def self_test(seeds=5, only=None, report=print):
    """Returns the faults that were found in the checker. `only` limits the mutations to those of one rule."""
    faults = []
    with tempfile.TemporaryDirectory(prefix="realertime-mutations-") as folder:
        for seed in range(seeds):
            for log in (() if only else ("memory", "redis")):
                lines = Good(seed, log).lines
                # The small limit distributes the lines over several files.
                for limit in (1 << 30, 40_000):
                    verdict = judge(lines, folder, bytes_at_a_time=limit)
                    if not verdict.good:
                        faults.append(f"the good history {seed} ({log}) is refused:\n{verdict.table()}")
            for mutate, rule in MUTATIONS:
                if only and rule != only:
                    continue
                lines = Good(seed, "memory").lines
                mutate(lines, random.Random(seed))
                verdict = judge(lines, folder)
                if not verdict.found[rule]:
                    faults.append(f"{mutate.__name__} (seed {seed}) was not found by {rule}, only by {dict(verdict.found)}")
    unused = set(RULES) - {rule for _, rule in MUTATIONS} - {"run"}
    if unused:
        faults.append(f"no mutation tests the rules {sorted(unused)}")
    report(f"{len(MUTATIONS)} mutations of {seeds} histories, {len(faults)} faults of the checker")
    for fault in faults:
        report(fault)
    return faults
