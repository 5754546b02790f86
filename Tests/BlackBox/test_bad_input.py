"""After any invalid input of a client, the response is the documented error, nothing is published, and the node continues to work."""

import json
import time

import pytest

from harness.node import PATIENCE, eventually
from harness.subscribers import Lines, LongPoll, SSE, SSEEnvelope
from harness.wire import Response, Wire

HEADER_BYTES_MAX = 16 * 1024
# The timeout is long, because a busy machine may need minutes to send and read a request.
FLAGS = ["--handshake-seconds-max", "300"]


@pytest.fixture(scope="module")
def hasty(module_nodes):
    """A node with short request timeouts."""
    return module_nodes.make("--handshake-seconds-max", "2")


@pytest.fixture(autouse=True)
def unharmed(request):
    """Checks after each case that both ports respond, and that only acknowledged events were published."""
    node = request.getfixturevalue("shared")
    before = node.status()["totals"]["published"]
    yield
    node.healthy()
    wanted = getattr(request.node, "published", 0)
    assert node.status()["totals"]["published"] == before + wanted, "the number of published events is wrong"


def refused(node, port, data, status, code, *, closes=None):
    """Checks that there is exactly one response, with this error. With `closes` it also checks that the connection ends after the response."""
    with Wire(port) as wire:
        wire.try_send(data)
        response = Response(wire)
        body = response.all()
        assert response.status == status, (response.head, body[:300])
        error = json.loads(body)["error"]
        assert error["code"] == code and error["message"], error
        assert response.head["content-type"].split(";")[0].strip() == "application/json"
        if closes:
            assert (response.head["connection"] or "").lower() == "close", response.head
            rest = wire.rest()
            assert rest == b"", f"more than one response: {rest[:200]}"
        return response


SNEAKED = b"POST /pub?id=sneaked HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
PUB = b"POST /pub?id=refused HTTP/1.1\r\nHost: x\r\n"


# MARK: framing: a request of unclear length is refused, and the connection is closed

FRAMING = {
    "both lengths": PUB + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, other order": PUB + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two different lengths": PUB + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "two equal lengths": PUB + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "a list of lengths": PUB + b"Content-Length: 1, 1\r\n\r\nx",
    "a list of different lengths": PUB + b"Content-Length: 1, 2\r\n\r\nx",
    "negative length": PUB + b"Content-Length: -1\r\n\r\nx",
    "signed length": PUB + b"Content-Length: +1\r\n\r\nx",
    "hexadecimal length": PUB + b"Content-Length: 0x1\r\n\r\nx",
    "fractional length": PUB + b"Content-Length: 1.0\r\n\r\nx",
    "length with a space inside": PUB + b"Content-Length: 1 0\r\n\r\nx",
    "empty length": PUB + b"Content-Length:\r\n\r\nx",
    "length beyond 64 bits": PUB + b"Content-Length: 18446744073709551617\r\n\r\nx",
    "length of words": PUB + b"Content-Length: one\r\n\r\nx",
    "length of other digits": PUB + "Content-Length: ١\r\n\r\nx".encode(),
    "chunked twice": PUB + b"Transfer-Encoding: chunked, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunked in two headers": PUB + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /pub?id=refused HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "empty transfer coding": PUB + b"Transfer-Encoding:\r\n\r\nx",
    "space before the colon": PUB + b"Content-Length : 1\r\n\r\nx",
    "space before the colon of a coding": PUB + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "tab before the colon": PUB + b"Content-Length\t: 1\r\n\r\nx",
    "folded header": PUB + b"X-A: 1\r\n 2\r\nContent-Length: 1\r\n\r\nx",
    "folded header with a tab": PUB + b"X-A: 1\r\n\t2\r\nContent-Length: 1\r\n\r\nx",
    "folded first header": b"POST /pub?id=refused HTTP/1.1\r\n Host: x\r\nContent-Length: 1\r\n\r\nx",
    "bare LF after the request line": b"POST /pub?id=refused HTTP/1.1\nHost: x\r\nContent-Length: 1\r\n\r\nx",
    "bare LF after a header": b"POST /pub?id=refused HTTP/1.1\r\nHost: x\nContent-Length: 1\r\n\r\nx",
    "bare LF everywhere": b"POST /pub?id=refused HTTP/1.1\nHost: x\nContent-Length: 1\n\nx",
    "bare LF at the end of the head": PUB + b"Content-Length: 1\r\n\nx",
    "bare CR in a value": PUB + b"X-A: 1\r2\r\nContent-Length: 1\r\n\r\nx",
    "bare CR in the request line": b"POST /pub?id=refused\rx HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
    "CR CR LF": PUB + b"X-A: 1\r\r\nContent-Length: 1\r\n\r\nx",
    "NUL in a value": PUB + b"X-A: 1\x002\r\nContent-Length: 1\r\n\r\nx",
    "NUL in a name": PUB + b"X\x00A: 1\r\nContent-Length: 1\r\n\r\nx",
    "control character in a value": PUB + b"X-A: 1\x012\r\nContent-Length: 1\r\n\r\nx",
    "DEL in a value": PUB + b"X-A: 1\x7f2\r\nContent-Length: 1\r\n\r\nx",
    "no colon": PUB + b"X-A\r\nContent-Length: 1\r\n\r\nx",
    "no name": PUB + b": 1\r\nContent-Length: 1\r\n\r\nx",
    "space in a name": PUB + b"X A: 1\r\nContent-Length: 1\r\n\r\nx",
    "bytes beyond ASCII in a name": PUB + "X-Ä: 1\r\nContent-Length: 1\r\n\r\nx".encode(),
    "brackets in a name": PUB + b"X(A): 1\r\nContent-Length: 1\r\n\r\nx",
    "two hosts": b"POST /pub?id=refused HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 1\r\n\r\nx",
    "no host": b"POST /pub?id=refused HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    "chunk size of words": PUB + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
    "chunk size with 0x": PUB + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    "negative chunk size": PUB + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    "signed chunk size": PUB + b"Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
    "empty chunk size": PUB + b"Transfer-Encoding: chunked\r\n\r\n\r\nx\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": PUB + b"Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n0\r\n\r\n",
    "space before the chunk size": PUB + b"Transfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n0\r\n\r\n",
    "bare LF after the chunk size": PUB + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    "bare LF in a chunk extension": PUB + b"Transfer-Encoding: chunked\r\n\r\n1;a\nx\r\n0\r\n\r\n",
    "no CRLF after the chunk": PUB + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx0\r\n\r\n",
    "bare LF after the chunk": PUB + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
    "folded trailer": PUB + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n X: 1\r\n\r\n",
    "space in a trailer's name": PUB + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX : 1\r\n\r\n",
}


