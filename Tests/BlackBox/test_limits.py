"""Every limit: a client above the limit gets an error, and clients within the limit are not affected."""

import contextlib
import json
import random
import resource
import select
import socket
import subprocess
import threading
import time

import pytest

from harness.history import position
from harness.node import PATIENCE, binary, eventually
from harness.publisher import pipelined
from harness.subscribers import TRANSPORTS, Lines, LongPoll, Refused, SSE, WS, subscribe
from harness.wire import Response, Wire


def unavailable(reply_status, head, body):
    assert reply_status == 503, (head, body)
    assert json.loads(body)["error"]["code"] == "unavailable"
    assert int(head["retry-after"]) >= 0


# MARK: connections


def test_the_connection_limit(nodes, channel):
    node = nodes.make("--connections-max", "20")
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(subscribe(kind, node, channel)) for kind in ("sse", "websocket", "lines") for _ in range(6)]
        inside += [stack.enter_context(SSE(node, channel)) for _ in range(2)]
        for kind in ("sse", "websocket", "lines", "longpoll"):
            for _ in range(5):
                with pytest.raises(Refused) as refused:
                    s = TRANSPORTS[kind](node, channel)
                    if kind == "longpoll":
                        s.poll()
                unavailable(refused.value.status, refused.value.head, refused.value.body)
        # The connected subscribers continue.
        node.publish(channel, "x")
        for s in inside:
            assert s.next().data in ("x", '"x"')
        assert node.status()["subscribers"]["connections_max"] == 20
        # When one subscriber disconnects, another may connect.
        inside.pop().close()

        def enter():
            with contextlib.suppress(Refused, EOFError):
                return stack.enter_context(SSE(node, channel))
        assert eventually(enter)
        assert node.status()["subscribers"]["connections"] <= 20
    eventually(lambda: node.status()["subscribers"]["connections"] == 0)


def asked_to_come_back(response):
    """Checks for a refusal that keeps an EventSource alive: the reason as a comment, and a retry time in milliseconds."""
    assert response.status == 200 and response.head["content-type"] == "text/event-stream" and response.head["cache-control"] == "no-store", response.head
    retry, comment, *rest = response.all().decode().split("\n")
    assert retry.startswith("retry: ") and comment.startswith(": ") and rest == ["", ""], (retry, comment, rest)
    return comment[2:], int(retry[7:])


def test_an_eventsource_over_the_limit_is_asked_to_reconnect(nodes, channel):
    """Any status other than 200 ends a browser's EventSource permanently."""
    node = nodes.make("--connections-max", "2", "--cors-origins", "https://site.example")
    request = f"GET /ev/{channel} HTTP/1.1\r\nHost: x\r\nOrigin: https://site.example\r\nAccept: {{}}\r\n\r\n"
    with SSE(node, channel), SSE(node, channel):
        retries = set()
        for accept in ("text/event-stream", "text/html, TEXT/Event-Stream;q=0.9", "text/event-stream", "text/event-stream"):
            with Wire(node.listen) as wire:
                response = Response(wire.send(request.format(accept)))
                reason, retry = asked_to_come_back(response)
                assert "subscriber limit reached (2)" in reason and 5000 <= retry <= 15000
                assert response.head["access-control-allow-origin"] == "https://site.example"
                assert wire.ended()
                retries.add(retry)
        assert len(retries) > 1, "all clients would reconnect at the same time"
        assert node.metric("realertime_refused_subscribers_total") == 4
        for accept in ("*/*", "text/html"):
            with Wire(node.listen) as wire:
                response = Response(wire.send(request.format(accept)))
                unavailable(response.status, response.head, response.all())
        with Wire(node.listen) as wire:
            # Clients of other transports can handle a status.
            response = Response(wire.send(request.format("text/event-stream").replace("/ev/", "/lp/")))
            unavailable(response.status, response.head, response.all())
        assert node.metric("realertime_refused_subscribers_total") == 7
    assert eventually(lambda: can(lambda: SSE(node, channel).close()))


