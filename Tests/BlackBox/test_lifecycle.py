"""Starting, stopping, and a data folder that fails."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from harness.history import position
from harness.node import HOST, PATIENCE, eventually
from harness.publisher import Publisher, pipelined
from harness.subscribers import SSE, WS, Lines, LongPoll
from harness.websocket import Closed
from harness.wire import Response, Wire


def ends(node, seconds=PATIENCE):
    """Waits until the node ends. Returns its exit code and its output."""
    code = node.process.wait(seconds)
    return code, node.tail()


def clear(text, *words):
    """Checks that an error message is for people: it names the problem, and the process did not crash."""
    for word in words:
        assert word.lower() in text.lower(), f"{word!r} is not in:\n{text}"
    for bad in ("Fatal error", "stack dump", "Backtrace", "Thread 0 crashed", "GRDB.", "Swift/"):
        assert bad not in text, text


# MARK: stopping


def test_sigterm_ends_streams_properly(nodes, channel):
    node = nodes.make()
    with SSE(node, channel) as sse, WS(node, channel) as ws, Lines(node, channel) as lines, LongPoll(node, channel) as poll:
        node.publish(channel, 1)
        for s in (sse, ws, lines):
            assert s.next().data in (1, "1")
        cursor = lines.cursor
        poll.send_poll()
        eventually(lambda: node.subscribers(channel) == 4)
        node.process.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            sse.next()
        assert sse.retries and all(r > 0 for r in sse.retries), "SSE got no reconnect time"
        with pytest.raises(Closed) as closed:
            ws.next()
        assert closed.value.code == 1012
        with pytest.raises(EOFError):
            lines.next()
        items, after = poll.poll()
        assert items == [] and after
        assert not sse.response.chunked or sse.response.ended, "a chunked response has no end"
    assert ends(node)[0] == 0
    node.start()
    node.publish(channel, 2)
    for old in (cursor, after):
        with Lines(node, channel, old) as s:
            assert s.next().data == 2


def test_nothing_runs_on_a_loop_that_has_shut_down(nodes):
    """The node stops at different moments of its work that is done every second. It runs on one processor, so that this work is late."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        node = nodes.make("--loops", "1")
        for pause in (0, 0.3, 0.6, 0.9, 1.2):
            time.sleep(pause)
            node.process.send_signal(signal.SIGTERM)
            code, output = ends(node)
            assert code == 0 and "shut down" not in output, output
            node.start()
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_stopping_node_sends_jittered_retry_delays(nodes, channel):
    """Connections close in slices, so that not all clients reconnect together."""
    node = nodes.make()
    with contextlib.ExitStack() as stack:
        all = [stack.enter_context(SSE(node, channel)) for _ in range(20)]
        node.process.send_signal(signal.SIGTERM)
        for s in all:
            with contextlib.suppress(EOFError):
                s.next()
        assert len({s.retries[-1] for s in all if s.retries}) >= 5
    assert ends(node)[0] == 0


def test_a_stop_does_not_wait_for_clients_that_stay(nodes, channel):
    """The node notifies its clients. It does not wait until they close their connections."""
    node = nodes.make("--shutdown-seconds-max", "3600")
    with SSE(node, channel), WS(node, channel), Lines(node, channel), LongPoll(node, channel) as poll:
        poll.send_poll()
        eventually(lambda: node.subscribers(channel) == 4)
        assert node.terminate() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_without_clients_exits_on_a_signal(nodes, number):
    node = nodes.make()
    node.process.send_signal(number)
    assert ends(node)[0] == 0


def test_sigterm_while_publishing_loses_nothing(nodes, channel):
    """A publish with a response is durable. A publish without a response may be repeated."""
    node = nodes.make()
    publishers = [Publisher(node, [f"{channel}:{n}"], seed=n, pause=0) for n in range(4)]
    for publisher in publishers:
        publisher.start()
    def goes_on():
        before = [p.count() for p in publishers]
        eventually(lambda: all(p.count() > n + 20 for p, n in zip(publishers, before)))
    goes_on()
    assert node.terminate() == 0
    node.start()
    goes_on()
    for publisher in publishers:
        name = publisher.channels[0]
        count = publisher.finish()[name]
        publications = node.history(name)["publications"]
        offsets = [position(p)[1] for p in publisher.acknowledged[name]]
        assert offsets == list(range(1, count + 1))
        assert [p["data"]["n"] for p in publications] == list(range(max(0, count - 1000) + 1, count + 1))