@pytest.mark.parametrize("case", FRAMING)
def test_framing_on_the_api_port(shared, case):
    refused(shared, shared.api, FRAMING[case] + SNEAKED, 400, "bad_request", closes=True)


@pytest.mark.parametrize("case", FRAMING)
def test_framing_on_the_subscriber_port(shared, case):
    """Sends the same requests as GET. This port needs no body, but it must not misread a body."""
    data = FRAMING[case].replace(b"POST /pub?id=refused", b"GET /lp/refused")
    with Wire(shared.listen) as wire:
        wire.try_send(data + SNEAKED)
        response = Response(wire)
        body = response.all()
        assert (response.status, json.loads(body)["error"]["code"]) == (400, "bad_request"), (response.head, body[:200])
        assert wire.rest() == b"", "more than one response"


CODINGS = {
    "gzip": b"gzip", "gzip, chunked": b"gzip, chunked", "identity": b"identity", "xchunked": b"xchunked", "chunked-": b"chunked-",
}


@pytest.mark.parametrize("coding", CODINGS)
def test_other_transfer_codings(shared, coding):
    data = PUB + b"Transfer-Encoding: " + CODINGS[coding] + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    refused(shared, shared.api, data + SNEAKED, 501, "not_implemented", closes=True)


def test_chunked_identity(shared):
    """The coding chunked must be the last one (RFC 9112 §6.3). Otherwise the response is 400 or 501, and the connection is closed."""
    with Wire(shared.api) as wire:
        wire.try_send(PUB + b"Transfer-Encoding: chunked, identity\r\n\r\n1\r\nx\r\n0\r\n\r\n" + SNEAKED)
        response = Response(wire)
        response.all()
        assert response.status in (400, 501), response.head
        assert wire.rest() == b""


def test_legal_framing_is_accepted(shared, request, channel):
    """Checks that valid requests are accepted, so that the refusals above prove something."""
    name = channel.encode()
    head = b"POST /pub?id=" + name + b" HTTP/1.1\r\nHost: x\r\n"
    legal = [
        head + b"Content-Length: 1\r\n\r\nx",
        head + b"content-length:1\r\n\r\nx",
        head + b"Content-Length: \t 1 \t\r\n\r\nx",
        head + b"Content-Length: 0001\r\n\r\nx",
        head + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        head + b"Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n0001\r\nx\r\n000\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n1;name=value\r\nx\r\n0\r\n\r\n",
        head + b'Transfer-Encoding: chunked\r\n\r\n1;a="b"\r\nx\r\n0;c\r\n\r\n',
        head + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: 1\r\n\r\n",
        head + b"X-Empty:\r\nContent-Length: 1\r\n\r\nx",
        head + "X-Text: ü\r\nContent-Length: 1\r\n\r\nx".encode(),
        head + b"X-!#$%&'*+-.^_`|~: 1\r\nContent-Length: 1\r\n\r\nx",
        b"\r\n" + head + b"Content-Length: 1\r\n\r\nx",
        b"POST http://127.0.0.1/pub?id=" + name + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        b"PUT /pub?id=" + name + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        b"POST /pub?id=" + name + b" HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
    ]
    for data in legal:
        with Wire(shared.api) as wire:
            response = Response(wire.send(data))
            body = response.all()
            assert response.status == 200, (data, response.head, body)
        request.node.published = getattr(request.node, "published", 0) + 1


def test_framing_byte_by_byte(shared, request, channel):
    request.node.published = 1
    with Wire(shared.api) as wire:
        for byte in f"POST /pub?id={channel} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode():
            wire.send(bytes([byte]))
        response = Response(wire)
        assert response.status == 200, response.all()
    assert shared.history(channel)["publications"][0]["data"] == "abcde"


