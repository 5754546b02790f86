"""Rows in which something changes under load: moves of partitions, deaths, and a rolling restart."""

import signal
import time

from . import load as loads
from .clients import Clients
from .servers import Servers, publish_target, restart, subscribe_target, until

# The node's default.
CHANNELS_PER_CONNECTION = 32


def spread(names, count=CHANNELS_PER_CONNECTION):
    """Lists of at most `count` names."""
    return [names[n:n + count] for n in range(0, len(names), count)]


def background(bench, publisher, edge, rate, seconds, subscribers=200):
    """The load tool publishes at one node, and subscribes at another."""
    return loads.Run(bench.load_binary, [*publish_target(publisher), *subscribe_target(edge)],
                     ["-n", subscribers, "-c", "200", "--publishers", "16", "-r", rate], seconds)


# MARK: moves

MOVE_RATE, PROBE_RATE = 1750, 250
MOVE_SECONDS = 30


def handoff(bench):
    """A publisher and subscribers use the partition that moves, while the load tool uses all partitions."""
    with Servers(bench.binary) as servers:
        entries = servers.settle()
        servers.command("rebalance/pause")
        moves = moves_in_turn(servers, entries)[:bench.options.moves]
        channels = servers.channels([entry for entry, _ in moves])
        publisher, _, edge = servers.nodes
        load = background(bench, publisher, edge, MOVE_RATE, 10 + MOVE_SECONDS * len(moves))
        clients = None
        try:
            clients = Clients(
                [([publisher], [channels[moves[0][0]["partition"]]], PROBE_RATE)], [([edge], names) for names in spread(list(channels.values()))])
            times = [move(bench, servers, clients, entry, target, channels[entry["partition"]], n) for n, (entry, target) in enumerate(moves)]
            result = clients.stop()
            clients = None
            report = load.interrupt()
        finally:
            load.end()
            if clients:
                clients.close()
    pauses = [result.longest(begin - 0.02, end + 0.1) for begin, end in times]
    if not report["generator"]["ok"]:
        bench.note(f"the load tool was the bottleneck: {', '.join(report['generator']['bottlenecks'])}")
    return {"moves": {
        "publish to acknowledgement, longest of a move, ms": [acknowledged for acknowledged, _ in pauses],
        "publish to delivery, longest of a move, ms": [delivered for _, delivered in pauses],
        "request to completed move, ms": [1000 * (end - begin) for begin, end in times],
        "events/s": loads.acknowledged(report) + PROBE_RATE,
        "lost, repeated or reordered": loads.wrong(report) + result.wrong, "gaps": sum(s["gaps"] for s in result.subscribers),
        "subscribers that reconnected": report["connections"]["ended_early"] + sum(s["reconnects"] for s in result.subscribers),
        "events sent again": result.repeats + report["publishing"]["failed"]}}


def moves_in_turn(servers, entries):
    """Each partition moves once: in turn from each node to the next one, so that the nodes own equally many partitions all the time."""
    names = [node.name for node in servers.nodes]
    owned = {name: [entry for entry in entries if entry["owner"] == name] for name in names}
    moves = []
    while any(owned.values()):
        for name, target in zip(names, names[1:] + names[:1]):
            if owned[name]:
                moves.append((owned[name].pop(), target))
    return moves


def move(bench, servers, clients, entry, target, channel, number):
    """Returns when the move was requested, and when it was complete."""
    clients.send({"channels": [channel]})
    time.sleep(0.2)
    begin = time.monotonic()
    servers.command("move", partition=entry["partition"], node=target)

    def done():
        found = servers.nodes[0].get_json(f"/api/locate?channel={channel}")
        return found and found["partitions"][0]["owner"] == target and found["partitions"][0]["state"] == "served"
    if not until(done, MOVE_SECONDS):
        bench.note(f"partition {entry['partition']} did not move from {entry['owner']} to {target} within {MOVE_SECONDS} s")
    end = time.monotonic()
    time.sleep(0.2)
    if number % 32 == 31:
        bench.say(f"{number + 1} moves")
    return begin, end


# MARK: deaths

# A killed process loses nothing that Redis wrote to its file.
APPEND_ONLY = ("--appendonly", "yes", "--appendfsync", "everysec")
DEATH_RATE, DEATH_PROBE_RATE = 900, 100


def kill(servers, victim):
    victim.kill()
    return lambda: victim.start(ready=False)


def stop(servers, victim):
    victim.process.send_signal(signal.SIGSTOP)
    return lambda: victim.process.send_signal(signal.SIGCONT)


def cut(servers, victim):
    """No other node can reach the owner, which keeps its session and reaches Redis."""
    victim.link_proxy.shut()
    return victim.link_proxy.open


def restart_redis(servers, victim):
    restart(servers.redis)
    return lambda: None


def restart_zookeeper(servers, victim):
    restart(servers.zookeeper)
    return lambda: None


