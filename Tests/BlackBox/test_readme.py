"""The examples of README.md work when they are pasted."""

import contextlib
import http.server
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from harness.node import HOST, PATIENCE, Port, binary, eventually
from test_page import CHROMEDRIVER, CHROMIUM, chromium  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def block(language, number):
    return [text for name, text in BLOCKS if name == language][number]


def test_readme_has_exactly_these_blocks():
    """Fails when a block is added, so that the new block gets a test."""
    assert [name for name, _ in BLOCKS] == ["sh", "sh", "js"]


@pytest.fixture
def ports():
    ports = Port(), Port()
    yield [port.number for port in ports]
    for port in ports:
        port.release()


def placed(text, ports):
    """Returns the text with this test's ports instead of the default ports."""
    return text.replace(":8080", f":{ports[0]}").replace(":8081", f":{ports[1]}")


class Shell:
    """A block pasted into a shell that ends at the first failing line."""

    def __init__(self, text, folder, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")}
        self.process = subprocess.Popen(
            ["bash", "-e", "-c", text], cwd=folder, env=clean | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        self.text = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while piece := os.read(self.process.stdout.fileno(), 65536):
            self.text += piece.decode(errors="replace")

    def until(self, *words):
        def seen():
            if all(word in self.text for word in words):
                return True
            assert self.process.poll() is None, f"the shell ended with {self.process.returncode}: {self.text}"
        eventually(seen)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.reader.join(30)
        self.process.stdout.close()


def test_the_first_steps(tmp_path, ports):
    shutil.copytree(ROOT / "cluster", tmp_path / "cluster")
    (tmp_path / ".build/release").mkdir(parents=True)
    (tmp_path / ".build/release/realertime").symlink_to(binary())
    env = {"REALERTIME_LISTEN": f"{HOST}:{ports[0]}", "REALERTIME_API": f"{HOST}:{ports[1]}"}
    node = Shell(block("sh", 0), tmp_path, REALERTIME_BINARY=binary(), **env)
    try:
        node.until("A node runs here", f"http://{HOST}:{ports[1]}/", f"{tmp_path}/realertime-data")
        steps = Shell(placed(block("sh", 1), ports), tmp_path, REALERTIME_URL=f"http://{HOST}:{ports[0]}", REALERTIME_API_URL=f"http://{HOST}:{ports[1]}")
        try:
            # The last command does not end. All commands before it have ended.
            steps.until("retry: ", 'data: {"hello":"world"}', 'data: {"hello":"curl"}')
            assert '{"hello":"world"}\n{"hello":"curl"}\n' in steps.text, steps.text
        finally:
            steps.close()
    finally:
        node.close()


@pytest.mark.skipif(not (os.path.exists(CHROMIUM) and os.path.exists(CHROMEDRIVER)), reason="needs Debian's chromium and chromium-driver")
def test_a_page_of_your_own(nodes, chromium):  # noqa: F811
    class Blank(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a page of your own</title>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((HOST, 0), Blank)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://{HOST}:{server.server_port}"
    try:
        node = nodes.make("--cors-origins", origin)
        chromium.get(origin)
        chromium.execute_script("window.shown = []; console.log = (message) => shown.push(message);")
        chromium.execute_script("const script = document.createElement('script'); script.textContent = arguments[0]; document.head.append(script);",
                                placed(block("js", 0), (node.listen, node.api)))
        eventually(lambda: node.subscribers("demo") == 1)
        node.publish("demo", {"n": 1})
        node.publish("demo", {"n": 2}, type="comment")
        shown = eventually(lambda: len(found := chromium.execute_script("return shown")) == 2 and found)
        assert [(message["channel"], message.get("type"), message["data"]) for message in shown] == [("demo", None, {"n": 1}), ("demo", "comment", {"n": 2})]
    finally:
        chromium.get("about:blank")
        server.shutdown()
        server.server_close()