def test_sigterm_with_stalled_clients_keeps_the_deadline(nodes, channel):
    node = nodes.make("--shutdown-seconds-max", "2", "--history-events-max", "2000", "--stalled-seconds-max", "3600")
    with contextlib.ExitStack() as stack:
        for kind in (SSE, WS, Lines):
            stack.enter_context(kind(node, channel, receive_buffer=4096))
        stack.enter_context(Wire(node.listen)).send("GET /ev/a HTTP/1.1\r\n")
        stack.enter_context(Wire(node.api)).send("POST /pub?id=a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        pipelined(node, channel, [b"x" * 16_000] * 500)
        assert node.terminate() == 0


def test_a_second_sigterm_ends_immediately(nodes, channel):
    node = nodes.make("--shutdown-seconds-max", "3600", "--shutdown-slice-connections", "1", "--stalled-seconds-max", "3600")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(SSE(node, channel, receive_buffer=4096))
        pipelined(node, channel, [b"x" * 16_000] * 500)
        node.process.send_signal(signal.SIGTERM)
        # Two signals that arrive together count as one.
        eventually(lambda: "] stopping" in node.tail())
        node.process.send_signal(signal.SIGTERM)
        ends(node)


def test_a_stopping_node_reports_that_it_stops(nodes, channel):
    """A stopping node is not ready. New subscribers and publishes get 503, or their connection is refused. Running requests may finish."""
    node = nodes.make("--shutdown-seconds-max", "5", "--history-events-max", "2000")
    with SSE(node, channel, receive_buffer=4096), Wire(node.api) as api:
        assert Response(api.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")).all().strip() == b"ready"
        pipelined(node, channel, [b"x" * 16_000] * 500)
        node.process.send_signal(signal.SIGTERM)
        eventually(lambda: "] stopping" in node.tail())
        for target in ("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "POST /pub?id=a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"):
            try:
                with Wire(node.api) as wire:
                    response = Response(wire.send(target))
                    assert response.status == 503, (target, response.head)
            except (OSError, EOFError):
                pass
        assert ends(node)[0] == 0


# MARK: starting


def test_restart_keeps_positions_and_message_ids(nodes, channel):
    node = nodes.make()
    ids = [node.publish(channel, n, message_id=f"m{n}")["id"] for n in range(5)]
    typed = node.publish(channel, {"ü": 1}, type="note")["id"]
    before = node.history(channel)
    for stop in (node.kill, node.terminate):
        stop()
        node.start()
        assert node.history(channel) == before
        for n in (0, 4):
            again = node.publish(channel, "changed", message_id=f"m{n}")
            assert again["id"] == ids[n] and again["duplicate"] is True
    after = node.publish(channel, "next")["id"]
    assert position(after) == (position(typed)[0], position(typed)[1] + 1)


def test_offsets_and_epochs_of_many_channels_survive(nodes, channel):
    node = nodes.make()
    heads = {}
    for n in range(60):
        name = f"{channel}:{n % 20}"
        heads[name] = node.publish(name, n)["id"]
    node.restart()
    for name, head in heads.items():
        assert position(node.publish(name, "x")["id"]) == (position(head)[0], position(head)[1] + 1)


def test_a_folder_in_use(nodes):
    one = nodes.make()
    two = nodes.make(start=False)
    two.data = one.data
    two.start(ready=False)
    code, said = ends(two)
    assert code not in (0, None) and code > 0, f"the node ended with {code}"
    clear(said, str(one.data), "use")
    one.healthy()
    one.publish("a", 1)
    one.kill()
    two.start()
    assert two.history("a")["offset"] == 1


def test_a_port_in_use(nodes):
    one = nodes.make()
    two = nodes.make("--log", "memory", start=False)
    free = two.ports
    for ports in ((one.ports[0], free[1]), (free[0], one.ports[1])):
        two.ports = ports
        code, said = two.fails()
        assert code > 0
        clear(said, str(one.listen if ports[0] is one.ports[0] else one.api), "another process")
    two.ports = free
    one.healthy()


def test_a_data_path_that_is_a_file(nodes):
    node = nodes.make(start=False)
    node.folder.mkdir(parents=True)
    node.data.write_text("no folder")
    node.start(ready=False)
    code, said = ends(node)
    assert code > 0
    clear(said, str(node.data))
    assert node.data.read_text() == "no folder"


@pytest.mark.parametrize("damage", ["words", "zeros", "header", "page"])
def test_a_corrupt_file(nodes, channel, damage):
    """The node names the file and ends. It does not change the file, because an operator may need it."""
    node = nodes.make()
    for n in range(200):
        node.publish(channel, {"n": n, "x": "x" * 500})
    assert node.terminate() == 0
    files = sorted((f for f in node.data.rglob("*") if f.is_file() and f.read_bytes()[:15] == b"SQLite format 3"), key=lambda f: f.stat().st_size)
    assert files, list(node.data.rglob("*"))
    file = files[-1]
    original = file.read_bytes()
    broken = {
        "words": b"this is no database\n" * 1000,
        "zeros": b"\0" * len(original),
        "header": original[:18] + b"\xff" * 30 + original[48:],
        "page": original[:4096] + b"\xa5" * (len(original) - 8192) + original[-4096:],
    }[damage]
    file.write_bytes(broken)
    node.start(ready=False)
    code, said = ends(node)
    assert code > 0, f"the node ended with {code}:\n{said}"
    clear(said, file.name)
    # The first page may differ, because it has a change counter. The rest of the file must not change.
    assert file.read_bytes()[4096:len(broken)] == broken[4096:], "the node changed a file that it cannot read"


# MARK: a folder that fails

root_needed = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@contextlib.contextmanager
def mounted(folder, options):
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@root_needed
def test_a_read_only_folder(nodes):
    node = nodes.make(start=False)
    with mounted(node.data, "size=8m"):
        subprocess.run(["mount", "-o", "remount,ro", str(node.data)], check=True)
        node.start(ready=False)
        code, said = ends(node)
        assert code > 0
        clear(said, str(node.data))


@root_needed
def test_a_full_disk(nodes, channel):
    """Publishes get 503. Acknowledged events and subscribers stay. The node recovers by itself."""
    node = nodes.make(start=False)
    ballast = node.data / "ballast"
    # When the ballast is removed, there is space for the events twice: in the WAL, and in the database after the checkpoint.
    with mounted(node.data, "size=12m"):
        try:
            ballast.write_bytes(b"x" * 8_000_000)
            node.start()
            acknowledged = []
            with Lines(node, channel) as s:
                full = None
                for n in range(4000):
                    reply = node.post(f"/pub?id={channel}", json.dumps({"n": n, "x": os.urandom(4000).hex()}), {"Message-Id": f"m{n}"})
                    if reply.status != 200:
                        full = n, reply
                        break
                    acknowledged.append(n)
                assert full, "the disk never filled up"
                n, reply = full
                assert (reply.status, reply.error) == (503, "unavailable"), reply
                assert int(reply.headers["Retry-After"]) >= 0
                ready = node.get("/readyz")
                assert ready.status == 503 and ready.body
                status = node.status()
                assert status["health"] != "healthy" and status["reasons"] and status["log"]["error"]
                node.healthy()
                got = [s.next().data["n"] for _ in acknowledged]
                assert got == acknowledged
                s.none(0.3)
                ballast.unlink()

                def again():
                    return node.post(f"/pub?id={channel}", json.dumps({"n": n}), {"Message-Id": f"m{n}"}).status == 200
                eventually(again, every=0.2)
                acknowledged.append(n)
                assert s.next().data["n"] == n
                eventually(lambda: node.get("/readyz").status == 200)
                eventually(lambda: node.status()["health"] == "healthy")
            last = 1000 if len(acknowledged) > 1000 else len(acknowledged)
            assert [p["data"]["n"] for p in node.history(channel)["publications"]] == acknowledged[-last:]
            node.restart()
            assert [p["data"]["n"] for p in node.history(channel)["publications"]] == acknowledged[-last:]
        finally:
            if node.running:
                node.kill()


@root_needed
def test_a_disk_that_is_full_from_the_start(nodes):
    node = nodes.make(start=False)
    with mounted(node.data, "size=64k"):
        (node.data / "ballast").write_bytes(b"x" * 60_000)
        node.start(ready=False)
        try:
            deadline = time.monotonic() + 10
            while node.running and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    assert node.get("/readyz").status == 503
                time.sleep(0.1)
            if not node.running:
                code, said = ends(node)
                assert code > 0
                clear(said, str(node.data))
        finally:
            if node.running:
                node.kill()


# MARK: tokens and origins


TOKEN = "s3cret-token"


@pytest.fixture(scope="module")
def guarded(module_nodes):
    return module_nodes.make("--cors-origins", "https://site.example", env={"REALERTIME_API_TOKEN": TOKEN})


@pytest.fixture(scope="module")
def unguarded(module_nodes):
    return module_nodes.make("--cors-origins", "https://site.example")


PROTECTED = [
    ("POST", "/pub?id=a"), ("PUT", "/pub?id=a"), ("POST", "/api/publish"), ("POST", "/api/broadcast"), ("POST", "/api/batch"), ("POST", "/api/history"),
    ("POST", "/api/channels"), ("POST", "/api/presence_stats"), ("GET", "/api/status"), ("GET", "/metrics"),
]


def ask(node, method, target, headers):
    body = {
        "/pub?id=a": "1", "/api/publish": '{"channel":"a","data":1}', "/api/broadcast": '{"channels":["a"],"data":1}', "/api/batch": '{"commands":[]}',
        "/api/history": '{"channel":"a"}', "/api/channels": "{}", "/api/presence_stats": '{"channel":"a"}',
    }.get(target.split("&")[0].removesuffix(f"?token={TOKEN}"))
    return node.request(method, target, body, headers)


@pytest.mark.parametrize("method,target", PROTECTED)
def test_a_token_is_needed(guarded, method, target):
    for headers in (
        {}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic " + TOKEN},
        {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"X-API-Key": ""}, {"X-API-Key": TOKEN.upper()}, {"Cookie": f"token={TOKEN}"},
    ):
        reply = ask(guarded, method, target, headers)
        assert (reply.status, reply.error) == (401, "unauthorized"), (headers, reply)
    reply = ask(guarded, method, target + ("&" if "?" in target else "?") + f"token={TOKEN}", {})
    assert reply.status == 401
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"authorization": f"bearer {TOKEN}"}, {"X-API-Key": TOKEN}):
        reply = ask(guarded, method, target, headers)
        assert reply.status == 200, (headers, reply)


@pytest.mark.parametrize("target", ["/", "/healthz", "/readyz"])
def test_these_paths_need_no_token(guarded, target):
    assert guarded.get(target).status == 200


def test_subscribers_need_no_token(guarded):
    with SSE(guarded, "open") as s:
        reply = guarded.post("/pub?id=open", b"1", {"X-API-Key": TOKEN})
        assert reply.status == 200
        assert s.next().data == "1"


def test_the_token_appears_nowhere(guarded):
    assert TOKEN not in guarded.tail(100_000)
    headers = {"X-API-Key": TOKEN}
    for target in ("/api/status", "/metrics", "/"):
        assert TOKEN.encode() not in guarded.get(target, headers).body


def test_a_public_api_port_needs_a_token(nodes):
    node = nodes.make(start=False)
    node.api_host = "0.0.0.0"
    code, said = node.fails()
    assert code > 0
    clear(said, "token")


@pytest.mark.parametrize("method,target", PROTECTED)
def test_a_page_of_another_origin_cannot_publish(unguarded, method, target):
    own = f"http://127.0.0.1:{unguarded.api}"
    for origin in (
        "https://evil.example", "null", f"http://127.0.0.1:{unguarded.listen}", f"https://127.0.0.1:{unguarded.api}", own + ".evil.example",
        "http://127.0.0.1", "https://site.example.evil", "file://",
    ):
        for extra in ({}, {"Content-Type": "text/plain"}):
            reply = ask(unguarded, method, target, {"Origin": origin, **extra})
            assert (reply.status, reply.error) == (403, "forbidden_origin"), (origin, reply)
    for origin in (own, "https://site.example"):
        assert ask(unguarded, method, target, {"Origin": origin}).status == 200, origin


def test_another_host_name_is_not_the_nodes_own(unguarded):
    """DNS rebinding: evil.example resolves to this node's address. Host and Origin of its page match, but neither is the node's name."""
    name = f"evil.example:{unguarded.api}"
    reply = unguarded.post("/pub?id=rebound", b"1", {"Host": name, "Origin": f"http://{name}"})
    assert reply.status == 403, reply
    assert unguarded.history("rebound")["offset"] == 0


def test_a_preflight_of_another_origin_is_refused(unguarded):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "message-id"}
    reply = unguarded.request("OPTIONS", "/pub?id=a", None, headers)
    assert reply.headers["Access-Control-Allow-Origin"] is None
    headers["Origin"] = "https://site.example"
    reply = unguarded.request("OPTIONS", "/pub?id=a", None, headers)
    assert reply.status in (200, 204) and reply.headers["Access-Control-Allow-Origin"] == "https://site.example"
    assert "message-id" in reply.headers["Access-Control-Allow-Headers"].lower()


