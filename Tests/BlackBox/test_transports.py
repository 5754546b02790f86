"""What each transport sends, byte by byte."""

import json

import pytest

from harness.history import position
from harness.node import eventually
from harness.subscribers import SSE, TRANSPORTS, Refused, SSEEnvelope, WS, Lines, LongPoll, subscribe
from harness.websocket import PING, PONG
from harness.wire import Response, Wire

FLAGS = ["--cors-origins", "https://site.example"]
EVERY = pytest.mark.parametrize("kind", TRANSPORTS)


@pytest.fixture(scope="module")
def beating(module_nodes):
    """A node with short heartbeats, for tests that wait for them."""
    return module_nodes.make("--heartbeat-seconds", "2")


# MARK: events


@EVERY
def test_an_event_arrives(shared, channel, kind):
    with subscribe(kind, shared, channel) as s:
        response = shared.publish(channel, {"a": [1, "ü", None]}, type="comment")
        assert response["channel"] == channel
        item = s.next()
        assert (item.kind, item.channel, item.data, item.type) == ("event", channel, {"a": [1, "ü", None]}, "comment")
        s.none(0.3)


@EVERY
def test_events_arrive_in_order(shared, channel, kind):
    with subscribe(kind, shared, channel) as s:
        for n in range(200):
            shared.publish(channel, n)
        assert [item.data for item in s.take(200)] == list(range(200))


@EVERY
def test_several_channels(shared, channel, kind):
    names = [f"{channel}:{n}" for n in range(5)]
    with subscribe(kind, shared, names) as s:
        for n in range(25):
            shared.publish(names[n % 5], n)
        items = s.take(25)
        assert sorted(item.data for item in items) == list(range(25))
        for index, name in enumerate(names):
            assert [item.data for item in items if item.channel == name] == list(range(index, 25, 5))


@EVERY
def test_a_publish_to_several_channels_reaches_each(shared, channel, kind):
    names = [channel + "a", channel + "b"]
    with subscribe(kind, shared, names) as s:
        responses = shared.publish(names, "x")
        assert [a["channel"] for a in responses] == names
        assert sorted(item.channel for item in s.take(2)) == names


@EVERY
def test_another_channel_stays_silent(shared, channel, kind):
    with subscribe(kind, shared, channel) as s:
        shared.publish(channel + "x", 1)
        shared.publish(channel[:-1], 1)
        s.none(0.5)


@EVERY
def test_an_event_without_a_type_has_no_type_field(shared, channel, kind):
    with subscribe(kind, shared, channel) as s:
        shared.publish(channel, 1)
        assert s.next().type is None


PAYLOADS = {
    "object": (b'{"a": 1.50, "a": 2}', None),
    "number": (b"1e400", None),
    "space around": (b'  {"x":\t1 }  ', None),
    "line breaks between tokens": (b'{\n"x"\r\n:\r1}', {"x": 1}),
    "string": ('"ü"'.encode(), "ü"),
    "escapes": (rb'"\u2028\n\ud83d\ude00"', "\u2028\n\U0001f600"),
    "text": ("plain ü".encode(), "plain ü"),
    "text with line breaks": (b"one\ntwo\r\nthree\rfour\n", "one\ntwo\r\nthree\rfour\n"),
    "control characters": (b"a\x01\x00\x1f\x7f\"\\b", "a\x01\x00\x1f\x7f\"\\b"),
    "no JSON": (b"{'a': 1}", "{'a': 1}"),
    "two JSON values": (b"1 2", "1 2"),
    "deep": (b"[" * 100 + b"]" * 100, None),
    "not UTF-8": (b"\xff\xfe\x00\x80", b"\xff\xfe\x00\x80"),
    "surrogate in UTF-8": (b"\xed\xa0\x80", b"\xed\xa0\x80"),
    "overlong": (b"\xc0\xaf", b"\xc0\xaf"),
    "byte order mark": (b"\xef\xbb\xbf1", "\ufeff1"),
    "line separators": ("a\u2028b\u2029c\u0085d".encode(), "a\u2028b\u2029c\u0085d"),
    "a space": (b" ", " "),
    "a line break": (b"\n", "\n"),
    "looks like SSE": (b"data: x\n\nevent: gap\nid: 1", "data: x\n\nevent: gap\nid: 1"),
    "65536 bytes": (b"x" * 65536, "x" * 65536),
}


