"""Third-party clients publish, receive and resume."""

import asyncio
import json
import shutil
import subprocess
import threading

import httpx
import httpx_sse
import pytest
import requests
import sseclient
import websocket
import websockets.asyncio.client
import websockets.sync.client
from aiohttp_sse_client2 import client as aiohttp_sse

from harness.node import PATIENCE, eventually


def url(node, path, scheme="http"):
    return f"{scheme}://127.0.0.1:{node.listen}/{path}"


def later(node, channel, values, subscribers=1):
    """Publishes on another thread, when the subscriber is connected."""
    def run():
        eventually(lambda: node.subscribers(channel) >= subscribers)
        for value in values:
            node.publish(channel, value, type="t")
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


# MARK: curl

curl_needed = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


def curl(*arguments, input=None):
    return subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE), *arguments], input=input, capture_output=True)


def curl_until(text, *arguments):
    """Runs curl and returns its output up to this text. Fails if curl ends by itself. Then kills curl."""
    process = subprocess.Popen(["curl", "-sS", "-N", "--max-time", str(PATIENCE), *arguments], stdout=subprocess.PIPE)
    try:
        printed = b""
        while text not in printed:
            some = process.stdout.read1()
            assert some, f"curl ended with {process.wait()} after {printed}"
            printed += some
        assert process.poll() is None
        return printed.decode()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@curl_needed
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize("size", [1, 2000, 60_000])
def test_curl_posts(shared, channel, expect, size):
    body = b"x" * size
    done = curl("-w", "\n%{http_code}", "-H", expect, "--data-binary", "@-", f"http://127.0.0.1:{shared.api}/pub?id={channel}", input=body)
    response, status = done.stdout.rsplit(b"\n", 1)
    assert status == b"200", done
    assert json.loads(response)["channel"] == channel
    assert shared.history(channel)["publications"][0]["data"] == body.decode()


@curl_needed
def test_curl_waits_for_100_continue(shared, channel):
    """With a very long timeout, curl sends the body only after the response 100."""
    done = curl(
        "-v", "-H", "Expect: 100-continue", "--expect100-timeout", str(10 * PATIENCE), "--data-binary", "@-",
        f"http://127.0.0.1:{shared.api}/pub?id={channel}", input=b"x" * 5000)
    assert done.returncode == 0, done.stderr
    assert b"HTTP/1.1 100" in done.stderr, done.stderr
    assert shared.history(channel)["offset"] == 1


@curl_needed
def test_curl_posts_in_chunks(shared, channel):
    body = b"line\n" * 5000
    done = curl("-H", "Transfer-Encoding: chunked", "-T", "-", "-X", "POST", f"http://127.0.0.1:{shared.api}/pub?id={channel}", input=body)
    assert json.loads(done.stdout)["channel"] == channel, done
    assert shared.history(channel)["publications"][0]["data"] == body.decode()


@curl_needed
def test_curl_puts(shared, channel):
    done = curl("-T", "-", "-H", "Event-Type: note", f"http://127.0.0.1:{shared.api}/pub?id={channel}", input=b"1")
    assert json.loads(done.stdout)["channel"] == channel, done
    assert shared.history(channel)["publications"][0]["type"] == "note"


@curl_needed
def test_curl_too_large_with_expect_sends_no_body(shared, channel):
    done = curl(
        "-v", "-w", "\n%{http_code} %{size_upload}", "-H", "Expect: 100-continue", "--expect100-timeout", str(10 * PATIENCE), "--data-binary", "@-",
        f"http://127.0.0.1:{shared.api}/pub?id={channel}", input=b"x" * 3_000_000)
    status, uploaded = done.stdout.rsplit(b"\n", 1)[1].split()
    assert status == b"413", done.stderr
    assert int(uploaded) == 0, "curl sent the body before the response"


@curl_needed
def test_curl_receives_and_resumes(shared, channel):
    publisher = later(shared, channel, ["one", "two"])
    printed = curl_until(b"data: two\n\n", url(shared, f"ev/{channel}"))
    publisher.join()
    blocks = [b for b in printed.split("\n\n") if "data:" in b]
    assert [b.split("data: ")[1] for b in blocks] == ["one", "two"]
    first = next(line[4:] for line in blocks[0].split("\n") if line.startswith("id: "))
    printed = curl_until(b"data: two\n\n", "-H", f"Last-Event-ID: {first}", url(shared, f"ev/{channel}"))
    assert "data: one" not in printed


# MARK: SSE


def test_sseclient_with_requests(shared, channel):
    publisher = later(shared, channel, ["one", "two", "three"])
    with requests.get(url(shared, f"ev/{channel}"), stream=True, timeout=PATIENCE) as reply:
        events = iter(sseclient.SSEClient(reply).events())
        got = [e for e in (next(events), next(events)) if e.data]
        while len(got) < 2:
            got.append(next(events))
    publisher.join()
    assert [(e.event, e.data) for e in got] == [("t", "one"), ("t", "two")]
    with requests.get(url(shared, f"ev/{channel}"), stream=True, timeout=PATIENCE, headers={"Last-Event-ID": got[0].id}) as reply:
        events = (e for e in sseclient.SSEClient(reply).events() if e.data)
        assert [next(events).data, next(events).data] == ["two", "three"]