# MARK: what operators see


def test_metrics(nodes, channel):
    node = nodes.make()
    with SSE(node, channel):
        node.publish(channel, 1)
        reply = node.get("/metrics")
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("text/plain")
    import re
    names = set()
    for line in reply.body.decode().splitlines():
        if line.startswith("#") or not line:
            continue
        match = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? ([-+0-9.eE]+|NaN|[+-]Inf)', line)
        assert match, line
        names.add(match[1])
    assert any("published" in name for name in names) and any("deliver" in name for name in names), names


def test_status(nodes, channel):
    node = nodes.make("--id", "n1")
    with SSE(node, channel) as s:
        node.publish(channel, 1, message_id="m")
        node.publish(channel, 1, message_id="m")
        s.next()
        status = eventually(lambda: (lambda x: x if x["totals"]["delivered"] else None)(node.status()))
    assert status["node"]["id"] == "n1" and status["node"]["pid"] == node.pid and status["node"]["state"] == "ready"
    assert (status["listen"], status["api"]) == (f"{HOST}:{node.listen}", f"{HOST}:{node.api}")
    assert status["log"]["kind"] == "sqlite" and status["log"]["path"] == str(node.data) and status["log"]["error"] is None
    assert status["log"]["events"] == 1 and status["log"]["channels"] == 1
    assert status["totals"]["published"] == 1 and status["totals"]["duplicates"] == 1 and status["totals"]["delivered"] == 1
    assert status["health"] == "healthy" and status["reasons"] == []
    assert status["subscribers"]["connections"] == 1 and status["subscribers"]["by_transport"]["sse"] == 1