@EVERY
@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads(shared, channel, kind, payload):
    sent, expected = PAYLOADS[payload]
    with subscribe(kind, shared, channel) as s:
        shared.publish(channel, sent)
        shared.publish(channel, "end")
        item = s.next()
        assert item.data == (json.loads(sent) if expected is None else expected)
        assert s.next().data == "end"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_sse_payloads_are_as_published(shared, channel, payload):
    sent, _ = PAYLOADS[payload]
    with SSE(shared, channel) as s:
        shared.publish(channel, sent)
        shared.publish(channel, "end")
        text = sent.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
        assert s.next().data == text
        assert s.next().data == "end"


# MARK: SSE


def test_sse_opens_with_retry_and_id(shared, channel):
    with SSE(shared, channel) as s:
        assert [name for name, _ in s.first.fields] == ["retry", "id"]
        assert s.response.head["content-type"].split(";")[0].strip() == "text/event-stream"


def test_sse_event_has_id_type_and_lines(shared, channel):
    with SSE(shared, channel) as s:
        shared.publish(channel, "one\ntwo", type="note")
        frame = s.frame()
        while not frame.fields:
            frame = s.frame()
        assert frame.fields[0][0] == "id"
        assert frame.fields[1:] == [("event", "note"), ("data", "one"), ("data", "two")]


def test_sse_envelope(shared, channel):
    with SSE(shared, channel, query="envelope=1") as s:
        shared.publish(channel, {"a": 1}, type="note")
        frame = s.frame()
        while not frame.fields:
            frame = s.frame()
        assert json.loads(frame.data) == {"id": frame["id"], "channel": channel, "type": "note", "data": {"a": 1}}
        assert frame["event"] is None, "a browser's onmessage gets only events without a type"


def test_sse_envelope_gaps_are_messages_too(nodes, channel):
    node = nodes.make("--history-events-max", "2")
    first = node.publish(channel, 1)["cursor"]
    for n in range(2, 6):
        node.publish(channel, n)
    eventually(lambda: len(node.history(channel)["publications"]) == 2)
    with SSE(node, channel, first, query="envelope=1") as s:
        frame = s.frame()
        assert [name for name, _ in frame.fields] == ["id", "data"]
        gap = json.loads(frame.data)
        assert set(gap) == {"gap", "id"} and gap["id"] == frame["id"] and gap["gap"]["reason"] == "expired"
        assert s.next().data == 4


def test_sse_opening_cursor_resumes_before_the_first_event(shared, channel):
    with SSE(shared, channel) as s:
        start = s.cursor
    shared.publish(channel, 1)
    shared.publish(channel, 2)
    with SSE(shared, channel, start, as_header=True) as s:
        assert [item.data for item in s.take(2)] == ["1", "2"]


# MARK: long-poll and lines


def test_longpoll_returns_existing_events_immediately(shared, channel):
    cursor = head_of(shared, channel)
    for n in range(3):
        shared.publish(channel, n)
    with LongPoll(shared, channel, cursor) as s:
        items, after = s.poll()
        assert [item.data for item in items] == [0, 1, 2]
        assert s.response.head["content-type"].split(";")[0].strip() == "application/json"
        shared.publish(channel, 3)
        items, _ = s.poll()
        assert [item.data for item in items] == [3]
    with LongPoll(shared, channel, after) as s:
        assert [item.data for item in s.poll()[0]] == [3]


def head_of(node, channel):
    """A cursor at the head of a channel."""
    with SSE(node, channel) as s:
        return s.cursor


def test_longpoll_without_events_responds_in_time(beating, channel):
    with LongPoll(beating, channel) as s:
        items, cursor = s.poll()
        assert items == []
        beating.publish(channel, 1)
        assert [item.data for item in s.poll()[0]] == [1], "the cursor of an empty response must work for a resume"


def test_longpoll_keeps_its_connection(shared, channel):
    with LongPoll(shared, channel, head_of(shared, channel)) as s:
        for n in range(20):
            shared.publish(channel, n)
            assert [item.data for item in s.poll()[0]] == [n]
        assert (s.response.head["connection"] or "").lower() != "close"


def test_a_longpoll_that_was_closed_is_not_counted(shared, channel):
    with LongPoll(shared, channel) as s:
        s.send_poll()
        eventually(lambda: shared.subscribers(channel) == 1)
    eventually(lambda: shared.subscribers(channel) == 0)


# MARK: where to start


