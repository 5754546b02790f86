"""The page at `/` in a real browser, and the EventSource of a browser without the page's code."""

import json
import os
import re
import selectors
import socket
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from harness.history import faults
from harness.node import PATIENCE, Port, eventually
from harness.publisher import Publisher
from harness.subscribers import Item

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
pytestmark = pytest.mark.skipif(
    not (os.path.exists(CHROMIUM) and os.path.exists(CHROMEDRIVER)), reason="needs Debian's chromium and chromium-driver")


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # If the driver chose the port, another process could take it first.
    port = Port()
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER, port=port.number))
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()
    port.release()


class Page:
    def __init__(self, driver, node, channel, host="127.0.0.1"):
        self.driver, self.node, self.channel = driver, node, channel
        driver.get(f"http://{host}:{node.api}/?channel={channel}")

    def __getitem__(self, id):
        return self.driver.find_element(By.ID, id)

    def text(self, id):
        return self[id].text

    def number(self, id):
        return int(self.text(id))

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    @property
    def state(self):
        return self["state"].get_attribute("data-state")

    def live(self):
        eventually(lambda: self.state == "live" and self.text("state-text") == "live")
        return self

    def rows(self):
        """Returns the texts of the list, the newest first."""
        return self.script("return [...document.querySelectorAll('#list > li')].map(li => li.querySelector('p').textContent)")

    def problems(self):
        """Returns the new warnings and errors of the browser's console."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture
def open_page(chromium):
    """Opens the page. After the test, restores the browser's settings and closes the page."""
    def open(node, channel, **options):
        chromium.get("about:blank")
        chromium.get_log("browser")
        return Page(chromium, node, channel, **options)
    yield open
    for entry in (chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {}), chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})):
        assert entry == {}
    chromium.get("about:blank")


@pytest.fixture
def page(shared, channel, open_page):
    return open_page(shared, channel).live()


def test_the_page_loads_without_errors(page, shared):
    assert page.driver.title.endswith("Realertime")
    assert shared.status()["node"]["version"] in page.text("node")
    assert page.problems() == []


def test_publish_and_see_it(page):
    page["message"].clear()
    page["message"].send_keys("Grüße <b>&amp; co")
    page["publish"].click()
    eventually(lambda: page.rows() == ["Grüße <b>&amp; co"])
    eventually(lambda: "Published 1-1" in page.text("result") or re.search(r"Published \d+-1 ", page.text("result")))
    eventually(lambda: (page.text("received"), page.text("sent"), page.text("awaited"), page.text("repeats")) == ("1", "1", "0", "0"))
    eventually(lambda: page.text("median").endswith("ms"))
    assert (page.text("resumes"), page.text("gaps")) == ("0", "0")
    assert page.problems() == []


def test_an_event_type(page):
    page["type"].send_keys("comment")
    page["publish"].click()
    eventually(lambda: page.rows() == ["Hello"])
    assert "comment" in page["list"].text
    for count, type in enumerate(("error", "open", "message"), 2):
        page["type"].clear()
        page["type"].send_keys(type)
        page["publish"].click()
        eventually(lambda: len(page.rows()) == count)
    time.sleep(0.3)
    assert page.state == "live", "the page treats an event of type error as a failed connection"
    eventually(lambda: (page.text("received"), page.text("resumes")) == ("4", "0"))


def test_typed_events_of_a_back_end(page, shared, channel):
    for n, type in enumerate(("comment", "open", "error", "message", None, "vote"), 1):
        shared.publish(channel, n, type=type)
    eventually(lambda: page.rows() == ["6", "5", "4", "3", "2", "1"])
    assert page.state == "live" and (page.text("gaps"), page.text("resumes")) == ("0", "0")
    assert "comment" in page["list"].text and "vote" in page["list"].text


def test_enter_in_the_type_publishes(page):
    page["type"].send_keys(Keys.ENTER)
    eventually(lambda: page.rows() == ["Hello"])


def test_a_burst_of_100_events_is_published_and_received(page):
    page["burst"].click()
    eventually(lambda: page.text("result").startswith("Published 100 of 100"))
    eventually(lambda: (page.text("received"), page.text("awaited"), page.text("repeats")) == ("100", "0", "0"))
    eventually(lambda: len(page.rows()) == 100)
    assert {f"Hello {n}" for n in range(1, 101)} == set(page.rows())
    eventually(lambda: page.script(
        "const c = document.getElementById('plot'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "const seen = new Set(); for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) seen.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]); return seen.size") > 3)
    eventually(lambda: "at most" in page["plot"].get_attribute("aria-label"))