def test_the_load_tool_recognises_a_refusal(nodes):
    node = nodes.make("--connections-max", "5")
    # `load` reads the limit from the node's API, and refuses to start.
    other = nodes.make()
    command = [binary(), "load", "-n", "9", "-r", "0", "-d", "1", "-o", "json", "--url", f"http://127.0.0.1:{node.listen}", "--api", f"http://127.0.0.1:{other.api}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=node.environment)
    assert done.returncode == 1 and "refused temporarily" in done.stdout + done.stderr, (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("port,path,limit", [("listen", "/lp/a", "connections-max"), ("api", "/pub", "api-connections-max")])
def test_a_preflight_is_answered_even_at_the_connection_limit(nodes, port, path, limit):
    """If a preflight is refused, the browser does not send the request, and its page cannot see the reason."""
    node = nodes.make(f"--{limit}", "1", "--cors-origins", "https://site.example")
    with Wire(getattr(node, port)) as first:
        assert Response(first.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
        with Wire(getattr(node, port)) as wire:
            response = Response(wire.send(f"OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://site.example\r\nAccess-Control-Request-Method: GET\r\n\r\n"))
            assert response.status == 204 and response.head["access-control-allow-origin"] == "https://site.example", response.head
            # The connection closes after the response, as after a refusal.
            assert response.head["connection"] == "close" and wire.ended()
        with Wire(getattr(node, port)) as wire:
            response = Response(wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://site.example\r\n\r\n"))
            unavailable(response.status, response.head, response.all())


def test_a_permanent_error_ends_an_eventsource(node, channel):
    for path, status in ((f"/ev/{channel}?since=x", 400), ("/ev/", 400), ("/nothing", 404), ("/ev", 404)):
        with Wire(node.listen) as wire:
            response = Response(wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"))
            assert response.status == status, response.head


def test_the_api_connection_limit(nodes, channel):
    node = nodes.make("--api-connections-max", "5")
    with contextlib.ExitStack() as stack:
        wires = []

        def enter():
            # Earlier connections may need a moment to end.
            wire = stack.enter_context(Wire(node.api))
            with contextlib.suppress(EOFError):
                response = Response(wire.try_send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
                if response.all().strip() == b"ok":
                    wires.append(wire)
            return len(wires) == 5
        eventually(enter)
        with Wire(node.api) as extra:
            extra.try_send("GET /api/status HTTP/1.1\r\nHost: x\r\n\r\n")
            response = Response(extra)
            unavailable(response.status, response.head, response.all())
            # The refused connection closes, so that another client can connect.
            assert extra.ended()
        with Wire(node.api) as probe:
            # A liveness probe still succeeds: a node at its limit is alive.
            response = Response(probe.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
            assert (response.status, response.all()) == (200, b"ok\n")
        for wire in wires:
            response = Response(wire.send(f"POST /pub?id={channel} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"))
            assert response.status == 200 and response.all()
    eventually(lambda: can(lambda: node.status()))


def can(action):
    try:
        action()
        return True
    except (AssertionError, OSError, EOFError):
        return False


# MARK: channels


def test_the_channel_names_of_subscribers_do_not_block_publishing(nodes, channel):
    node = nodes.make("--channels-max", "50")
    with contextlib.ExitStack() as stack:
        for number in range(3):
            names = "/".join(f"{channel}{number}x{index}" for index in range(32))
            stack.enter_context(Wire(node.listen)).send(f"GET /sub/{names} HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: node.status()["subscribers"]["subscriptions"] == 96)
        for number in range(50):
            node.publish(f"{channel}-{number}", "x")
        with pytest.raises(AssertionError):
            node.publish(f"{channel}-one-too-many", "x")


def test_names_of_subscribers_are_bounded(nodes, channel):
    node = nodes.make("--subscribed-channels-max", "1000", "--channels-per-connection-max", "200", "--loops", "1", "--header-bytes-max", "65536")
    with contextlib.ExitStack() as stack:
        keep = stack.enter_context(SSE(node, channel))
        responses = []
        for number in range(7):
            names = "/".join(f"{channel}{number}x{index}" for index in range(200))
            responses.append(Response(stack.enter_context(Wire(node.listen)).send(f"GET /sub/{names} HTTP/1.1\r\nHost: x\r\n\r\n")))
        assert [a.status for a in responses] == [200] * 4 + [503] * 3
        # A channel that already has a subscriber accepts more subscribers.
        with SSE(node, channel) as other:
            node.publish(channel, "x")
            assert keep.next().data == other.next().data == "x"


def test_channels_that_a_cursor_cannot_tell_apart(node):
    # The hashes of the two channels are equal in the 32 bits that a cursor stores for each channel.
    for path in ("/sub/thread:52277/thread:119527", "/ev/thread:119527/a/thread:52277"):
        with Wire(node.listen) as wire:
            response = Response(wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            assert response.status == 400 and b"cannot distinguish" in response.all()


def test_encoded_events_are_bounded_over_all_channels(nodes, channel):
    node = nodes.make("--feed-bytes-total-max", "1048576", "--loops", "1", "--history-events-max", "10")
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Lines(node, f"{channel}{number}")) for number in range(64)]
        for number in range(64):
            node.publish(f"{channel}{number}", "x" * 50_000)
        for stream in streams:
            assert len(stream.next().data) >= 50_000
        assert node.metric("realertime_feed_bytes") <= 1048576


def test_pipelined_polls_get_responses_in_order(nodes, channel):
    node = nodes.make("--header-bytes-max", "262144")
    node.publish(channel, "x")
    request = f"GET /lp/{channel}.b1 HTTP/1.1\r\nHost: x\r\n\r\n"
    with Wire(node.listen) as wire:
        wire.send(f"GET /lp/{channel} HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: node.status()["subscribers"]["subscriptions"] == 1)
        wire.send(request * 3000)
        node.publish(channel, "y")
        for _ in range(3001):
            response = Response(wire)
            assert response.status == 200 and b'"y"' in response.all()
    assert node.running


# MARK: descriptors


def test_few_descriptors(nodes, channel):
    """The connection limit is computed from the descriptor limit, so that a client above it still gets a response."""
    node = nodes.make(descriptors=512)
    assert 50 <= node.status()["subscribers"]["connections_max"] <= 450
    flood(node, channel, 450)


def test_more_connections_than_descriptors(nodes):
    node = nodes.make("--connections-max", "10000", descriptors=256, start=False)
    node.start(ready=False)
    assert node.process.wait(PATIENCE) > 0
    assert "connections-max" in node.tail() and "256" in node.tail()


def test_descriptors_run_out(nodes, channel):
    """Without free descriptors a node does not respond to every client. But it continues, its loops do not spin, and it recovers."""
    node = nodes.make(descriptors=1024)
    used = node.descriptor_count()

    def take_away(limit):
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (limit, 1024))
    take_away(used + 60)
    flood(node, channel, 150, recover=lambda: take_away(1024))


def flood(node, channel, count, recover=lambda: None):
    with contextlib.ExitStack() as stack:
        keep = stack.enter_context(SSE(node, channel))
        api = stack.enter_context(Wire(node.api))
        assert Response(api.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).all().strip() == b"ok"
        wires, inside, refused = [], 0, 0
        for _ in range(count):
            with contextlib.suppress(OSError):
                wire = stack.enter_context(Wire(node.listen, timeout=15))
                wire.try_send(f"GET /ev/{channel} HTTP/1.1\r\nHost: x\r\n\r\n")
                wires.append(wire)
        silent = {wire.socket: wire for wire in wires}
        # Connections that are not accepted get no response, so this loop ends when no more responses arrive.
        while silent and (ready := select.select(list(silent), [], [], 2 if inside else PATIENCE)[0]):
            for one in ready:
                with contextlib.suppress(EOFError, OSError):
                    response = Response(silent.pop(one))
                    if response.status == 200:
                        inside += 1
                    else:
                        unavailable(response.status, response.head, response.all())
                        refused += 1
        assert inside > 0 and inside < count, (inside, refused, len(silent))
        assert node.running

        def rests():
            before, begun = node.cpu_seconds(), time.monotonic()
            time.sleep(1)
            return (node.cpu_seconds() - before) / (time.monotonic() - begun) < 0.2
        # The CPU time shows whether a loop spins: such a loop would never be idle.
        eventually(rests)
        # Connected clients continue on both ports. The API connection existed before the descriptors ran out.
        api.send(f"POST /pub?id={channel} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        response = Response(api)
        assert response.status == 200, response.all()
        assert keep.next().data == "x"
    recover()
    eventually(lambda: can(lambda: node.healthy()))
    with SSE(node, channel) as s:
        node.publish(channel, "after")
        assert s.next().data == "after"
    eventually(lambda: node.status()["subscribers"]["connections"] == 0)
    eventually(lambda: node.descriptor_count() < 60)


# MARK: half-open connections


def test_half_open_connections_are_closed(nodes, channel):
    node = nodes.make("--handshake-seconds-max", "3", "--connections-max", "40")
    starts = [b"", b"G", b"GET /ev/a HTTP/1.1\r\n", b"GET /ev/a HTTP/1.1\r\nHost: x\r\n", b"GET /ws/a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"]
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(node.listen)).send(starts[n % 5]) for n in range(40)]
        for wire in wires:
            received = wire.rest()
            assert not received or b" 408 " in received.split(b"\r\n")[0], received
        with SSE(node, channel) as s:
            node.publish(channel, 1)
            assert s.next().data == "1"
        eventually(lambda: node.status()["subscribers"]["connections"] == 0)


def test_idle_keep_alive_connections_are_closed(nodes, channel):
    node = nodes.make("--idle-seconds-max", "1")
    for port in (node.listen, node.api):
        with Wire(port) as wire:
            assert Response(wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).all().strip() == b"ok"
            assert wire.ended()
    # A stream without events does not count as idle.
    with SSE(node, channel) as s:
        s.none(2.5)
        node.publish(channel, 1)
        assert s.next().data == "1"


def test_connections_that_vanish_are_not_counted(nodes, channel):
    node = nodes.make("--heartbeat-seconds", "1")
    chance = random.Random(1)
    for kind in TRANSPORTS:
        for _ in range(10):
            s = TRANSPORTS[kind](node, channel)
            if kind == "longpoll":
                s.send_poll()
            s.reset() if chance.random() < 0.5 else s.close()
    eventually(lambda: node.status()["subscribers"]["connections"] == 0)
    eventually(lambda: node.subscribers(channel) == 0)


# MARK: slow subscribers


def contiguous(items, ids):
    """Checks that each item follows the previous one without a hole. A gap covers its whole range. Returns the number of covered events, and the gaps."""
    order = {id: n for n, id in enumerate(ids)}
    at = 0
    gaps = []
    for item in items:
        if item.kind == "gap":
            first, last = order[item.data["from"]], order[item.data["to"]]
            assert first == at and last >= first, (item, ids[at])
            gaps.append(item.data)
            at = last + 1
        else:
            assert item.data["n"] == at, f"event {item.data['n']} follows event {at - 1}"
            at += 1
    return at, gaps


def stall(node, kind, channel, payloads, **options):
    """Publishes events. One subscriber reads nothing until the end, another reads all the time. Returns the gaps of the stalled subscriber."""
    with Lines(node, channel) as start:
        cursor = start.cursor
    slow = TRANSPORTS[kind](node, channel, cursor, receive_buffer=4096, **options)
    if kind == "longpoll":
        slow.send_poll()
    got = []

    def follow(fast):
        for _ in payloads:
            got.append(fast.next().data["n"])
    with slow, WS(node, channel, cursor) as fast:
        thread = threading.Thread(target=follow, args=(fast,))
        thread.start()
        ids = []
        # Each portion fits the history, so that only a subscriber that does not read can miss events.
        for start in range(0, len(payloads), 10):
            ids += pipelined(node, channel, payloads[start:start + 10])
            eventually(lambda: len(got) >= len(ids) or not thread.is_alive(), every=0.001)
        thread.join(PATIENCE)
        assert got == list(range(len(payloads))), "the other subscriber did not get every event"
        items = []
        total, gaps = 0, []
        while total < len(ids):
            items.append(slow.next())
            total, gaps = contiguous(items, ids)
        live = node.publish(channel, {"n": len(ids)})["id"]
        item = slow.next()
        assert (item.kind, item.data) == ("event", {"n": len(ids)}), live
    return gaps


def payloads(count, size):
    return [json.dumps({"n": n, "x": "x" * size}).encode() for n in range(count)]


@pytest.mark.parametrize("kind", ["sse", "websocket", "lines", "longpoll"])
def test_a_stalled_subscriber_catches_up_exactly(nodes, channel, kind):
    """The history has all events: the subscriber misses no event and gets no gap."""
    node = nodes.make("--history-events-max", "2000", "--stalled-seconds-max", "3600")
    assert stall(node, kind, channel, payloads(800, 16_000)) == []


@pytest.mark.parametrize("kind", ["sse", "websocket", "lines"])
def test_a_stalled_subscriber_gets_a_gap(nodes, channel, kind):
    """The history does not have all events: the subscriber gets a gap with the right ends, and all other events."""
    node = nodes.make("--history-events-max", "20", "--stalled-seconds-max", "3600")
    gaps = stall(node, kind, channel, payloads(800, 16_000))
    assert gaps and all(gap["reason"] in ("overflow", "expired") for gap in gaps)


def test_a_subscriber_that_reads_nothing_is_closed_and_resumes(nodes, channel):
    node = nodes.make("--stalled-seconds-max", "1", "--heartbeat-seconds", "1", "--history-events-max", "2000")
    with Lines(node, channel) as start:
        cursor = start.cursor
    with Lines(node, channel, cursor, receive_buffer=4096) as slow:
        ids = pipelined(node, channel, payloads(800, 16_000))
        eventually(lambda: node.subscribers(channel) == 0)
        items = []
        with contextlib.suppress(EOFError):
            while True:
                items.append(slow.next())
        cursor = slow.cursor
    # If the subscriber is delayed for a second, the node closes its connection again. Then the subscriber resumes again.
    while contiguous(items, ids)[0] < len(ids):
        with Lines(node, channel, cursor) as again, contextlib.suppress(EOFError):
            while contiguous(items, ids)[0] < len(ids):
                items.append(again.next())
                cursor = again.cursor
    assert contiguous(items, ids) == (len(ids), [])


def test_the_memory_of_stalled_subscribers_is_bounded(nodes, channel):
    """Thirty subscribers read nothing, and 13 MB wait for each. The node's memory grows by far less than the sum."""
    node = nodes.make("--history-events-max", "50", "--stalled-seconds-max", "600")
    with contextlib.ExitStack() as stack:
        for n in range(30):
            kind = ("sse", "websocket", "lines")[n % 3]
            stack.enter_context(TRANSPORTS[kind](node, channel, receive_buffer=4096))
        before = resident(node)
        pipelined(node, channel, payloads(800, 16_000))
        assert resident(node) - before < 120_000_000
        node.healthy()


def resident(node):
    """Returns the process's private memory. File-backed pages of the binary are not counted, because their number varies."""
    with open(f"/proc/{node.pid}/statm") as file:
        _, total, shared, *_ = map(int, file.read().split())
        return (total - shared) * 4096


# MARK: channels and payloads


def test_the_event_limit(nodes, channel):
    node = nodes.make("--event-bytes-max", "100")
    assert node.post(f"/pub?id={channel}", b"x" * 100).status == 200
    reply = node.post(f"/pub?id={channel}", b"x" * 101)
    assert (reply.status, reply.error) == (413, "too_large")
    # The limit applies only to the payload of a JSON publish.
    assert node.post("/api/publish", {"channel": channel, "data": "x" * 98}).status == 200
    reply = node.post("/api/publish", {"channel": channel, "data": "x" * 99})
    assert (reply.status, reply.error) == (413, "too_large")


def test_the_channel_limit_of_a_connection(nodes, channel):
    node = nodes.make("--channels-per-connection-max", "3")
    names = [channel + suffix for suffix in "abcd"]
    with Lines(node, names[:3]):
        pass
    for kind in TRANSPORTS:
        with pytest.raises(Refused) as refused:
            s = TRANSPORTS[kind](node, names)
            if kind == "longpoll":
                s.poll()
        assert (refused.value.status, refused.value.error) == (400, "bad_channel")
    reply = node.post(f"/pub?id={'/'.join(names)}", b"x")
    assert (reply.status, reply.error) == (400, "bad_channel")


def test_too_many_channels(nodes, channel):
    """If every remembered channel is in use, a publish to a new channel is 429. The other channels continue."""
    node = nodes.make("--channels-max", "5")
    names = [f"{channel}{n}" for n in range(5)]
    with Lines(node, names) as s:
        for name in names:
            node.publish(name, 1)
        s.take(5)
        reply = node.post(f"/pub?id={channel}new", b"x")
        assert (reply.status, reply.error) == (429, "limit"), reply
        node.publish(names[0], 2)
        assert s.next().data == 2


def test_idle_channels_make_room_and_come_back_with_a_new_epoch(nodes, channel):
    """After a channel's head is forgotten, its positions are not used again. A subscriber with an old cursor gets a gap."""
    node = nodes.make("--channels-max", "5", "--history-seconds-max", "1", "--feed-seconds-max", "1")
    with Lines(node, channel) as s:
        old = node.publish(channel, 1)["id"]
        cursor = s.next().cursor
    for n in range(4):
        node.publish(f"{channel}{n}", 1)
    time.sleep(3.5)
    eventually(lambda: node.post(f"/pub?id={channel}new", b"x").status == 200)
    eventually(lambda: channel not in node.post("/api/channels", {}).json["result"]["channels"])
    new = node.publish(channel, 2)["id"]
    assert position(new)[0] > position(old)[0]
    with Lines(node, channel, cursor) as s:
        item = s.next()
        assert (item.kind, item.data["reason"]) == ("gap", "reset")


def test_message_ids_beyond_their_bound(nodes, channel):
    node = nodes.make("--message-ids-max", "10")
    ids = [node.publish(channel, n, message_id=f"m{n}")["id"] for n in range(30)]
    again = node.publish(channel, "again", message_id="m29")
    assert again["duplicate"] is True and again["id"] == ids[29]
    fresh = node.publish(channel, "again", message_id="m0")
    assert "duplicate" not in fresh and position(fresh["id"]) > position(ids[29])


@pytest.mark.parametrize("transport", ["sse", "longpoll"])
def test_a_large_backlog_arrives_whole(nodes, channel, transport):
    node = nodes.make("--history-events-max", "5000")
    pipelined(node, channel, payloads(3000, 100))
    with TRANSPORTS[transport](node, channel + ".b5000") as s:
        assert [item.data["n"] for item in s.take(3000)] == list(range(3000))


def test_longpolls_in_flight_at_the_limit(nodes, channel):
    node = nodes.make("--connections-max", "5", "--heartbeat-seconds", "5")
    with contextlib.ExitStack() as stack:
        polls = [stack.enter_context(LongPoll(node, channel)) for _ in range(5)]
        for poll in polls:
            poll.send_poll()
        eventually(lambda: node.subscribers(channel) == 5)
        for poll in polls:
            assert poll.poll()[0] == []


# MARK: clients that send requests and do not read


@pytest.mark.parametrize("port", ["listen", "api"])
def test_responses_that_no_client_reads_do_not_accumulate(nodes, port):
    """The node stops reading from a client that does not read its responses, before they use much memory. It serves other clients."""
    node = nodes.make()
    before = resident(node)
    requests = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    with socket.create_connection(("127.0.0.1", getattr(node, port)), 10) as client:
        client.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 60_000_000:
                sent += client.send(requests)
        assert sent < 60_000_000, "the node read all requests"
        assert resident(node) - before < 20_000_000
        assert node.get("/healthz").status == 200