@EVERY
def test_a_subscription_starts_with_the_next_event(shared, channel, kind):
    shared.publish(channel, "before")
    with subscribe(kind, shared, channel) as s:
        shared.publish(channel, "after")
        assert s.next().data == "after"


@EVERY
def test_backlog(shared, channel, kind):
    for n in range(10):
        shared.publish(channel, n)
    with subscribe(kind, shared, channel + ".b3") as s:
        assert [item.data for item in s.take(3)] == [7, 8, 9]
        shared.publish(channel, 10)
        item = s.next()
        assert (item.channel, item.data) == (channel, 10)


@EVERY
def test_a_backlog_larger_than_the_history(shared, channel, kind):
    shared.publish(channel, 1)
    with subscribe(kind, shared, channel + ".b50") as s:
        assert s.next().data == 1
        s.none(0.3)


@EVERY
def test_backlog_of_an_empty_channel(shared, channel, kind):
    with subscribe(kind, shared, channel + ".b5") as s:
        if kind == "longpoll":
            eventually(lambda: shared.subscribers(channel) == 1)
        shared.publish(channel, 1)
        assert s.next().data == 1


@EVERY
def test_backlog_of_some_channels(shared, channel, kind):
    names = [channel + suffix for suffix in "abc"]
    for n in range(5):
        for name in names:
            shared.publish(name, n)
    with subscribe(kind, shared, [names[0] + ".b2", names[1], names[2] + ".b1"]) as s:
        items = s.take(3)
        assert [i.data for i in items if i.channel == names[0]] == [3, 4]
        assert [i.data for i in items if i.channel == names[2]] == [4]
        shared.publish(names[1], "live")
        assert s.next().data == "live"


@EVERY
def test_a_cursor_takes_precedence_over_the_backlog(shared, channel, kind):
    for n in range(5):
        shared.publish(channel, n)
    with Lines(shared, channel + ".b2") as s:
        cursor = s.next().cursor
    with subscribe(kind, shared, channel + ".b4", cursor) as s:
        assert s.next().data == 4
        s.none(0.3)


@EVERY
def test_since_and_header(shared, channel, kind):
    with Lines(shared, channel) as s:
        for n in range(4):
            shared.publish(channel, n)
        cursors = [s.next().cursor for _ in range(4)]
    assert len(set(cursors)) == 4
    for as_header in (False, True):
        with subscribe(kind, shared, channel, cursors[1], as_header=as_header) as s:
            assert [item.data for item in s.take(2)] == [2, 3]
            s.none(0.2)
    with subscribe(kind, shared, channel, cursors[2], as_header=True, query=f"since={cursors[0]}") as s:
        assert s.next().data == 3, "the header takes precedence over the query"
        s.none(0.2)


@EVERY
def test_an_empty_header_counts_as_absent(shared, channel, kind):
    shared.publish(channel, "before")
    s = TRANSPORTS[kind](shared, channel, headers={"Last-Event-ID": ""})
    with s:
        if kind == "longpoll":
            s.send_poll()
            eventually(lambda: shared.subscribers(channel) == 1)
        shared.publish(channel, "after")
        assert s.next().data == "after"


@EVERY
def test_a_cursor_of_other_channels_starts_the_new_ones_live(shared, channel, kind):
    a, b, c = (channel + suffix for suffix in "abc")
    for name in (a, b, c):
        shared.publish(name, "old")
    with Lines(shared, [a, b]) as s:
        cursor = s.cursor
    for name in (a, b, c):
        shared.publish(name, "missed")
    with subscribe(kind, shared, [b, c], cursor) as s:
        item = s.next()
        assert (item.channel, item.data) == (b, "missed"), "channel a is no longer listed, and channel c starts at its next event"
        s.none(0.2)
        shared.publish(c, "live")
        item = s.next()
        assert (item.channel, item.data) == (c, "live")


def test_cursors_are_url_safe(shared, channel):
    with Lines(shared, [channel, channel + "x"]) as s:
        shared.publish(channel, 1)
        for cursor in (s.cursor, s.next().cursor):
            assert cursor and all(c.isascii() and (c.isalnum() or c in "_-") for c in cursor), cursor


# MARK: heartbeats


@pytest.mark.parametrize("kind", ["sse", "lines", "websocket"])
def test_heartbeats(beating, channel, kind):
    with subscribe(kind, beating, channel) as s:
        def beats():
            s.none(0.5)
            return s.socket.pings if kind == "websocket" else s.heartbeats
        eventually(lambda: beats() >= 2)
        beating.publish(channel, 1)
        assert s.next().data == 1


