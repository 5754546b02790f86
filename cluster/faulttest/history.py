"""The history of a run: what every client and node did, one JSON object a line, with one clock.

`t` is the host's monotonic clock in microseconds. All processes run on one host, so the times of different processes can be compared. `e` is the kind of event:

    run             log ("memory", "sqlite" or "redis"), seed, nodes, history_events_max, settle_seconds
    pub.invoke      publisher, channel, message, number, attempt, own (whether the publisher chose the message id), last (true for the channel's last event)
    pub.ok          publisher, channel, message, attempt, position, duplicate
    pub.fail        publisher, channel, message, attempt, why: the response says that the event is not committed and never will be
    pub.info        publisher, channel, message, attempt, why, response (whether a response arrived): it is unknown whether the event is or will be committed
    sub.open        subscriber, node, transport, resumed, at (channel → position of the cursor, or null if there is none yet), slow
    sub.deliver     subscriber, channel, position, message
    sub.gap         subscriber, channel, from, to, reason
    sub.closed      subscriber, why
    sub.end         subscriber: it was connected at the end of the run, so it must have received the last event of each of its channels
    log.read        reader, channel, position, message: one event of the stored history; reader is a name for one whole read in order. final: after the last
                    acknowledgement, so the read must include it
    own.seal        node, partition, owner_epoch: the log has confirmed the seal
    own.assign      node, partition, owner_epoch, channel, position, message: before the append is sent
    own.commit      node, partition, owner_epoch, channel, position, message: after the log has confirmed the append
    own.fenced      node, partition, owner_epoch: the log has refused an append or a seal
    own.release     node, partition, owner_epoch: the node will append nothing more under this owner epoch
    nemesis.begin   id, name, target, resets (how many new epochs of each channel this fault may cause), loses (whether the end of an old epoch may be missing
                    then), expires, overflows (whether such gaps may follow), lasting (whether they may follow at any later time)
    nemesis.end     id: the fault is healed
    cluster.settled after (id of the nemesis), took_ms, served, total, contested, views, owned (node → number of partitions), moving, unrouted (partitions
                    whose owner some node does not know)
    cluster.moves   moves, lower_bound

`message` identifies an event by its payload, not by its message id: events without a message id of the publisher have one too. A position is "<epoch>-<offset>".
`own.*` lines are optional: only debug builds write them, each node to its own file, and they are at the end of the history.
"""

import json
import threading
import time


def now():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


class History:
    """Writes the lines of one run. All threads share it."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "w", buffering=1 << 16)
        self.lock = threading.Lock()

    def add(self, kind, **fields):
        line = json.dumps({"t": now(), "e": kind, **fields}, separators=(",", ":"))
        with self.lock:
            if not self.file.closed:
                self.file.write(line + "\n")

    def take(self, files):
        """Takes the lines that nodes have written themselves. `files`: node → path."""
        lines = []
        for node, path in files.items():
            for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
                try:
                    event = json.loads(line)
                except ValueError:
                    # The node was killed while it wrote.
                    continue
                data = event.pop("data", None)
                if data:
                    event["message"] = f"{data['p']}/{event['channel']}/{data['n']}"
                lines.append((event.pop("t"), event.pop("e"), {"node": node, **event}))
        lines.sort(key=lambda line: line[0])
        with self.lock:
            for t, kind, fields in lines:
                self.file.write(json.dumps({"t": t, "e": kind, **fields}, separators=(",", ":")) + "\n")

    def close(self):
        with self.lock:
            self.file.close()


def position(text):
    """`<epoch>-<offset>` as a pair that can be compared."""
    epoch, _, offset = text.partition("-")
    return int(epoch), int(offset)


def text(position):
    return f"{position[0]}-{position[1]}"
