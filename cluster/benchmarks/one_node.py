"""The rows for one node, beside nchan: the same load tool, alternating runs, one core for the server and one for the load tool."""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from harness.node import die_with_parent

from . import load as loads
from . import machine

SERVER_CPU, LOAD_CPU = "0", "1"


def free_ports(count=1):
    """All sockets are open until the last one is bound: the system may give out a closed socket's port again."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(port, process, name):
    for _ in range(500):
        if process.poll() is not None:
            sys.exit(f"{name} ended with exit status {process.returncode} before it listened on port {port}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.01)
    sys.exit(f"{name} does not listen on port {port}")


class Server:
    """A realertime or nchan server on the server's core. It is stopped by its process id, also after a failure."""

    def __init__(self, folder):
        self.folder = tempfile.mkdtemp(dir=folder)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        return [self.process.pid, *machine.children(self.process.pid)]

    def resident(self):
        return sum(machine.resident(pid) for pid in self.pids())


class Realertime(Server):
    name = "realertime"

    def __init__(self, folder, log="memory"):
        super().__init__(folder)
        self.log = log

    def start(self):
        self.listen, self.api = free_ports(2)
        begun = time.monotonic()
        self.process = subprocess.Popen(
            ["taskset", "-c", SERVER_CPU, BINARY, "node", "--loops", "1", "--log", self.log, "--data", self.folder + "/data",
             "--listen", f"127.0.0.1:{self.listen}", "--api", f"127.0.0.1:{self.api}", "--log-level", "error"])
        wait_for(self.listen, self.process, "realertime")
        self.start_seconds = time.monotonic() - begun

    def target(self):
        return ["--url", f"http://127.0.0.1:{self.listen}", "--api", f"http://127.0.0.1:{self.api}", "--pid", str(self.process.pid)]


class Nchan(Server):
    """One nginx worker with nchan. Without `redis` it stores events in memory."""

    name = "nchan"

    def __init__(self, folder, redis=None, cpu=SERVER_CPU):
        super().__init__(folder)
        self.redis, self.cpu = redis, cpu

    def start(self):
        [self.port] = free_ports()
        config = self.folder + "/nginx.conf"
        # All instances and Redis together are one server to publishers and subscribers.
        upstream = f"upstream redis {{ nchan_redis_server {self.redis}; }}" if self.redis else ""
        pass_to_redis = "nchan_redis_pass redis;" if self.redis else ""
        with open(config, "w") as f:
            f.write(f"""
worker_processes 1; daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log error;
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_rlimit_nofile 20000;
events {{ worker_connections 19500; }}
http {{
  access_log off; keepalive_requests 1000000000; nchan_shared_memory_size 512M;
  {upstream}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location = /pub {{ nchan_publisher; {pass_to_redis} nchan_channel_id $arg_id; nchan_message_buffer_length 100; nchan_message_timeout 5m; }}
    location = /sub {{
      nchan_subscriber eventsource websocket; {pass_to_redis} nchan_channel_id $arg_id; nchan_subscriber_first_message newest;
    }}
  }}
}}""")
        pin = ["taskset", "-c", self.cpu] if self.cpu else []
        # The master process must end by SIGTERM: it then ends its worker.
        self.process = subprocess.Popen([*pin, "nginx", "-c", config, "-p", self.folder], preexec_fn=lambda: die_with_parent(signal.SIGTERM))
        wait_for(self.port, self.process, "nginx")

    def subscribe_target(self):
        return ["--subscribe-url", f"http://127.0.0.1:{self.port}/sub?id={{channel}}", "--header", "Accept: text/event-stream"]

    def publish_target(self):
        return ["--publish-url", f"http://127.0.0.1:{self.port}/pub?id={{channel}}"]

    def target(self):
        return [*self.subscribe_target(), *self.publish_target(), "--pid", str(self.process.pid), "--pid-children"]