def test_a_websocket_without_pongs_is_closed(beating, channel):
    with WS(beating, channel) as s:
        code = s.socket.close_code()
        assert code == 1001
        assert s.wire.ended()


def test_client_pings_get_pongs(shared, channel):
    with WS(shared, channel) as s:
        s.socket.send(PING, b"are you there")
        opcode, payload = None, None
        while opcode != PONG:
            _, opcode, payload = s.socket.frame()
        assert payload == b"are you there"


def test_client_messages_publish_nothing(shared, channel):
    with WS(shared, channel) as s:
        s.socket.send(1, json.dumps({"publish": {"channel": channel, "data": 1}}))
        s.socket.send(2, b"\x00\xff")
        s.none(0.3)
        shared.publish(channel, "real")
        assert s.next().data == "real"
    assert [p["data"] for p in shared.history(channel)["publications"]] == ["real"]


# MARK: headers


@EVERY
def test_headers(shared, channel, kind):
    with subscribe(kind, shared, channel) as s:
        if kind == "longpoll":
            shared.publish(channel, 1)
            s.poll()
        head = s.response.head
        if kind != "websocket":
            assert head["cache-control"] == "no-store"
            assert head["x-accel-buffering"] == "no"
            assert head["content-type"]


ORIGINS = {"allowed": "https://site.example", "own": None, "other": "https://evil.example", "null": "null",
           "other scheme": "http://site.example", "longer": "https://site.example.evil.example", "other port": "https://site.example:444"}


@EVERY
@pytest.mark.parametrize("origin", ORIGINS)
def test_origins(shared, channel, kind, origin):
    name = ORIGINS[origin] or f"http://127.0.0.1:{shared.api}"
    allowed = origin in ("allowed", "own")
    if kind == "websocket":
        if allowed:
            with WS(shared, channel, headers={"Origin": name}) as s:
                shared.publish(channel, 1)
                assert s.next().data == 1
        else:
            with pytest.raises(Refused) as refused:
                WS(shared, channel, headers={"Origin": name})
            assert (refused.value.status, refused.value.error) == (403, "forbidden_origin")
        return
    shared.publish(channel, 1)
    s = TRANSPORTS[kind](shared, channel + ".b1", headers={"Origin": name})
    with s:
        if kind == "longpoll":
            s.poll()
        assert s.response.status == 200
        assert s.response.head["access-control-allow-origin"] == (name if allowed else None)
        if allowed:
            assert "origin" in (s.response.head["vary"] or "").lower()


@pytest.mark.parametrize("path", ["/ev/{}", "/lp/{}", "/sub/{}", "/ws/{}", "/healthz"])
def test_options(shared, channel, path):
    path = path.format(channel)
    headers = {"Origin": "https://site.example", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "last-event-id"}
    reply = shared.request("OPTIONS", path, headers=headers, port=shared.listen)
    assert reply.status in (200, 204), reply
    assert reply.headers["Access-Control-Allow-Origin"] == "https://site.example"
    assert "GET" in reply.headers["Access-Control-Allow-Methods"]
    assert "last-event-id" in reply.headers["Access-Control-Allow-Headers"].lower()
    headers["Origin"] = "https://evil.example"
    reply = shared.request("OPTIONS", path, headers=headers, port=shared.listen)
    assert reply.headers["Access-Control-Allow-Origin"] is None


def test_every_origin_when_configured(nodes, channel):
    node = nodes.make("--cors-origins", "*")
    with SSE(node, channel, headers={"Origin": "https://any.example"}) as s:
        assert s.response.head["access-control-allow-origin"] in ("*", "https://any.example")
    with WS(node, channel, headers={"Origin": "https://any.example"}):
        pass


def test_http10_gets_no_chunks(shared, channel):
    with Wire(shared.listen) as wire:
        wire.send(f"GET /ev/{channel} HTTP/1.0\r\n\r\n")
        response = Response(wire)
        assert response.status == 200 and not response.chunked and response.left is None, response.head
        assert response.until(b"\n\n").startswith(b"retry:")
        shared.publish(channel, "x")
        text = response.until(b"\n\n")
        while b"data: x" not in text:
            text = response.until(b"\n\n")


# MARK: from a snapshot to the stream