def test_events_of_a_back_end(page, shared, channel):
    shared.publish(channel, "plain words")
    shared.publish(channel, {"a": [1, 2]})
    shared.publish(channel, "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>")
    shared.publish(channel, b"\xff\xfe")
    shared.publish(channel, 0)
    shared.publish(channel, None)
    eventually(lambda: len(page.rows()) == 6)
    rows = page.rows()
    assert rows[-1] == "plain words" and rows[-2] == '{"a":[1,2]}' and rows[-3].startswith("<img src=x") and rows[0:2] == ["null", "0"]
    assert page.driver.find_elements(By.CSS_SELECTOR, "#list img, #list script") == []
    assert "broken" not in page.driver.title
    assert page.problems() == []


def test_the_list_is_bounded(page, shared, channel):
    for n in range(260):
        shared.publish(channel, n)
    eventually(lambda: page.number("received") == 260)
    eventually(lambda: page.rows()[:1] == ["259"])
    assert page.rows() == [str(n) for n in range(259, 59, -1)]


def test_pause_and_clear(page, shared, channel):
    page["pause"].click()
    assert page["pause"].get_attribute("aria-pressed") == "true"
    shared.publish(channel, "while paused")
    eventually(lambda: page.number("received") == 1)
    time.sleep(0.3)
    assert page.rows() == []
    page["pause"].click()
    eventually(lambda: page.rows() == ["while paused"])
    page["clear"].click()
    assert page.rows() == [] and page["empty"].is_displayed()


def test_the_page_can_change_its_channel(page, shared, channel):
    page["channel"].clear()
    page["channel"].send_keys(channel + "x", Keys.ENTER)
    page.live()
    eventually(lambda: shared.subscribers(channel) == 0 and shared.subscribers(channel + "x") == 1)
    page["publish"].click()
    eventually(lambda: page.rows() == ["Hello"])
    assert shared.history(channel + "x")["offset"] == 1 and shared.history(channel)["offset"] == 0
    page["stop"].click()
    assert page.state == "closed"
    eventually(lambda: shared.subscribers(channel + "x") == 0)
    page["watch"].click()
    page.live()


def test_a_bad_channel_is_not_requested(page, shared, channel):
    for bad in ("a b", "ü", "x.b5"):
        page["channel"].clear()
        page["channel"].send_keys(bad, Keys.ENTER)
        assert page.script("return document.getElementById('channel').checkValidity()") is False
    assert page.state == "live" and shared.subscribers(channel) == 1


def test_the_page_resumes_after_a_kill(nodes, channel, open_page):
    node = nodes.make()
    page = open_page(node, channel).live()
    page["publish"].click()
    eventually(lambda: page.number("received") == 1)
    node.kill()
    eventually(lambda: page.state == "reconnecting")
    # The node is down. The page repeats this publish until the node accepts it.
    page["publish"].click()
    eventually(lambda: "again" in page.text("result"))
    node.start()
    node.publish(channel, "from elsewhere")
    page.live()
    eventually(lambda: page.number("received") == 3)
    eventually(lambda: sorted(page.rows()) == ["Hello", "Hello", "from elsewhere"])
    assert page.number("resumes") >= 1
    eventually(lambda: (page.text("awaited"), page.text("repeats"), page.text("gaps")) == ("0", "0", "0"))
    assert node.history(channel)["offset"] == 3, "an event was published twice"


def test_the_page_shows_a_gap(nodes, channel, open_page):
    node = nodes.make("--log", "memory")
    page = open_page(node, channel).live()
    page["publish"].click()
    eventually(lambda: page.number("received") == 1)
    node.restart()
    page.live()
    eventually(lambda: page.text("gaps") == "1")
    notice = eventually(lambda: page.driver.find_elements(By.CSS_SELECTOR, "li.notice"))[0]
    assert "Gap" in notice.text and "reset" in notice.text
    page["publish"].click()
    eventually(lambda: len(page.rows()) == 3)