def test_httpx_sse(shared, channel):
    publisher = later(shared, channel, ["one\nmore", "two", "three"])

    def take(count, headers=None):
        with httpx.Client(timeout=PATIENCE) as client, httpx_sse.connect_sse(client, "GET", url(shared, f"ev/{channel}"), headers=headers or {}) as source:
            got = []
            for event in source.iter_sse():
                if event.data:
                    got.append(event)
                if len(got) == count:
                    return got

    got = take(2)
    publisher.join()
    assert [(e.event, e.data) for e in got] == [("t", "one\nmore"), ("t", "two")]
    assert [e.data for e in take(2, {"Last-Event-ID": got[0].id})] == ["two", "three"]


def test_aiohttp_sse_client(shared, channel):
    async def take(count, **options):
        got = []
        async with aiohttp_sse.EventSource(url(shared, f"ev/{channel}"), **options) as source:
            async for event in source:
                if event.data:
                    got.append(event)
                if len(got) == count:
                    return got

    publisher = later(shared, channel, ["one", "two", "three"])
    got = asyncio.run(asyncio.wait_for(take(2), PATIENCE))
    publisher.join()
    assert [(e.type, e.data) for e in got] == [("t", "one"), ("t", "two")]
    again = asyncio.run(asyncio.wait_for(take(2, headers={"Last-Event-ID": got[0].last_event_id}), PATIENCE))
    assert [e.data for e in again] == ["two", "three"]


# MARK: WebSocket


def test_websockets_sync(shared, channel):
    with websockets.sync.client.connect(url(shared, f"ws/{channel}", "ws"), open_timeout=PATIENCE) as socket:
        assert set(json.loads(socket.recv(PATIENCE))) == {"cursor"}
        for n in range(3):
            shared.publish(channel, n)
        got = [json.loads(socket.recv(PATIENCE)) for _ in range(3)]
        assert [e["data"] for e in got] == [0, 1, 2]
        assert socket.ping().wait(PATIENCE)
        socket.send("ignored")
        socket.close()
        assert socket.close_code == 1000
    with websockets.sync.client.connect(url(shared, f"ws/{channel}?since={got[0]['id']}", "ws"), open_timeout=PATIENCE) as socket:
        socket.recv(PATIENCE)
        assert [json.loads(socket.recv(PATIENCE))["data"] for _ in range(2)] == [1, 2]


def test_websockets_async(shared, channel):
    async def run():
        async with websockets.asyncio.client.connect(url(shared, f"ws/{channel}", "ws"), open_timeout=PATIENCE) as socket:
            await asyncio.wait_for(socket.recv(), PATIENCE)
            for n in range(3):
                shared.publish(channel, n)
            return [json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["data"] for _ in range(3)]

    assert asyncio.run(run()) == [0, 1, 2]


def test_websocket_client(shared, channel):
    socket = websocket.create_connection(url(shared, f"ws/{channel}", "ws"), timeout=PATIENCE)
    assert set(json.loads(socket.recv())) == {"cursor"}
    for n in range(3):
        shared.publish(channel, n)
    got = [json.loads(socket.recv()) for _ in range(3)]
    assert [e["data"] for e in got] == [0, 1, 2]
    socket.ping("x")
    socket.close()
    socket = websocket.create_connection(url(shared, f"ws/{channel}", "ws"), timeout=PATIENCE, header={"Last-Event-ID": got[1]["id"]})
    socket.recv()
    assert json.loads(socket.recv())["data"] == 2
    socket.close()
    eventually(lambda: shared.subscribers(channel) == 0)


def test_websocket_client_app(shared, channel):
    """The client runs its own event loop, and closes the connection itself."""
    got = []

    def on_message(app, text):
        object = json.loads(text)
        if "channel" in object:
            got.append(object["data"])
            if len(got) == 2:
                app.close()

    publisher = later(shared, channel, ["one", "two"])
    app = websocket.WebSocketApp(url(shared, f"ws/{channel}", "ws"), on_message=on_message)
    app.run_forever()
    publisher.join()
    assert got == ["one", "two"]


# MARK: long-poll and lines


def test_long_polls_of_the_requests_library(shared, channel):
    publisher = later(shared, channel, [1])
    with requests.Session() as session:
        reply = session.get(url(shared, f"lp/{channel}"), timeout=PATIENCE).json()
        publisher.join()
        assert [e["data"] for e in reply["events"]] == [1]
        shared.publish(channel, 2)
        reply = session.get(url(shared, f"lp/{channel}"), params={"since": reply["cursor"]}, timeout=PATIENCE).json()
        assert [e["data"] for e in reply["events"]] == [2]


def test_httpx_reads_lines(shared, channel):
    publisher = later(shared, channel, [1, 2])
    got = []
    with httpx.Client(timeout=PATIENCE) as client, client.stream("GET", url(shared, f"sub/{channel}")) as reply:
        for line in reply.iter_lines():
            if line:
                got.append(json.loads(line))
            if len(got) == 3:
                break
    publisher.join()
    assert "cursor" in got[0] and [e["data"] for e in got[1:]] == [1, 2]