def test_publishing_by_json(nodes, channel):
    node = nodes.make()
    with Lines(node, [channel, channel + "b"]) as s:
        reply = node.post("/api/publish", {"channel": channel, "data": {"a": [1, 2.50]}, "type": "t", "idempotency_key": "k"}).json
        assert set(reply["result"]) == {"epoch", "offset", "cursor"} and reply["result"]["offset"] == 1
        again = node.post("/api/publish", {"channel": channel, "data": "other", "idempotency_key": "k"}).json
        assert again["result"] == {**reply["result"], "duplicate": True}
        item = s.next()
        assert (item.data, item.type) == ({"a": [1, 2.5]}, "t")
        reply = node.post("/api/broadcast", {"channels": [channel + "b", channel], "data": None}).json
        assert [r["result"]["offset"] for r in reply["result"]["responses"]] == [1, 2]
        assert sorted(item.channel for item in s.take(2)) == [channel, channel + "b"]
        reply = node.post("/api/batch", {"commands": [
            {"publish": {"channel": channel, "data": 1}}, {"broadcast": {"channels": [channel, channel + "b"], "data": 2}}]}).json
        assert reply["replies"][0]["publish"]["offset"] == 3
        assert [r["result"]["offset"] for r in reply["replies"][1]["broadcast"]["responses"]] == [4, 2]
        assert [i.data for i in s.take(3) if i.channel == channel] == [1, 2]