# The column, what happens, and after how many seconds it is healed.
DEATHS = (
    ("owner killed", kill, 5),
    ("owner stopped", stop, 10),
    ("Redis restarted", restart_redis, 4),
    ("ZooKeeper restarted", restart_zookeeper, 10),
)
CUTS = (("owner's link cut", cut, 8),)


def deaths(bench):
    """The victim changes in each round, so a third of the victims is the controller."""
    columns = {}
    # Only the cut needs links through proxies, which are slower than links.
    for kinds, links in ((DEATHS, False), (CUTS, True)):
        with Servers(bench.binary, redis=APPEND_ONLY, links=links) as servers:
            for column, cause, seconds in kinds:
                columns[column] = death(bench, servers, column, cause, seconds)
    return columns


def death(bench, servers, column, cause, seconds):
    entries = servers.settle()
    nodes = servers.nodes[bench.round % 3:] + servers.nodes[:bench.round % 3]
    publisher, victim, edge = nodes
    channels = list(servers.channels([e for e in entries if e["owner"] == victim.name][:CHANNELS_PER_CONNECTION]).values())
    was_controller = servers.controller() == victim.name
    load = background(bench, publisher, edge, DEATH_RATE, 120)
    clients = heal = None
    try:
        clients = Clients([([publisher], channels, DEATH_PROBE_RATE)], [([edge], channels)])
        time.sleep(2)
        begin = time.monotonic()
        heal = cause(servers, victim)
        time.sleep(max(0, begin + seconds - time.monotonic()))
        end = time.monotonic()
        heal()
        heal = None
        result = clients.stop()
        clients = None
        report = load.interrupt()
    finally:
        if heal:
            heal()
        if clients:
            clients.close()
        load.end()
    acknowledged, delivered = result.longest(begin - 0.1, end - 0.5)
    wrong = result.wrong + loads.wrong(report)
    bench.say(f"{column} ({victim.name}{', the controller' if was_controller else ''}): delivered after at most {delivered:.0f} ms")
    if wrong:
        bench.note(f"{column}: {wrong} events were lost, repeated or reordered")
    return {
        "publish to delivery, longest of a death, ms": [delivered], "publish to acknowledgement, longest of a death, ms": [acknowledged],
        "lost, repeated or reordered": wrong, "gaps": sum(s["gaps"] for s in result.subscribers), "the victim was the controller": float(was_controller)}


# MARK: rolling restart

# Each channel has a publisher of its own, so that an event waits only for events of its channel.
ROLLING_SUBSCRIBERS, ROLLING_CHANNELS, ROLLING_RATE = 300, 50, 2000
EXIT_SECONDS = 40
# After SIGTERM. The next node stops later.
STOP_SECONDS = 3


def rolling(bench):
    with Servers(bench.binary) as servers:
        channels = [f"rolling-{n}" for n in range(ROLLING_CHANNELS)]

        def nodes_from(n):
            return servers.nodes[n % 3:] + servers.nodes[:n % 3]
        clients = Clients(
            [(nodes_from(n), [channel], ROLLING_RATE / ROLLING_CHANNELS) for n, channel in enumerate(channels)],
            [(nodes_from(n), [channels[n % len(channels)]]) for n in range(ROLLING_SUBSCRIBERS)])
        try:
            time.sleep(2)
            begin = time.monotonic()
            stops = []
            for node in servers.nodes:
                is_controller = servers.controller() == node.name
                bench.say(f"{node.name}{', the controller' if is_controller else ''}")
                stops.append((is_controller, time.monotonic()))
                node.process.terminate()
                node.process.wait(EXIT_SECONDS)
                node.did_end()
                node.start(ready=False)
                node.wait_ready()
                servers.settle()
            end = time.monotonic()
            time.sleep(4)
            result = clients.stop()
            clients = None
        finally:
            if clients:
                clients.close()
    published = result.between(begin, end)

    def pauses(of_controller):
        return [result.longest(at - 0.1, at + STOP_SECONDS)[0] for is_controller, at in stops if is_controller == of_controller]
    return {"rolling restart": {
        "seconds until all nodes are restarted": end - begin, "events/s": len(published) / (end - begin),
        "reconnects of a subscriber": [s["reconnects"] for s in result.subscribers],
        "longest silence of a subscriber, ms": [1000 * s["silence"] for s in result.subscribers],
        "publish to acknowledgement, ms": [1000 * ((e[1] or float("inf")) - e[0]) for e in published],
        "publish to acknowledgement, longest while the controller stops, ms": pauses(True),
        "publish to acknowledgement, longest while another node stops, ms": pauses(False),
        "events sent again": result.repeats, "acknowledged events that are missing, or arrived twice": result.wrong,
        "gaps": sum(s["gaps"] for s in result.subscribers), "refused reconnects": sum(s["refused"] for s in result.subscribers), "refused publishes": sum(result.refusals.values())}}