def refuse(listener):
    """Responds to the first request with 503. Skips connections that a browser opened in advance, which carry no request."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                assert time.monotonic() < deadline, "no client connected"
                for key, _ in selector.select(1):
                    if key.fileobj is listener:
                        selector.register(listener.accept()[0], selectors.EVENT_READ)
                    elif key.fileobj.recv(65536):
                        key.fileobj.sendall(b"HTTP/1.1 503 Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        return
                    else:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
        finally:
            for key in list(selector.get_map().values()):
                if key.fileobj is not listener:
                    key.fileobj.close()


def test_the_page_reconnects_after_a_refusal(nodes, channel, open_page):
    """A 503 ends a browser's EventSource permanently. The page then makes a new one, with its cursor."""
    node = nodes.make()
    page = open_page(node, channel).live()
    page["publish"].click()
    eventually(lambda: page.number("received") == 1)
    node.kill()
    with socket.socket() as full:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind(("127.0.0.1", node.listen))
        full.listen()
        refuse(full)
    node.start()
    node.publish(channel, "missed")
    page.live()
    eventually(lambda: page.rows() == ["missed", "Hello"])
    eventually(lambda: page.text("gaps") == "0" and page.number("resumes") >= 1)


BARE = """
const done = arguments[arguments.length - 1];
window.got = []; window.opens = 0; window.bad = [];
window.bare = new EventSource(arguments[0]);
bare.onopen = () => { window.opens++; if (opens === 1) done(true); };
bare.onmessage = e => got.push([e.lastEventId, e.data]);
bare.addEventListener('gap', e => bad.push(e.data));
"""


def test_a_bare_eventsource_resumes_exactly(nodes, channel, open_page, seed):
    """An EventSource without our own code resumes after kill -9 and after a graceful restart."""
    node = nodes.make("--history-events-max", "100000")
    page = open_page(node, channel + "other").live()
    assert page.driver.execute_async_script(BARE, f"http://127.0.0.1:{node.listen}/ev/{channel}")
    publisher = Publisher(node, [channel], seed=seed, pause=0.005)
    publisher.start()
    time.sleep(0.7)
    node.kill()
    time.sleep(0.2)
    node.start()
    eventually(lambda: page.script("return opens") >= 2)
    time.sleep(0.5)
    assert node.terminate() == 0
    node.start()
    eventually(lambda: page.script("return opens") >= 3)
    time.sleep(0.3)
    count = publisher.finish()[channel]
    eventually(lambda: page.script("return got.length") >= count)
    time.sleep(0.3)
    got = page.script("bare.close(); return got")
    assert page.script("return bad") == []
    items = [Item("event", channel, json.loads(data), id) for id, data in got]
    assert faults({channel: count}, items) == [], f"seed {seed}"
    assert publisher.repeats >= 1


def test_a_bare_eventsource_before_its_first_event(nodes, channel, open_page):
    """The id at the start of the stream is enough for a resume: events published while the connection is down arrive."""
    node = nodes.make()
    node.publish(channel, "before")
    page = open_page(node, channel + "other").live()
    assert page.driver.execute_async_script(BARE, f"http://127.0.0.1:{node.listen}/ev/{channel}")
    node.restart()
    node.publish(channel, "meanwhile")
    eventually(lambda: page.script("return got.map(x => x[1])") == ["meanwhile"])
    page.script("bare.close()")


def example(heading, language, file="README.md"):
    """Returns the first block of this language after this text in a document."""
    text = (Path(__file__).resolve().parents[2] / file).read_text()
    return re.search(rf"{re.escape(heading)}.*?```{language}\n(.*?)```", text, re.DOTALL).group(1)


def test_the_example_of_readme_receives_every_type(nodes, channel, chromium):
    node = nodes.make("--history-events-max", "3")
    first = node.publish(channel, 1)["cursor"]
    # This response has the node's origin and no scripts.
    chromium.get(f"http://127.0.0.1:{node.listen}/healthz")
    snippet = example("In a page:", "js")
    url = re.search(r'"(http://[^"]*)"', snippet).group(1)
    assert "envelope=1" in url
    # Replaces the example's reactions with reactions that the test can read.
    for old, new in [
        (url, f"http://127.0.0.1:{node.listen}/ev/{channel}?envelope=1&since={first}"), ("location.reload()", "reloads++"), ("console.log(", "shown.push("),
    ]:
        assert old in snippet
        snippet = snippet.replace(old, new)
    for n, type in enumerate(("comment", None, "open", "error"), 2):
        node.publish(channel, n, type=type)
    eventually(lambda: node.history(channel)["publications"][0]["data"] == 3)
    chromium.execute_script("window.shown = []; window.reloads = 0;" + snippet)
    eventually(lambda: chromium.execute_script("return shown.length") == 3)
    assert chromium.execute_script("return shown.map(x => [x.type ?? null, x.data])") == [[None, 3], ["open", 4], ["error", 5]]
    assert chromium.execute_script("return reloads") == 1, "the gap must reload the page once"
    chromium.get("about:blank")