def load(server, *options):
    before = machine.steal((SERVER_CPU, LOAD_CPU))
    result = loads.run(LOAD_BINARY, ["--pin", LOAD_CPU, *server.target()], options)
    result["resident_end"] = server.resident()
    result["steal_percent"] = machine.steal_percent(before, (SERVER_CPU, LOAD_CPU))
    return result


# Each function reads one metric from the result of a run.
def p50(r): return loads.latency(r, "delivery", "p50")
def p99(r): return loads.latency(r, "delivery", "p99")
def second_p99(r): return loads.latency(r, "delivery_by_second", "p99_median")
def worst_p99(r): return loads.latency(r, "delivery_by_second", "p99_worst")
def ack99(r): return loads.latency(r, "acknowledge", "p99")
def connects(r): return r["connections"]["per_second"]
def bytes_each(r): return r["server"]["bytes_per_subscriber"]
def cpu(r): return r["server"]["cpu_percent"]
def stolen(r): return r["steal_percent"]


FAN = [("deliveries/s", loads.deliveries), ("published, % of the requested rate", loads.asked), ("p50 ms", p50), ("p99 ms", p99), ("p99 ms of the median second", second_p99), ("p99 ms of the worst second", worst_p99),
       ("lost", loads.wrong)]
ROWS = {
    "hot": ("5,000 subscribers, one channel, 400 events/s", FAN, ["-n", "5000", "--hot", "--publishers", "64", "-r", "400", "-d", "8", "--warm-up", "2"]),
    "hot800": ("the same, 800 events/s", FAN, ["-n", "5000", "--hot", "--publishers", "64", "-r", "800", "-d", "8", "--warm-up", "2"]),
    "calm": ("1,000 subscribers, one channel, 10 events/s", FAN + [("CPU %", cpu)], ["-n", "1000", "-c", "1", "-r", "10", "-d", "10"]),
    # A pass over the subscribers ends before the next event arrives, so no write carries two events.
    "single": ("8,000 subscribers, one channel, 10 events/s, one write an event", FAN + [("CPU %", cpu)],
               ["-n", "8000", "-c", "1", "-r", "10", "-d", "15", "--warm-up", "3"]),
    "many": ("10,000 subscribers, 5,000 channels, 10,000 publishes/s", FAN + [("CPU %", cpu)],
             # The run is longer than a node keeps encoded events (10 s), and longer than a heartbeat interval (25 s). So the result includes both costs.
             ["-n", "10000", "-c", "5000", "-r", "10000", "--publishers", "64", "-d", "30", "--warm-up", "15"]),
    # 1.7 events a second in each channel, to 12 or 13 subscribers.
    "websocket": ("18,000 WebSocket subscribers, 1,440 channels, 2,448 publishes/s of 512 bytes", FAN + [("CPU %", cpu)],
                  ["--transport", "ws", "-n", "18000", "-c", "1440", "-r", "2448", "--payload-bytes", "512", "--publishers", "64", "-d", "30", "--warm-up", "5"]),
    "idle": ("15,000 idle subscribers", [("bytes each", bytes_each)], ["-n", "15000", "-c", "1", "-r", "0", "--hold", "3"]),
    "accept": ("connect, get a response, disconnect: 60,000 times", [("connects/s", connects)], ["--churn", "60000", "-c", "1", "--churn-reset"]),
    "publish": ("publishes without subscribers, 64 connections", [("publishes/s", loads.acknowledged), ("p99 ms", ack99)],
                ["-n", "0", "-c", "1000", "--publishers", "64", "-r", "max", "-d", "6"]),
}
# The rows that also measure a node with its log on disk.
DISK = {"many", "websocket", "publish"}


def start_row(folder):
    """Measures start and size of realertime only: three starts on an empty folder."""
    runs = []
    for _ in range(3):
        with Realertime(folder, "sqlite") as server:
            # The node listens already, and is ready soon after.
            time.sleep(0.5)
            runs.append((server.start_seconds, server.resident()))
    size = os.path.getsize(BINARY)
    return {"seconds": statistics.median(s for s, _ in runs), "resident_mib": statistics.median(r for _, r in runs) / 2**20, "binary_mib": size / 2**20}