def test_history(nodes, channel):
    node = nodes.make("--history-events-max", "10")
    assert node.history(channel)["publications"] == [] and node.history(channel)["offset"] == 0
    ids = [node.publish(channel, n, type="t" if n % 2 else None)["id"] for n in range(15)]
    head = node.history(channel, limit=0)
    assert head["publications"] == [] and head["offset"] == 15 and head["epoch"] == position(ids[-1])[0]
    newest = node.history(channel, limit=3)["publications"]
    assert [(p["id"], p["data"], p["offset"], p.get("type")) for p in newest] == [
        (ids[12], 12, 13, None), (ids[13], 13, 14, "t"), (ids[14], 14, 15, None)]
    assert [p["data"] for p in node.history(channel, limit=3, reverse=True)["publications"]] == [14, 13, 12]
    after = node.history(channel, limit=2, since=ids[9])
    assert [p["data"] for p in after["publications"]] == [10, 11] and "gap" not in after
    gone = node.history(channel, since=ids[1])
    assert gone["gap"] == {"from": ids[2], "to": ids[4], "reason": "expired"}
    assert [p["data"] for p in gone["publications"]] == list(range(5, 15))
    assert node.history(channel, since=ids[14])["publications"] == []


def test_channels(nodes, channel):
    node = nodes.make()
    names = sorted(f"{channel}:{n}" for n in range(7))
    for name in names:
        node.publish(name, 1)
    with SSE(node, [names[0], channel + "z"]):
        def page(**options):
            return node.post("/api/channels", options).json["result"]
        everything = page(prefix=channel)
        assert list(everything["channels"]) == names + [channel + "z"] and "next" not in everything
        assert everything["channels"][names[0]]["subscribers"] == 1 and everything["channels"][names[0]]["offset"] == 1
        assert everything["channels"][channel + "z"]["subscribers"] == 1
        assert page(prefix="none")["channels"] == {}
        seen, after = [], None
        while True:
            one = page(prefix=channel + ":", limit=3, **({"after": after} if after else {}))
            seen += one["channels"]
            if "next" not in one:
                break
            after = one["next"]
        assert seen == names