def test_a_body_cut_short_publishes_nothing(shared):
    for data in (PUB + b"Content-Length: 10\r\n\r\nhalf", PUB + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhalf", PUB + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
        for end in ("close", "reset"):
            wire = Wire(shared.api)
            wire.send(data)
            getattr(wire, end)()
    time.sleep(0.1)


# MARK: the request line

LINES = {
    "one word": (b"GET\r\n\r\n", 400, "bad_request"),
    "no version": (b"GET /healthz\r\n\r\n", 400, "bad_request"),
    "four words": (b"GET /healthz HTTP/1.1 x\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "two spaces": (b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "a tab": (b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "space at the beginning": (b" GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "no slash": (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "bytes beyond ASCII": ("GET /healthz?ü HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 400, "bad_request"),
    "control character": (b"GET /health\x01z HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "a method with other characters": (b"GE(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "lower case version": (b"GET /healthz http/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "another protocol": (b"GET /healthz FTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "HTTP/2.0": (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505, "bad_version"),
    "HTTP/1.2": (b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n", 505, "bad_version"),
    "HTTP/0.9": (b"GET /healthz HTTP/0.9\r\nHost: x\r\n\r\n", 505, "bad_version"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_version"),
    "HTTP/1.10": (b"GET /healthz HTTP/1.10\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "HTTP/11": (b"GET /healthz HTTP/11\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 64 + b"\r\n\r\n", 400, "bad_request"),
    "an unknown method": (b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
    "a lower case method": (b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
}


@pytest.mark.parametrize("port", ["listen", "api"])
@pytest.mark.parametrize("case", LINES)
def test_request_line(shared, case, port):
    data, status, code = LINES[case]
    refused(shared, getattr(shared, port), data, status, code)


def test_a_request_line_without_an_end(hasty):
    """A request line that never ends is refused, at the latest after the timeout."""
    for port in (hasty.listen, hasty.api):
        with Wire(port) as wire:
            wire.try_send(b"\x00" * 2000)
            assert wire.ended()
    hasty.healthy()


@pytest.mark.parametrize("port", ["listen", "api"])
def test_request_line_too_long(shared, port):
    port = getattr(shared, port)
    refused(shared, port, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long", closes=True)
    refused(shared, port, b"GET /healthz?" + b"a" * 100_000, 414, "uri_too_long", closes=True)
    assert shared.get("/healthz?" + "a" * 7000, port=port).status == 200


@pytest.mark.parametrize("port", ["listen", "api"])
def test_header_flood(shared, port):
    port = getattr(shared, port)
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    one = b"X-Long: " + b"a" * (HEADER_BYTES_MAX + 100) + b"\r\n\r\n"
    refused(shared, port, start + one, 431, "headers_too_large", closes=True)
    refused(shared, port, start + b"X" * (HEADER_BYTES_MAX + 100), 431, "headers_too_large", closes=True)
    refused(shared, port, start + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 500) for n in range(60)) + b"\r\n", 431, "headers_too_large", closes=True)
    refused(shared, port, start + b"".join(b"X-%d: 1\r\n" % n for n in range(100)) + b"\r\n", 431, "headers_too_large", closes=True)
    refused(shared, port, start + b"X: 1\r\n" * 50_000, 431, "headers_too_large", closes=True)
    many = {f"X-{n}": "1" for n in range(90)}
    assert shared.get("/healthz", many, port=port).status == 200
    assert shared.get("/healthz", {"X-Long": "a" * (HEADER_BYTES_MAX - 500)}, port=port).status == 200


def test_trailer_flood(shared):
    """Trailers are headers too: they have the same limits."""
    data = PUB + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"X: 1\r\n" * 50_000 + b"\r\n"
    refused(shared, shared.api, data, 431, "headers_too_large", closes=True)


def test_chunk_extension_flood(shared):
    """The extensions of a chunk have a size limit."""
    data = PUB + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 200_000
    with Wire(shared.api) as wire:
        wire.try_send(data)
        response = Response(wire)
        assert response.status in (400, 413, 431), response.head


# MARK: paths

PATHS = {
    "/": (404, "not_found"),
    "/nothing": (404, "not_found"),
    "/ev": (404, "not_found"),
    "/EV/a": (404, "not_found"),
    "/pub?id=a": (404, "not_found"),
    "/api/status": (404, "not_found"),
    "/metrics": (404, "not_found"),
    "/../ev/a": (404, "not_found"),
    "/%65v/a": (404, "not_found"),
    "//ev/a": (404, "not_found"),
    "/ev/": (400, "bad_channel"),
    "/ev//a": (400, "bad_channel"),
    "/ev/a/": (400, "bad_channel"),
    "/ev/a//b": (400, "bad_channel"),
    "/ev/a%00": (400, "bad_channel"),
    "/ev/a%0d%0ab": (400, "bad_channel"),
    "/ev/a%20b": (400, "bad_channel"),
    "/ev/%c3%bc": (400, "bad_channel"),
    "/ev/%ff": (400, "bad_channel"),
    "/ev/a%zz": (400, "bad_channel"),
    "/ev/a%2": (400, "bad_channel"),
    "/ev/a*": (400, "bad_channel"),
    "/ev/a,b": (400, "bad_channel"),
    "/ev/a;b": (400, "bad_channel"),
    "/ev/a/a": (400, "bad_channel"),
    "/ev/a.b3/a": (400, "bad_channel"),
    "/ev/a.b1/a.b2": (400, "bad_channel"),
    "/ev/.b3": (400, "bad_channel"),
    "/ev/a.b1.b2": (400, "bad_channel"),
    "/ev/a.b99999999999999999999": (400, "bad_channel"),
    "/ev/" + "a" * 201: (400, "bad_channel"),
    "/ev/" + "/".join(f"c{n}" for n in range(33)): (400, "bad_channel"),
    "/ev/" + "/".join(f"c{n}" for n in range(1000)): (400, "bad_channel"),
}


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p[:40])
def test_paths(shared, path):
    status, code = PATHS[path]
    refused(shared, shared.listen, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n", status, code)


@pytest.mark.parametrize("path", ["/ev/a%2Fb", "/ev/%2e%2e/api", "/ev/../healthz", "/ev/%2e%2e%2fhealthz"])
def test_dots_in_a_path_never_name_a_parent_folder(shared, path):
    """`..` is the name of a channel or an error, but never a parent folder. `%2F` is a slash or an error."""
    with Wire(shared.listen) as wire:
        response = Response(wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
        if response.status == 200:
            assert response.head["content-type"].startswith("text/event-stream"), response.head
        else:
            assert response.status in (400, 404), response.head


@pytest.mark.parametrize("prefix", ["ev", "ws", "lp", "sub"])
def test_the_limits_themselves_are_allowed(shared, prefix):
    """A request exactly at a limit is accepted."""
    names = ["c" * 195 + f":{n}" for n in range(3)] + [f"c{n}" for n in range(29)]
    for channels in (["a" * 200], names, ["A-Za.z0_9:-"], ["..", "."], ["a.b", "b.bx", "b3"]):
        extra = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
        headers = extra if prefix == "ws" else {}
        with Wire(shared.listen) as wire:
            head = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
            wire.send(f"GET /{prefix}/{'/'.join(channels)} HTTP/1.1\r\nHost: x\r\n{head}\r\n")
            if prefix != "lp":
                assert Response(wire).status == (101 if prefix == "ws" else 200)
            else:
                eventually(lambda: shared.subscribers(channels[0]) == 1)


def test_absolute_form(shared):
    for port in (shared.listen, shared.api):
        with Wire(port) as wire:
            response = Response(wire.send("GET http://127.0.0.1:1/healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
            assert (response.status, response.all().strip()) == (200, b"ok")


ALLOWED = {
    "listen": {"/ev/a": "GET", "/ws/a": "GET", "/lp/a": "GET", "/sub/a": "GET", "/healthz": "GET"},
    "api": {
        "/pub?id=a": "POST", "/api/publish": "POST", "/api/broadcast": "POST", "/api/batch": "POST", "/api/history": "POST",
        "/api/channels": "POST", "/api/presence_stats": "POST", "/api/status": "GET", "/healthz": "GET", "/readyz": "GET", "/metrics": "GET", "/": "GET",
        "/api/cluster": "GET", "/api/members": "GET", "/api/partitions": "GET", "/api/locate": "GET", "/api/plan": "GET", "/api/events": "GET",
        "/api/rebalance": "POST", "/api/rebalance/pause": "POST", "/api/rebalance/resume": "POST", "/api/drain": "POST", "/api/undrain": "POST",
        "/api/cordon": "POST", "/api/uncordon": "POST", "/api/move": "POST", "/api/unpin": "POST", "/api/forget": "POST",
    },
}


@pytest.mark.parametrize("port,path", [(port, path) for port in ALLOWED for path in ALLOWED[port]])
def test_a_wrong_method_gets_405_and_the_allowed_methods(shared, port, path):
    right = ALLOWED[port][path]
    for method in ("DELETE", "PATCH", "TRACE", "GET" if right == "POST" else "POST"):
        response = refused(shared, getattr(shared, port), f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, "method_not_allowed")
        allow = [name.strip() for name in response.head["allow"].split(",")]
        assert right in allow and method not in allow, allow
        if path.startswith("/pub"):
            assert "PUT" in allow


@pytest.mark.parametrize("port", ["listen", "api"])
def test_connect(shared, port):
    with Wire(getattr(shared, port)) as wire:
        response = Response(wire.send("CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"))
        assert 400 <= response.status < 500, response.head


@pytest.mark.parametrize("port", ["listen", "api"])
def test_head(shared, port):
    """The response to HEAD has no body, with any status. The connection stays open after the response."""
    with Wire(getattr(shared, port)) as wire:
        wire.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        head = Response(wire, method="HEAD")
        assert head.status in (200, 405), head.head
        get = Response(wire)
        assert (get.status, get.all().strip()) == (200, b"ok")


@pytest.mark.parametrize("prefix", ["ev", "lp", "sub", "ws"])
def test_a_head_request_leaves_no_stream_open(shared, prefix):
    """A HEAD request must not leave a stream open, because no client reads the stream."""
    with Wire(shared.listen) as wire:
        wire.send(f"HEAD /{prefix}/a HTTP/1.1\r\nHost: x\r\n\r\n")
        response = Response(wire, method="HEAD")
        assert response.status in (200, 405, 426), response.head
    eventually(lambda: shared.status()["subscribers"]["by_transport"]["sse"] == 0)


def test_http10(shared):
    for port in (shared.listen, shared.api):
        with Wire(port) as wire:
            wire.send("GET /healthz HTTP/1.0\r\n\r\n")
            response = Response(wire)
            assert not response.chunked and (response.status, response.all().strip()) == (200, b"ok")
            assert wire.ended(), "the node did not close a connection of HTTP/1.0 without keep-alive"


@pytest.mark.parametrize("port", ["listen", "api"])
def test_http10_keep_alive_is_confirmed(shared, port):
    with Wire(getattr(shared, port)) as wire:
        for _ in range(2):
            response = Response(wire.send("GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"))
            assert (response.status, response.all().strip()) == (200, b"ok")
            assert response.head["connection"].lower() == "keep-alive"


@pytest.mark.parametrize("port", ["listen", "api"])
@pytest.mark.parametrize("target", ["foo?u=http://x/healthz", "ftp://x/healthz", "://x/healthz", "http:///healthz", "healthz"])
def test_targets_that_are_neither_a_path_nor_a_url(shared, port, target):
    refused(shared, getattr(shared, port), f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request", closes=True)


def test_a_coding_that_only_looks_like_chunked(shared):
    """Some parsers treat the Kelvin sign as a k, others do not. The node refuses such a coding."""
    refused(
        shared, shared.api, PUB + "Transfer-Encoding: chun\u212aed\r\n\r\n1\r\nx\r\n0\r\n\r\n".encode(), 501, "not_implemented", closes=True)


def test_a_body_with_very_many_unknown_fields_is_refused(shared):
    reply = shared.post("/api/publish", {f"{n:05}": 1 for n in range(60_000)})
    assert (reply.status, reply.error) == (400, "bad_body")
    shared.healthy()


def test_a_body_in_very_many_chunks(shared, request, channel):
    request.node.published = 1
    with Wire(shared.api) as wire:
        wire.send(f"POST /pub?id={channel} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        response = Response(wire.send(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"))
        assert response.status == 200, response.all()
    assert [p["data"] for p in shared.history(channel)["publications"]] == ["x" * 50_000]


# MARK: channels, bodies, headers of a publish


@pytest.mark.parametrize("query", [
    "", "?", "?id", "?id=", "?id=a%20b", "?id=%C3%BC", "?id=a/a", "?id=a//b", "?id=/a", "?id=a/", "?id=a*", "?id=x.b5", "?id=" + "a" * 201,
    "?id=" + "/".join(f"c{n}" for n in range(33)), "?id=a%00", "?ID=a", "?x=1",
], ids=lambda q: q[:20] or "none")
def test_bad_channels_to_publish_to(shared, query):
    refused(shared, shared.api, f"POST /pub{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 400, "bad_channel")


def test_if_one_of_several_channels_is_bad_nothing_is_published(shared):
    refused(shared, shared.api, "POST /pub?id=good/b%20d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 400, "bad_channel")
    assert shared.post("/api/broadcast", {"channels": ["good", "b d"], "data": 1}).error == "bad_channel"
    assert shared.history("good")["offset"] == 0


# MARK: duplicates

TWICE = {
    "id": ("api", PUB.replace(b"id=refused", b"id=refused&id=other") + b"Content-Length: 1\r\n\r\nx"),
    "the same id": ("api", PUB.replace(b"id=refused", b"id=refused&id=refused") + b"Content-Length: 1\r\n\r\nx"),
    "id in another spelling": ("api", PUB.replace(b"id=refused", b"id=refused&%69d=other") + b"Content-Length: 1\r\n\r\nx"),
    "event-type": ("api", PUB + b"Event-Type: a\r\nEvent-Type: b\r\nContent-Length: 1\r\n\r\nx"),
    "message-id": ("api", PUB + b"Message-Id: a\r\nmessage-id: b\r\nContent-Length: 1\r\n\r\nx"),
    "authorization": ("api", PUB + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\nContent-Length: 1\r\n\r\nx"),
    "x-api-key": ("api", PUB + b"X-API-Key: a\r\nX-API-Key: b\r\nContent-Length: 1\r\n\r\nx"),
    "origin": ("api", PUB + b"Origin: http://127.0.0.1:1\r\nOrigin: http://evil.example\r\nContent-Length: 1\r\n\r\nx"),
    "channel": ("api", b"GET /api/locate?channel=a&channel=b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "after": ("api", b"GET /api/events?after=1&after=2 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "since": ("listen", b"GET /lp/a?since=1-1&since=1-2 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "since beside a header": ("listen", b"GET /lp/a?since=1-1&since=1-2 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1-3\r\n\r\n"),
    "lastEventId": ("listen", b"GET /ev/a?lastEventId=1-1&lastEventId=1-2 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "envelope": ("listen", b"GET /ev/a?envelope=1&envelope=0 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "last-event-id": ("listen", b"GET /ev/a HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1-1\r\nLast-Event-ID: 1-2\r\n\r\n"),
    "sec-websocket-version": (
        "listen", b"GET /ws/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n\r\n"),
}


@pytest.mark.parametrize("case", TWICE)
def test_a_repeated_parameter_or_header_is_refused(shared, case):
    port, data = TWICE[case]
    with Wire(getattr(shared, port)) as wire:
        response = Response(wire.send(data))
        error = json.loads(response.all())["error"]
        assert (response.status, error["code"]) == (400, "bad_request")
        name = case.removeprefix("the same ").split(" ")[0]
        named = f"the header {name} occurs", f'the query parameter "{name}" occurs'
        assert any(text in error["message"] for text in named) and "more than once" in error["message"]


def test_a_repeated_json_field_is_refused(shared):
    reply = shared.post("/api/publish", '{"channel":"a","channel":"b","data":1}')
    assert (reply.status, reply.error) == (400, "bad_body") and 'the field "channel" occurs more than once' in reply.json["error"]["message"]


# MARK: compressed bodies

POSTS = {
    "/pub?id=packed": b"x", "/api/publish": b'{"channel":"packed","data":1}', "/api/broadcast": b'{"channels":["packed"],"data":1}',
    "/api/batch": b'{"commands":[{"publish":{"channel":"packed","data":1}}]}', "/api/history": b'{"channel":"packed"}', "/api/channels": b"{}",
    "/api/presence_stats": b'{"channel":"packed"}', "/api/drain": b'{"node":"n1"}',
}


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "x"])
@pytest.mark.parametrize("target", POSTS)
def test_a_compressed_body_is_refused(shared, target, coding):
    import gzip
    reply = shared.post(target, gzip.compress(POSTS[target]), {"Content-Encoding": coding})
    assert (reply.status, reply.error) == (415, "unsupported_encoding") and reply.headers["Accept-Encoding"] == "identity"
    assert "Content-Encoding" in reply.json["error"]["message"]


def test_the_content_encoding_identity_is_accepted(shared, request, channel):
    with Lines(shared, channel) as lines:
        shared.publish(channel, "1", headers={"Content-Encoding": "identity"})
        shared.publish(channel, "2", headers={"content-encoding": "Identity"})
        assert [item.data for item in lines.take(2)] == [1, 2]
    request.node.published = 2


def test_a_number_and_the_same_text(shared, request, channel):
    """The envelope depends only on the payload. A text that looks like JSON stays a text only if it is published as a JSON string."""
    with Lines(shared, channel) as lines:
        shared.publish(channel, "123")
        shared.publish(channel, '"123"')
        assert shared.post("/api/publish", {"channel": channel, "data": "123"}).status == 200
        assert [item.data for item in lines.take(3)] == [123, "123", "123"]
    request.node.published = 3


def test_empty_body(shared):
    for head in ("Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"):
        refused(shared, shared.api, f"POST /pub?id=a HTTP/1.1\r\nHost: x\r\n{head}", 400, "bad_body")


@pytest.mark.parametrize("header", ["Event-Type", "Message-Id"])
@pytest.mark.parametrize("value", [b"a" * 5000, b"\xff\xfe", b"a\xc3"], ids=["long", "no UTF-8", "cut UTF-8"])
def test_bad_type_and_message_id(shared, header, value):
    refused(
        shared, shared.api, b"POST /pub?id=refused HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: 1\r\n\r\nx" % (header.encode(), value),
        400, "bad_body")


def test_an_empty_type_or_message_id_is_none(shared, request, channel):
    request.node.published = 2
    first = shared.publish(channel, "x", type="", message_id="")
    second = shared.publish(channel, "x", type="", message_id="")
    assert first["id"] != second["id"]
    assert "type" not in shared.history(channel)["publications"][0]


def test_a_type_in_utf8(shared, request, channel):
    request.node.published = 1
    with Lines(shared, channel) as s:
        reply = shared.post(f"/pub?id={channel}", b"1", {"Event-Type": "grüße".encode()})
        assert reply.status == 200
        assert s.next().type == "grüße"


def test_an_event_type_cannot_break_the_stream(shared, request, channel):
    """Each accepted type arrives unchanged, and no part of it is read as another field."""
    types = ["a", "A-Z_0.9:x", "with space", "a:b", "x" * 64, "\"q\"", "a\tb", "<b>"]
    sent = []
    with SSE(shared, channel) as s, SSEEnvelope(shared, channel) as envelopes, Lines(shared, channel) as lines:
        for type in types:
            reply = shared.post(f"/pub?id={channel}", b"1", {"Event-Type": type})
            if reply.status == 200:
                sent.append(type)
            else:
                assert (reply.status, reply.error) == (400, "bad_body"), (type, reply)
        assert sent[:2] == types[:2]
        request.node.published = len(sent)
        assert [s.next().type for _ in sent] == sent
        assert [envelopes.next().type for _ in sent] == sent
        assert [lines.next().type for _ in sent] == sent


def test_a_publisher_cannot_fake_a_gap(shared, request, channel):
    """Only the node itself sends `event: gap` on SSE."""
    reply = shared.post(f"/pub?id={channel}", b'{"channel":"x","from":"1-1","to":"1-9","reason":"reset"}', {"Event-Type": "gap"})
    request.node.published = int(reply.status == 200)
    assert (reply.status, reply.error if reply.status != 200 else None) == (400, "bad_body")


@pytest.mark.parametrize("path", ["publish", "broadcast", "batch", "history", "channels", "presence_stats"])
@pytest.mark.parametrize("body", [
    b"", b"x", b"{", b"[]", b"null", b'"a"', b"{}x", b"\xff", b"{\"channel\":", b'{"channel":1,"data":1}', b'{"channels":"a","data":1}',
    b'{"channels":[],"data":1}', b'{"commands":{}}', b'{"prefix":1,"channel":null}', b"[" * 5000,
], ids=repr)
def test_bad_json(shared, path, body):
    reply = shared.post(f"/api/{path}", body)
    if path == "channels" and body == b"" and reply.status == 200:
        return
    assert reply.status == 400 and reply.error in ("bad_body", "bad_channel"), reply


@pytest.mark.parametrize("path,body,code", [
    ("publish", {"channel": "a"}, "bad_body"),
    ("publish", {"data": 1}, "bad_body"),
    ("publish", {"channel": "a b", "data": 1}, "bad_channel"),
    ("publish", {"channel": "", "data": 1}, "bad_channel"),
    ("publish", {"channel": "a", "data": 1, "type": 5}, "bad_body"),
    ("publish", {"channel": "a", "data": 1, "idempotency_key": 5}, "bad_body"),
    ("broadcast", {"channels": ["a", "a"], "data": 1}, "bad_channel"),
    ("broadcast", {"channels": [f"c{n}" for n in range(33)], "data": 1}, "bad_channel"),
    ("broadcast", {"channels": ["a", 1], "data": 1}, "bad_body"),
    ("history", {"channel": "a b", "limit": 1}, "bad_channel"),
    ("history", {"channel": "a", "limit": -1}, "bad_body"),
    ("history", {"channel": "a", "limit": "x"}, "bad_body"),
    ("history", {"channel": "a", "limit": 1.5}, "bad_body"),
    ("history", {"channel": "a", "limit": 1, "since": "x"}, "bad_cursor"),
    ("history", {"channel": "a", "limit": 1, "since": "1-"}, "bad_cursor"),
    ("history", {"channel": "a", "limit": 1, "since": "-1-1"}, "bad_cursor"),
    ("history", {"channel": "a", "limit": 1, "since": "1-99999999999999999999999"}, "bad_cursor"),
    ("presence_stats", {"channel": "a*"}, "bad_channel"),
])
def test_bad_api_bodies(shared, path, body, code):
    reply = shared.post(f"/api/{path}", body)
    assert reply.status == 400 and reply.error == code, reply


def test_a_bad_command_of_a_batch_does_not_stop_the_others(shared, request, channel):
    request.node.published = 2
    reply = shared.post("/api/batch", {"commands": [
        {"publish": {"channel": channel, "data": 1}}, {"publish": {"channel": "a b", "data": 1}}, {"nothing": {}},
        {"publish": {"channel": channel, "data": 2}}]})
    assert reply.status == 200, reply
    replies = reply.json["replies"]
    assert replies[0]["publish"]["offset"] == 1 and replies[3]["publish"]["offset"] == 2
    assert replies[1]["error"]["code"] == "bad_channel" and replies[2]["error"]["code"] == "bad_body"


def test_too_large(shared):
    size = 64 * 1024 + 1
    refused(shared, shared.api, PUB + b"Content-Length: %d\r\n\r\n" % size + b"x" * size, 413, "too_large")
    refused(shared, shared.api, PUB + b"Content-Length: %d\r\n\r\n" % 10**15, 413, "too_large", closes=True)
    refused(shared, shared.api, PUB + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"ffffffff\r\n", 413, "too_large")
    chunks = (b"4000\r\n" + b"x" * 16384 + b"\r\n") * 5 + b"0\r\n\r\n"
    refused(shared, shared.api, PUB + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, 413, "too_large")
    assert shared.post("/api/publish", {"channel": "a", "data": "x" * size}).error == "too_large"
    big = b'{"commands":[' + b" " * (1024 * 1024) + b"]}"
    reply = shared.post("/api/batch", big)
    assert (reply.status, reply.error) == (413, "too_large")


# MARK: WebSocket upgrades

UPGRADES = {
    "no upgrade": ({}, 426),
    "no connection header": ({"Connection": None}, 426),
    "another upgrade": ({"Upgrade": "h2c"}, 426),
    "version 8": ({"Sec-WebSocket-Version": "8"}, 426),
    "version 12": ({"Sec-WebSocket-Version": "12"}, 426),
    "no version": ({"Sec-WebSocket-Version": None}, 426),
    "no key": ({"Sec-WebSocket-Key": None}, 400),
    "a short key": ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
    "a key that is not base64": ({"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!!!"}, 400),
    "two keys": ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, 400),
}


@pytest.mark.parametrize("case", UPGRADES)
def test_websocket_upgrades(shared, case):
    change, status = UPGRADES[case]
    good = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    headers = {} if case == "no upgrade" else {**good, **change}
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
    response = refused(shared, shared.listen, f"GET /ws/a HTTP/1.1\r\nHost: x\r\n{text}\r\n", status, "upgrade_required" if status == 426 else "bad_request")
    if status == 426:
        assert response.head["sec-websocket-version"] == "13"
        assert "upgrade" in [option.strip().lower() for option in response.head["connection"].split(",")]


@pytest.mark.parametrize("headers", [
    "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n", "upgrade: WEBSOCKET\r\nconnection: upgrade\r\n", "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n",
])
def test_valid_websocket_upgrades(shared, headers):
    with Wire(shared.listen) as wire:
        wire.send(f"GET /ws/a HTTP/1.1\r\nHost: x\r\n{headers}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        response = Response(wire)
        assert response.status == 101 and response.head["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_websocket_frames_that_come_with_the_upgrade(shared):
    """A client may send frames before it has received the response 101."""
    from harness.websocket import PING, PONG, frame
    with Wire(shared.listen) as wire:
        wire.send(
            b"GET /ws/a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" + frame(PING, b"early"))
        assert Response(wire).status == 101
        text = wire.exactly(2)
        wire.exactly(text[1] & 0x7F)
        assert wire.exactly(2) == bytes([0x80 | PONG, 5]) and wire.exactly(5) == b"early"


# MARK: time and order


@pytest.mark.parametrize("port", ["listen", "api"])
def test_slow_heads_are_cut_off(hasty, port):
    """A client that sends one byte at a time cannot keep a connection open beyond the timeout."""
    with Wire(getattr(hasty, port)) as wire:
        wire.send("GET /healthz HTTP/1.1\r\nX-Slow: ")
        started = time.monotonic()
        received = b""
        wire.socket.settimeout(0.2)
        while time.monotonic() - started < PATIENCE:
            try:
                wire.send("a")
                data = wire.socket.recv(4096)
                received += data
                if not data:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            raise AssertionError("the connection is still open")
        assert not received or b" 408 " in received.split(b"\r\n")[0], received


def test_slow_bodies_are_cut_off(hasty):
    with Wire(hasty.api) as wire:
        wire.send(PUB + b"Content-Length: 100\r\n\r\nhalf")
        response = Response(wire)
        assert (response.status, json.loads(response.all())["error"]["code"]) == (408, "timeout")
        assert wire.ended()


@pytest.mark.parametrize("port", ["listen", "api"])
def test_a_silent_connection_is_closed(hasty, port):
    with Wire(getattr(hasty, port)) as wire:
        received = wire.rest()
        assert not received or b" 408 " in received.split(b"\r\n")[0], received


def test_pipelined_publishes_get_responses_in_order(shared, request, channel):
    request.node.published = 200
    with Wire(shared.api) as wire:
        wire.send(b"".join(
            f"POST /pub?id={channel} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(str(n))}\r\n\r\n{n}".encode() for n in range(200)))
        ids = [json.loads(Response(wire).all())["id"] for _ in range(200)]
    assert [int(id.split("-")[1]) for id in ids] == list(range(1, 201))
    assert [p["data"] for p in shared.history(channel)["publications"]] == list(range(200))


def test_pipelined_requests_of_all_kinds_get_responses_in_order(shared, request, channel):
    """A slow request, which waits for the log, delays the responses to later requests. A bad request does not affect earlier requests."""
    request.node.published = 20
    parts, expected = [], []
    for n in range(20):
        parts.append(f"POST /pub?id={channel} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        parts.append("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        parts.append("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        parts.append("POST /pub?id= HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        expected += [200, 200, 404, 400]
    parts.append("GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n")
    expected.append(400)
    with Wire(shared.api) as wire:
        wire.send("".join(parts))
        got = []
        for _ in expected:
            response = Response(wire)
            got.append((response.status, response.all()))
        assert wire.rest() == b""
    assert [status for status, _ in got] == expected
    assert [json.loads(body)["id"].split("-")[1] for _, body in got[:-1:4]] == [str(n) for n in range(1, 21)]


def test_a_client_that_closes_its_half_still_gets_its_response(shared, request, channel):
    import socket
    request.node.published = 1
    with Wire(shared.api) as wire:
        wire.send(f"POST /pub?id={channel} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        wire.socket.shutdown(socket.SHUT_WR)
        response = Response(wire)
        assert response.status == 200 and json.loads(response.all())["id"].endswith("-1")


def test_pipelined_long_polls(shared, request, channel):
    """The client sends the second request before it has the response to the first."""
    request.node.published = 2
    with SSE(shared, channel) as s:
        cursor = s.cursor
        shared.publish(channel, "x")
        s.next()
    with LongPoll(shared, channel, cursor) as poll:
        poll.wire.send(poll.request() + poll.request())
        for _ in range(2):
            response = Response(poll.wire)
            assert [e["data"] for e in json.loads(response.all())["events"]] == ["x"]
        shared.publish(channel, "y")


def test_connection_close_is_obeyed(shared):
    for port in (shared.listen, shared.api):
        with Wire(port) as wire:
            response = Response(wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
            assert response.all().strip() == b"ok"
            assert wire.ended()


def test_random_bytes(shared, seed):
    """Sends random bytes, and valid requests with one byte changed. No such request publishes, because a changed byte may make another valid request."""
    import random
    chance = random.Random(seed)
    good = b"GET /ev/a/b.b3?since=abc HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc"
    for index in range(150):
        data = bytearray(good if index % 3 else chance.randbytes(chance.randint(1, 400)))
        if index % 3:
            for _ in range(chance.randint(1, 3)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        wire = Wire(chance.choice([shared.listen, shared.api]))
        wire.try_send(bytes(data))
        chance.choice([wire.close, wire.reset])()