@EVERY
def test_a_subscription_continues_from_the_cursor_of_a_publish(shared, channel, kind):
    one = shared.publish(channel, "one")
    two = shared.post("/api/publish", {"channel": channel, "data": 2}).json["result"]
    three = shared.post("/api/broadcast", {"channels": [channel, channel + "x"], "data": 3}).json["result"]["responses"][0]["result"]
    four = shared.post("/api/batch", {"commands": [{"publish": {"channel": channel, "data": 4}}]}).json["replies"][0]["publish"]
    five = shared.publish([channel, channel + "x"], "5")[0]
    rest = ["one", 2, 3, 4, 5]
    for response in (one, two, three, four, five):
        rest.pop(0)
        position = response.get("id") or f"{response['epoch']}-{response['offset']}"
        for since in (response["cursor"], position):
            for as_header in (False, True):
                if kind == "longpoll" and not rest:
                    continue
                with TRANSPORTS[kind](shared, channel, since, as_header=as_header) as s:
                    assert [item.data for item in s.take(len(rest))] == rest


def test_a_duplicate_has_the_cursor_of_the_first_event(shared, channel):
    first = shared.publish(channel, 1, message_id="m")
    shared.publish(channel, 2)
    again = shared.publish(channel, 1, message_id="m")
    assert again["duplicate"] and again["cursor"] == first["cursor"]


@EVERY
def test_load_state_then_follow(shared, channel, kind):
    for n in range(5):
        shared.publish(channel, n)
    state = shared.history(channel)
    head = shared.history(channel, limit=0)
    some = shared.history(channel, limit=2, since=f"{state['epoch']}-1")
    assert head["cursor"] == state["cursor"] == shared.history(channel, limit=2)["cursor"] == shared.history(channel, reverse=True)["cursor"]
    assert [p["data"] for p in some["publications"]] == [1, 2]
    assert shared.history(channel, since=some["cursor"])["publications"] == state["publications"][3:]
    shared.publish(channel, 5)
    for since, expected in ((state["cursor"], [5]), (some["cursor"], [3, 4, 5])):
        with TRANSPORTS[kind](shared, channel, since) as s:
            assert [item.data for item in s.take(len(expected))] == expected


def test_a_position_is_accepted_only_for_one_channel(shared, channel):
    position = shared.publish(channel, 1)["id"]
    reply = shared.get(f"/lp/{channel}/{channel}x?since={position}", port=shared.listen)
    assert (reply.status, reply.error) == (400, "bad_cursor") and "one channel" in reply.json["error"]["message"]


def test_a_cursor_of_a_longer_history_is_a_reset_whose_end_is_not_before_its_start(shared, channel):
    shared.publish(channel, 1)
    with Lines(shared, channel, "1-900") as s:
        gap = s.next()
        assert gap.kind == "gap" and gap.data["reason"] == "reset"
        assert position(gap.data["from"]) <= position(gap.data["to"])
    gap = shared.history(channel, since="1-900")["gap"]
    assert gap["reason"] == "reset" and position(gap["from"]) <= position(gap["to"])


# MARK: polyfills


@pytest.mark.parametrize("name", ["lastEventId", "evs_last_event_id"])
def test_the_names_that_polyfills_use_for_the_cursor(shared, channel, name):
    first = shared.publish(channel, 1)["cursor"]
    second = shared.publish(channel, 2)["cursor"]
    shared.publish(channel, 3)
    with SSE(shared, channel, query=f"{name}={second}") as s:
        assert s.next().data == "3"
    # A polyfill adds its parameter to a URL that still contains the cursor of the first connection.
    with SSE(shared, channel, first, query=f"{name}={second}") as s:
        assert s.next().data == "3"
    with SSE(shared, channel, first, query=f"{name}=") as s:
        assert s.next().data == "2"


def test_the_headers_that_polyfills_send_are_allowed(shared, channel):
    headers = {"Origin": "https://site.example", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "cache-control,last-event-id"}
    reply = shared.request("OPTIONS", f"/ev/{channel}", headers=headers, port=shared.listen)
    allowed = {name.strip().lower() for name in reply.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"cache-control", "last-event-id"} <= allowed
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"


def test_the_wildcard_origin_does_not_allow_credentials(nodes, channel):
    node = nodes.make("--cors-origins", "*")
    with SSE(node, channel, headers={"Origin": "https://any.example"}) as s:
        assert s.response.head["access-control-allow-origin"] == "*" and s.response.head["access-control-allow-credentials"] is None