def leak_row(folder):
    """Measures the memory before and after 200,000 connects, and before and after a million events."""
    with Realertime(folder, "sqlite") as server:
        load(server, "--churn", "20000", "-c", "1", "--churn-reset")
        warm = server.resident()
        load(server, "--churn", "200000", "-c", "1", "--churn-reset")
        churned = server.resident()
        load(server, "-n", "100", "-c", "100", "-r", "10000", "--publishers", "64", "-d", "20", "--warm-up", "0")
        some = server.resident()
        load(server, "-n", "100", "-c", "100", "-r", "10000", "--publishers", "64", "-d", "100", "--warm-up", "0")
        million = server.resident()
        return {"mib_after_20k_connects": warm / 2**20, "mib_after_220k_connects": churned / 2**20, "mib_after_0.2m_events": some / 2**20,
                "mib_after_1.2m_events": million / 2**20}


def run_row(name, rounds, folder):
    """Measures all servers in each round, so that a slow change of the machine's speed affects all of them."""
    _, _, options = ROWS[name]
    servers = [("memory", lambda: Realertime(folder)), ("nchan", lambda: Nchan(folder))]
    if name in DISK:
        servers.insert(1, ("disk", lambda: Realertime(folder, "sqlite")))
    runs = {label: [] for label, _ in servers}
    for number in range(rounds):
        for label, make in servers if number % 2 == 0 else servers[::-1]:
            with make() as server:
                runs[label].append(load(server, *options))
            last = runs[label][-1]
            note = "" if last["generator"]["ok"] else f"  (the load tool was the bottleneck: {', '.join(last['generator']['bottlenecks'])})"
            print(f"  {name} {label} round {number + 1}, steal {last['steal_percent']:.1f} %{note}", file=sys.stderr)
    return runs


def number(value):
    if value != value:
        return "saturated"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 or value == 0 else f"{value:.2f}"


def table(results):
    lines = ["| work | metric | realertime, memory | realertime, disk | nchan, memory | ratio to nchan |", "|---|---|---|---|---|---|"]
    for name, runs in results.items():
        title, metrics, _ = ROWS[name]
        for label, read in metrics + [("steal %", stolen)]:
            median = {server: statistics.median(read(r) for r in rs) for server, rs in runs.items()}
            ratio = ""
            if read is not stolen and median["nchan"] and median["nchan"] == median["nchan"]:
                ratio = f"{median['memory'] / median['nchan']:.2f}"
            lines.append(f"| {title} | {label} | {number(median['memory'])} | {number(median['disk']) if 'disk' in median else ''} | {number(median['nchan'])} | {ratio} |")
            title = ""
    return "\n".join(lines)


OTHER_ROWS = {
    "start": ("time from start to serving, memory, size", start_row),
    "leak": ("memory before and after 200,000 connects and a million events", leak_row),
}
TITLES = {name: title for name, (title, *_) in [*ROWS.items(), *OTHER_ROWS.items()]}
# The rows that are measured if none is named.
DEFAULT = TITLES


def measure(names, options, binary):
    """Measures the rows, and prints the results."""
    global BINARY, LOAD_BINARY
    BINARY, LOAD_BINARY = binary, options.load_binary or binary
    rounds = options.rounds or 3
    results, single = {}, {}
    folder = tempfile.mkdtemp(prefix="realertime-benchmark-")
    try:
        for name in names:
            if name in ROWS:
                results[name] = run_row(name, rounds, folder)
            else:
                single[name] = OTHER_ROWS[name][1](folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    description = machine.describe() + ", one core for the server and one for the load tool"
    if options.output == "json":
        print(json.dumps({"machine": description, "rows": results, **single}))
        return
    print(f"{description}; medians of {rounds} alternating rounds\n")
    if results:
        print(table(results))
    for name, metrics in single.items():
        print(f"\n{name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.2f}" for key, value in metrics.items()))