def test_a_bare_eventsource_survives_a_full_node(nodes, channel, open_page):
    node = nodes.make("--connections-max", "1")
    page = open_page(node, channel + "other").live()
    page.script(
        "window.got = []; window.states = []; window.bare = new EventSource(arguments[0]);"
        "bare.onmessage = e => got.push(e.data); bare.onerror = () => states.push(bare.readyState)", f"http://127.0.0.1:{node.listen}/ev/{channel}")
    eventually(lambda: page.script("return states.length") >= 1)
    assert node.metric("realertime_refused_subscribers_total") >= 1
    page["stop"].click()
    eventually(lambda: node.subscribers(channel) == 1)
    node.publish(channel, "x")
    eventually(lambda: page.script("return got") == ["x"])
    assert set(page.script("return states")) == {0}, "the EventSource was closed permanently"
    page.script("bare.close()")


def test_a_browsers_websocket_with_a_subprotocol(nodes, channel, open_page):
    node = nodes.make()
    page = open_page(node, channel).live()
    page.script(
        "window.got = []; window.ws = new WebSocket(arguments[0], ['chat', 'realertime.v1']); ws.onmessage = e => got.push(ws.protocol)",
        f"ws://127.0.0.1:{node.listen}/ws/{channel}")
    eventually(lambda: page.script("return got") == ["realertime.v1"])
    page.script("ws.close()")


def test_a_browser_receives_events_by_websocket(nodes, channel, open_page):
    node = nodes.make()
    page = open_page(node, channel).live()
    page.script(
        "window.got = []; window.codes = []; window.ws = new WebSocket(arguments[0]);"
        "ws.onmessage = e => got.push(JSON.parse(e.data)); ws.onclose = e => codes.push(e.code)", f"ws://127.0.0.1:{node.listen}/ws/{channel}")
    eventually(lambda: page.script("return got.length") == 1)
    node.publish(channel, {"ü": 1})
    eventually(lambda: page.script("return got.length") == 2)
    assert page.script("return got[1].data") == {"ü": 1}
    assert node.terminate() == 0
    eventually(lambda: page.script("return codes") == [1012])


def test_the_page_works_under_the_name_localhost(shared, channel, open_page):
    page = open_page(shared, channel, host="localhost").live()
    page["publish"].click()
    eventually(lambda: page.rows() == ["Hello"])
    assert page.problems() == []


def test_a_token(nodes, channel, open_page):
    node = nodes.make(env={"REALERTIME_API_TOKEN": "s3cret"})
    page = open_page(node, channel)
    eventually(lambda: page["token"].is_displayed())
    page["token"].send_keys("wrong", Keys.ENTER)
    eventually(lambda: "refused" in page.text("node"))
    page["token"].send_keys("s3cret", Keys.ENTER)
    page.live()
    assert not page["token"].is_displayed()
    page["publish"].click()
    eventually(lambda: page.rows() == ["Hello"])
    assert page.script("return [localStorage.length, document.cookie, location.href.includes('s3cret')]") == [0, "", False]
    page.driver.refresh()
    page.live()


# MARK: policy


def test_the_content_security_policy_is_strict(shared, page):
    reply = shared.get("/")
    policy = {part.split()[0]: part.split()[1:] for part in reply.headers["Content-Security-Policy"].split(";") if part.strip()}
    assert policy["default-src"] == ["'none'"]
    everything = " ".join(sum(policy.values(), []))
    assert "unsafe-inline" not in everything and "unsafe-eval" not in everything
    assert "script-src" in policy and "style-src" in policy and "connect-src" in policy
    assert reply.headers["Content-Type"].lower().replace(" ", "") == "text/html;charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors" in policy or reply.headers["X-Frame-Options"]
    page.script(
        "const s = document.createElement('script'); s.textContent = 'window.injected = 1'; document.body.append(s);"
        "const e = document.createElement('p'); e.setAttribute('style', 'position: fixed'); document.body.append(e); window.probe = e")
    assert page.script("return window.injected") is None
    assert page.script("return getComputedStyle(probe).position") == "static"


