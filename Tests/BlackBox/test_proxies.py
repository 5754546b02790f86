"""The proxy examples of docs/operations.md, unchanged. A browser behind each proxy survives the node's restart and misses no event."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.history import faults
from harness.node import HOST, PATIENCE, Port, die_with_parent, eventually
from harness.publisher import Publisher
from harness.subscribers import Item
from harness.wire import Response, Wire
from test_page import CHROMIUM, CHROMEDRIVER, chromium, open_page  # noqa: F401

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
PROXIES = ["nginx", "haproxy", "caddy"]


def example(language):
    """Returns the document's only block of this language."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, f"{DOCUMENT} has {len(blocks)} blocks of {language}, not one"
    return blocks[0]


def replaced(text, pattern, replacement):
    changed, count = re.subn(pattern, replacement, text)
    assert count, f"the document's example does not have {pattern}"
    return changed


class Proxy:
    """A proxy in front of a node, with one of the document's examples. Only addresses are changed."""

    def __init__(self, name, node, folder):
        self.name, self.port, self.folder = name, Port(), folder
        self.folder.mkdir()
        text = replaced(example(name), r"127\.0\.0\.1:8080", f"{HOST}:{node.listen}")
        self.command = getattr(self, name)(text)
        with open(self.folder / "output.log", "wb") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent,
                env=os.environ | {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)})
        eventually(self.responds)

    def nginx(self, text):
        text = replaced(text, r"listen 80;", f"listen {HOST}:{self.port.number};")
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return ["/usr/sbin/nginx", "-p", str(self.folder), "-e", "stderr", "-c", self.write("nginx.conf", (
            f"daemon off; master_process off; pid {self.folder}/pid; error_log stderr; events {{ worker_connections 512; }}\n"
            f"http {{ access_log off; {temporary}\n{text}\n}}\n"))]

    def haproxy(self, text):
        text = replaced(text, r"bind :80", f"bind {HOST}:{self.port.number}")
        return ["/usr/sbin/haproxy", "-db", "-f", self.write("haproxy.cfg", text)]

    def caddy(self, text):
        text = replaced(text, r"(?m)^:80 {", f"http://:{self.port.number} {{\n    bind {HOST}")
        return ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", self.write("Caddyfile", "{\n    admin off\n}\n" + text)]

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def responds(self):
        assert self.process.poll() is None, f"{self.name} ended: {self.said()}"
        try:
            with Wire(self.port.number) as wire:
                return Response(wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
        except (OSError, EOFError):
            return False

    def said(self):
        return (self.folder / "output.log").read_text(errors="replace")[-2000:]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
        self.port.release()


@pytest.fixture
def proxied(request, nodes):
    """A node with the proxy in front of it."""
    name = request.param
    if not shutil.which(name, path="/usr/sbin:/usr/bin"):
        pytest.skip(f"needs Debian's {name}")
    node = nodes.make("--history-events-max", "100000")
    proxy = Proxy(name, node, nodes.folder / name)
    yield node, proxy
    proxy.close()


EVERY = pytest.mark.parametrize("proxied", PROXIES, indirect=True)


@EVERY
def test_a_proxys_own_errors_keep_an_eventsource_alive(proxied, channel):
    node, proxy = proxied
    node.kill()
    request = "GET {} HTTP/1.1\r\nHost: x\r\nOrigin: https://site.example\r\nAccept: text/event-stream\r\n\r\n"
    retries = set()
    for _ in range(4):
        with Wire(proxy.port.number) as wire:
            response = Response(wire.send(request.format(f"/ev/{channel}")))
            assert response.status == 200 and response.head["content-type"] == "text/event-stream", response.head
            assert response.head["access-control-allow-origin"] == "https://site.example" and response.head["cache-control"] == "no-store"
            assert response.head["access-control-allow-credentials"] == "true"
            found = re.fullmatch(r"retry: (\d+)\n\n", response.all().decode())
            retries.add(int(found.group(1)))
    assert len(retries) > 1 and all(1000 <= retry <= 5000 for retry in retries), retries
    with Wire(proxy.port.number) as wire:
        assert Response(wire.send(request.format(f"/lp/{channel}"))).status in (502, 503, 504), "a proxy must not convert errors of other transports to 200"


@EVERY
def test_a_proxy_does_not_change_the_nodes_own_errors(proxied, channel):
    node, proxy = proxied
    for path, status in ((f"/ev/{channel}?since=x", 400), ("/nothing", 404)):
        with Wire(proxy.port.number) as wire:
            response = Response(wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"))
            assert response.status == status and b'{"error"' in response.all()


BROWSER = pytest.mark.skipif(
    not (os.path.exists(CHROMIUM) and os.path.exists(CHROMEDRIVER)), reason="needs Debian's chromium and chromium-driver")

FOLLOW = """
window.got = [[], []]; window.states = []; window.opens = 0;
window.sources = [false, true].map((withCredentials, i) => {
  const source = new EventSource(arguments[0], { withCredentials });
  source.onopen = () => opens++;
  source.onerror = () => states.push(source.readyState);
  source.onmessage = e => got[i].push([e.lastEventId, e.data]);
  return source;
});
"""


@BROWSER
@EVERY
def test_a_browser_survives_the_nodes_restart(proxied, channel, open_page, seed):  # noqa: F811
    """Two EventSources on a page of another origin, with and without cookies. Both reconnect by themselves, and miss no event."""
    node, proxy = proxied
    page = open_page(node, channel + "other").live()
    page["stop"].click()
    page.script(FOLLOW, f"http://{HOST}:{proxy.port.number}/ev/{channel}?envelope=1")
    eventually(lambda: page.script("return opens") == 2)
    publisher = Publisher(node, [channel], seed=seed, pause=0.01)
    publisher.start()
    eventually(lambda: page.script("return Math.min(...got.map(x => x.length))") > 20)
    node.kill()
    # Each EventSource has lost its connection, and has received a response from the proxy itself.
    eventually(lambda: page.script("return states.length") >= 6)
    node.start()
    eventually(lambda: node.subscribers(channel) == 2)
    time.sleep(0.3)
    count = publisher.finish()[channel]
    eventually(lambda: page.script("return Math.min(...got.map(x => x.length))") >= count)
    time.sleep(0.3)
    got, states = page.script("sources.forEach(x => x.close()); return [got, states]")
    assert set(states) == {0}, "an EventSource was closed permanently"
    for received in got:
        items = []
        for id, data in received:
            envelope = page.driver.execute_script("return JSON.parse(arguments[0])", data)
            assert "gap" not in envelope, envelope
            items.append(Item("event", channel, envelope["data"], id))
        assert faults({channel: count}, items) == [], f"seed {seed}"


@BROWSER
@EVERY
def test_a_websocket_of_the_pages_own_origin(proxied, channel, chromium):  # noqa: F811
    node, proxy = proxied
    chromium.get(f"http://{HOST}:{proxy.port.number}/healthz")
    chromium.execute_script(
        "window.got = []; window.ws = new WebSocket('ws://' + location.host + arguments[0]);"
        "ws.onmessage = e => got.push(JSON.parse(e.data)); ws.onclose = e => got.push(e.code)", f"/ws/{channel}")
    eventually(lambda: chromium.execute_script("return got.length") == 1)
    assert chromium.execute_script("return Object.keys(got[0])") == ["cursor"]
    node.publish(channel, "x", type="t")
    eventually(lambda: chromium.execute_script("return got.length") == 2)
    assert chromium.execute_script("return got[1].data") == "x"
    chromium.get("about:blank")
