"""One real node process with its own loopback ports."""

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import random
import resource
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HOST = "127.0.0.1"
# How many seconds any step may take before it counts as hung. A wait ends when its condition is true, so only a failure takes this long.
PATIENCE = 90
# These ports are below the range of outgoing connections, so that a restarted node can use the same ports again.
PORTS = range(12000, 32000)


# The function is looked up before any fork, because the child of a process with threads must not load a library.
PRCTL = ctypes.CDLL(None).prctl
PR_SET_PDEATHSIG = 1


def die_with_parent(number=signal.SIGKILL):
    """Must be called in a child process before exec. The child then gets this signal when the thread that started it ends."""
    PRCTL(PR_SET_PDEATHSIG, number)


def binary() -> str:
    """The path of the binary under test."""
    given = os.environ.get("REALERTIME_BINARY")
    if given:
        return str(Path(given).resolve())
    builds = Path(__file__).resolve().parents[3] / ".build"
    for kind in ("release", "debug"):
        if (builds / kind / "realertime").is_file():
            return str(builds / kind / "realertime")
    raise RuntimeError("Build realertime first (swift build), or set REALERTIME_BINARY to the path of its binary.")


class Port:
    """A port that no other test uses until it is released, in any process."""

    def __init__(self):
        folder = Path(tempfile.gettempdir()) / f"realertime-test-ports-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        for number in random.SystemRandom().sample(PORTS, 500):
            lock = open(folder / str(number), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((HOST, number))
            except OSError:
                lock.close()
                continue
            self.number, self.lock = number, lock
            return
        raise RuntimeError("no free port")

    def release(self):
        self.lock.close()


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error's code. Fails if the body is not a documented error."""
        error = self.json["error"]
        assert set(error) == {"code", "message"} and error["message"], error
        return error["code"]

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body[:300]!r}>"


class Node:
    def __init__(self, folder, *flags, env=None, descriptors=None):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.output = self.folder / "output.log"
        self.flags = list(flags)
        self.env = env or {}
        self.descriptors = descriptors
        self.ports = Port(), Port()
        self.api_host = HOST
        # For unusual environments: the beginning of the command line, and further options of Popen.
        self.prefix, self.popen = [], {}
        self.process = None

    @property
    def listen(self):
        return self.ports[0].number

    @property
    def api(self):
        return self.ports[1].number

    # MARK: the process

    def command(self, *flags):
        return [
            *self.prefix, binary(), "node", "--listen", f"{HOST}:{self.listen}", "--api", f"{self.api_host}:{self.api}", "--data", str(self.data),
            *self.flags, *flags,
        ]

    @property
    def environment(self):
        return {k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")} | self.env

    def fails(self, *flags):
        """Runs the node with additional flags, and waits until it ends. Returns the exit code and the output."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([*self.command(), *flags], env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def start(self, *flags, ready=True):
        """Must be called on the main thread: the node dies with the thread that started it, so that no process remains after the tests."""
        assert self.process is None or self.process.poll() is not None, "the node runs already"
        def prepare():
            die_with_parent()
            # SIGHUP is not ignored, as in a terminal, even if the tests run under nohup.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            if self.descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.output, "ab") as output:
            given = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "env": self.environment, "preexec_fn": prepare, **self.popen}
            self.process = subprocess.Popen(self.command(*flags), **given)
        if ready:
            self.wait_ready()
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        last = None
        while time.monotonic() < deadline:
            assert self.running, f"the node ended with {self.process.returncode}:\n{self.tail()}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                last = self.get("/readyz", timeout=15)
                if last.status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the node was not ready within {seconds} s: {last}\n{self.tail()}")

    def kill(self):
        """Kills the node like `kill -9`."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def terminate(self, seconds=PATIENCE):
        """Sends SIGTERM, waits until the node ends, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def restart(self, *flags):
        """Kills the node like `kill -9`, if it runs, and starts it again with the same ports and folder."""
        if self.running:
            self.kill()
        return self.start(*flags)

    def close(self):
        if self.running:
            self.kill()
        for port in self.ports:
            port.release()

    def tail(self, characters=4000):
        text = self.output.read_text(errors="replace") if self.output.exists() else ""
        return text[-characters:]

    def descriptor_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # MARK: its API

    def request(self, method, target, body=None, headers=None, *, port=None, timeout=PATIENCE):
        connection = http.client.HTTPConnection(HOST, port or self.api, timeout=timeout)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, target, headers=None, **options):
        return self.request("GET", target, None, headers, **options)

    def post(self, target, body=b"", headers=None, **options):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        return self.request("POST", target, body, headers, **options)

    def publish(self, channels, data, *, type=None, message_id=None, headers=None):
        """Publishes one event. Fails if the response is not 200. Returns the response's JSON."""
        headers = dict(headers or {})
        if type is not None:
            headers["Event-Type"] = type
        if message_id is not None:
            headers["Message-Id"] = message_id
        names = channels if isinstance(channels, str) else "/".join(channels)
        if not isinstance(data, (bytes, str)):
            data = json.dumps(data)
        reply = self.post(f"/pub?id={names}", data.encode() if isinstance(data, str) else data, headers)
        assert reply.status == 200, reply
        return reply.json

    def status(self):
        reply = self.get("/api/status")
        assert reply.status == 200, reply
        return reply.json

    def get_or_none(self, path):
        try:
            return self.get(path)
        except OSError:
            return None

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.split(" ")[0] == name:
                return float(line.split(" ")[1])
        raise KeyError(name)

    def history(self, channel, **options):
        reply = self.post("/api/history", {"channel": channel, "limit": 1000, **options})
        assert reply.status == 200, reply
        return reply.json["result"]

    def everything(self, channel):
        """Reads all publications of a channel, in portions."""
        head = self.history(channel, limit=0)
        found, since = [], f"{head['epoch']}-0"
        while True:
            portion = self.history(channel, since=since)
            assert "gap" not in portion, portion["gap"]
            if not portion["publications"]:
                return found
            found += portion["publications"]
            since = found[-1]["id"]

    def subscribers(self, channel):
        reply = self.post("/api/presence_stats", {"channel": channel})
        assert reply.status == 200, reply
        return reply.json["result"]["subscribers"]

    def healthy(self):
        """Checks that both ports respond."""
        for port in (self.listen, self.api):
            reply = self.get("/healthz", port=port)
            assert reply.status == 200 and reply.body.strip() == b"ok", reply


def eventually(condition, seconds=PATIENCE, every=0.02):
    """Waits until the condition returns a true value, and returns the value. Checks once more after the deadline, because this process may have been paused."""
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline
        value = condition()
        if value:
            return value
        if late:
            raise AssertionError(f"the condition was not true within {seconds} s; its last value was {value!r}")
        time.sleep(every)