@pytest.mark.parametrize("listed,origin", [
    ("https://site.example:443", "https://site.example"), ("http://site.example:80", "http://site.example"), ("https://site.example", "https://site.example:443")])
def test_the_default_port_is_the_same_origin(nodes, channel, listed, origin):
    node = nodes.make("--cors-origins", listed)
    with SSE(node, channel, headers={"Origin": origin}) as s:
        assert s.response.head["access-control-allow-origin"] == origin
    with WS(node, channel, headers={"Origin": origin}):
        pass


@pytest.mark.parametrize("host,origin", [
    ("push.example", "https://push.example"), ("push.example:443", "https://push.example"), ("push.example:80", "http://push.example"), ("push.example:81", "http://push.example:81")])
def test_a_websocket_of_the_same_origin_behind_a_proxy(shared, channel, host, origin):
    with WS(shared, channel, headers={"Origin": origin, "Host": host}):
        pass


@pytest.mark.parametrize("offer,chosen", [("realertime.v1", "realertime.v1"), ("chat, realertime.v1", "realertime.v1"), ("chat", None), ("REALERTIME.V1", None)])
def test_a_subprotocol(shared, channel, offer, chosen):
    with WS(shared, channel, headers={"Sec-WebSocket-Protocol": offer}) as s:
        assert s.response.head["sec-websocket-protocol"] == chosen


def test_a_refused_origin_is_logged_once(nodes, channel):
    node = nodes.make()
    for _ in range(3):
        with pytest.raises(Refused):
            WS(node, channel, headers={"Origin": "https://evil.example"})
        assert node.post(f"/pub?id={channel}", b"1", {"Origin": "https://evil.example"}).status == 403
        with SSE(node, channel, headers={"Origin": "https://evil.example"}) as s:
            assert s.response.head["access-control-allow-origin"] is None
    assert node.metric("realertime_refused_origins_total") == 9
    with pytest.raises(Refused):
        WS(node, channel, headers={"Origin": "https://other.example"})
    eventually(lambda: "https://other.example" in node.tail())
    assert node.tail(100_000).count("https://evil.example") == 1


@pytest.mark.parametrize("origin", ["null", "file://", "*", ""])
def test_an_origin_that_cannot_be_listed(nodes, channel, origin):
    """Local files and sandboxed frames send the origin null. The log must not suggest a value that the configuration refuses."""
    node = nodes.make()
    error = node.post(f"/pub?id={channel}", b"1", {"Origin": origin}).json["error"]
    assert error["code"] == "forbidden_origin" and "cannot be in cors-origins" in error["message"] and "add the origin" not in error["message"]
    eventually(lambda: "cannot be in cors-origins" in node.tail())
    assert "add the origin" not in node.tail()


@pytest.mark.parametrize("host", ["[::1]:9999", "[::1]", "localhost:9999", "127.0.0.1"])
def test_the_api_ports_own_page_under_any_loopback_name(shared, channel, host):
    """Behind a tunnel the page's port differs from the node's port."""
    assert shared.post(f"/pub?id={channel}", b"1", {"Host": host, "Origin": f"http://{host}"}).status == 200
    assert shared.post(f"/pub?id={channel}", b"1", {"Host": host, "Origin": "http://evil.example"}).status == 403


# MARK: counting


@EVERY
def test_subscribers_are_counted(shared, channel, kind):
    assert shared.subscribers(channel) == 0
    with subscribe(kind, shared, channel):
        eventually(lambda: shared.subscribers(channel) == 1)
        if kind != "longpoll":
            with subscribe(kind, shared, channel):
                eventually(lambda: shared.publish(channel, 1)["subscribers"] == 2)
            eventually(lambda: shared.subscribers(channel) == 1)
    eventually(lambda: shared.subscribers(channel) == 0)


def test_transports_are_counted(nodes, channel):
    node = nodes.make()
    with SSE(node, channel), SSEEnvelope(node, [channel, channel + "x"]), WS(node, channel), Lines(node, channel), LongPoll(node, channel) as p:
        p.send_poll()
        eventually(lambda: node.subscribers(channel) == 5)
        subscribers = node.status()["subscribers"]
        assert subscribers["connections"] == 5 and subscribers["subscriptions"] == 6
        assert subscribers["by_transport"] == {"sse": 2, "websocket": 1, "longpoll": 1, "stream": 1}
    eventually(lambda: node.status()["subscribers"]["connections"] == 0)
    assert node.status()["subscribers"]["subscriptions"] == 0