def test_the_page_is_one_small_document(shared):
    body = shared.get("/").body
    assert len(body) < 20_480
    text = body.decode()
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert len(re.findall(r"<script", text)) == 1 and len(re.findall(r"<style", text)) == 1
    assert "innerHTML" not in text and not re.search(r"\son[a-z]+=", text.split("<script")[0])


# MARK: accessibility


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_horizontal_scrolling(page, shared, channel, width):
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": width < 600})
    shared.publish(channel, "long" * 400)
    shared.publish(channel, "x", type="a" * 60)
    eventually(lambda: len(page.rows()) >= 1 and page.script("return innerWidth") == width)
    page.script("document.getElementById('to').textContent = 'c'.repeat(200)")
    wide = page.script(
        "return [document.documentElement.scrollWidth, innerWidth].concat([...document.querySelectorAll('body *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== 'absolute').map(e => e.tagName + '#' + e.id))")
    assert wide[0] <= wide[1] == width and wide[2:] == [], wide
    small = page.script(
        "return [...document.querySelectorAll('button, input, textarea')].filter(e => e.offsetParent && e.getBoundingClientRect().height < 44).map(e => e.id)")
    assert small == [], "these controls are too small to touch"


def test_landmarks_and_labels(page):
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    shown = [n for n in tree if not n.get("ignored")]

    def of(role):
        return [n for n in shown if n["role"]["value"] == role]
    assert len(of("main")) == 1 and len(of("banner")) == 1
    assert {n["name"]["value"] for n in of("region")} >= {"Watch", "Live", "Events"}
    assert len([n for n in of("heading") if any(p["name"] == "level" and p["value"]["value"] == 1 for p in n["properties"])]) == 1
    controls = of("textbox") + of("button") + of("image") + of("img")
    assert len(controls) >= 9
    assert all(n.get("name", {}).get("value") for n in controls), [n for n in controls if not n.get("name", {}).get("value")]
    assert {n["name"]["value"] for n in of("textbox")} == {"Channel", "Message", "Event type, optional"}
    assert page.script("return document.documentElement.lang") == "en"
    assert page.script("return document.querySelectorAll('[aria-live=polite]').length") == 1
    assert page.script("return [...document.querySelectorAll('[id]')].length === new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size")


def test_a_screen_reader_is_notified_at_most_every_four_seconds(page, shared, channel):
    page.script(
        "window.said = []; new MutationObserver(() => said.push(document.getElementById('announce').textContent))"
        ".observe(document.getElementById('announce'), { childList: true, characterData: true, subtree: true })")
    begun = time.monotonic()
    for n in range(60):
        shared.publish(channel, n)
        time.sleep(0.02)
    eventually(lambda: any("arrived" in text for text in page.script("return said")))
    said = page.script("return said")
    # The page announces at most one text in four seconds.
    assert len(said) <= 2 + (time.monotonic() - begun) / 4, said
    assert "aria-live" not in page["list"].get_attribute("outerHTML")[:60]


def test_the_keyboard_reaches_everything(page):
    page.script("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(14):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = page.driver.switch_to.active_element
        reached.append(active.get_attribute("id") or active.get_attribute("class"))
        outline = page.script("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth")
        if reached[-1] in ("channel", "publish", "burst"):
            assert outline == "solid3px", (reached[-1], outline)
    for id in ("skip", "channel", "watch", "stop", "message", "type", "publish", "burst", "pause", "clear"):
        assert id in reached, reached
    wanted = [id for id in reached if id in ("channel", "message", "publish", "pause")]
    assert wanted[:4] == ["channel", "message", "publish", "pause"]


CONTRAST = """
const luminance = c => { const f = x => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; }; return .2126 * f(c[0]) + .7152 * f(c[1]) + .0722 * f(c[2]); };
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const ground = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const low = [];
for (const e of document.querySelectorAll('body *')) {
  if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
  const a = luminance(numbers(getComputedStyle(e).color)), b = luminance(ground(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) low.push([e.tagName, e.id, ratio]);
}
return [low, getComputedStyle(document.documentElement).backgroundColor];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_enough_contrast(page, shared, channel, scheme):
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    page["publish"].click()
    shared.publish(channel, "x", type="t")
    eventually(lambda: len(page.rows()) >= 1)
    for state in ("connecting", "live", "reconnecting", "closed"):
        page.script("document.getElementById('state').dataset.state = arguments[0]", state)
        low, ground = page.script(CONTRAST)
        assert low == [], (state, low)
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) == (scheme == "light")