def test_concurrent_publishes_get_consecutive_positions(nodes, channel):
    """Eight clients publish to one channel. Every position occurs once, and no position is missing."""
    node = nodes.make()
    positions = []

    def run(index):
        for n in range(40):
            positions.append(node.publish(channel, [index, n])["id"])
    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    with Lines(node, channel) as s:
        for thread in threads:
            thread.start()
        items = s.take(320)
        for thread in threads:
            thread.join()
    assert sorted(position(p)[1] for p in positions) == list(range(1, 321))
    for index in range(8):
        assert [i.data[1] for i in items if i.data[0] == index] == list(range(40))
    assert [p["data"] for p in node.history(channel)["publications"]] == [i.data for i in items]


def test_one_message_id_at_the_same_time(nodes, channel):
    """Many clients send the same publish in parallel. The result is one event with one position."""
    node = nodes.make()
    responses = []
    threads = [threading.Thread(target=lambda: responses.append(node.publish(channel, "x", message_id="same"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(responses) == 16 and len({a["id"] for a in responses}) == 1
    assert sum(1 for a in responses if "duplicate" not in a) == 1
    assert node.history(channel)["offset"] == 1


def test_a_message_id_belongs_to_one_channel(nodes, channel):
    node = nodes.make()
    assert "duplicate" not in node.publish(channel + "a", 1, message_id="m")
    assert "duplicate" not in node.publish(channel + "b", 1, message_id="m")
    both = node.publish([channel + "b", channel + "c"], 1, message_id="m")
    assert [a.get("duplicate", False) for a in both] == [True, False]


def test_a_node_killed_at_any_moment_starts_again(nodes, channel, seed):
    """The node is killed repeatedly while publishes are in flight. After each start all acknowledged events are there."""
    import random
    chance = random.Random(seed)
    node = nodes.make("--history-events-max", "100000")
    publisher = Publisher(node, [channel], pause=0, seed=seed)
    publisher.start()
    for _ in range(5):
        time.sleep(chance.uniform(0.1, 0.5))
        node.kill()
        done = len(publisher.acknowledged[channel])
        node.start()
        assert node.history(channel, limit=0)["offset"] >= done, f"seed {seed}"
        eventually(lambda: publisher.count() > done)
    count = publisher.finish()[channel]
    assert [p["data"]["n"] for p in node.everything(channel)] == list(range(1, count + 1)), f"seed {seed}"
