"""The scripts of the folder cluster. `cluster/up` starts a complete cluster, or leaves nothing running."""

import fcntl
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness.node import HOST, PATIENCE, binary

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"


class Scripts:
    """The scripts with free ports, in a separate folder, so that they find no other cluster."""

    def __init__(self, folder, binary):
        shutil.copytree(CLUSTER, folder / "cluster")
        self.folder = folder
        self.binary = binary
        # These ports are below the range of outgoing connections. ZooKeeper's port is 4,101 higher, and is never the first port of another test.
        self.base, self.lock = next(filter(None, map(self.take, range(24000, 27900, 100))))

    @staticmethod
    def take(base):
        """Reserves the ports of a cluster. Returns None if a port is in use, or if another test has reserved these ports."""
        lock = open(Path(tempfile.gettempdir()) / f"realertime-test-cluster-{base}", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for port in [base + step for step in range(23)] + [base + 4101]:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((HOST, port))
        except OSError:
            lock.close()
            return None
        return base, lock

    def run(self, name, *arguments, timeout=150):
        env = {k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")} | {"REALERTIME_BINARY": str(self.binary)}
        done = subprocess.run(
            [self.folder / "cluster" / name, *arguments], capture_output=True, text=True, timeout=timeout, env=env, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def up(self, *arguments):
        return self.run("up", *arguments, "--port", str(self.base))

    def processes(self):
        """Returns the command lines of the processes that run from this folder."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") if entry.name.isdigit() else ""
            except OSError:
                continue
            if str(self.folder / "realertime-cluster") in line:
                found.append(line)
        return found


@pytest.fixture
def scripts(tmp_path):
    scripts = Scripts(tmp_path, binary())
    yield scripts
    scripts.run("down")
    assert scripts.processes() == []
    scripts.lock.close()


def test_up_and_down(scripts):
    code, out, err = scripts.up("2")
    assert code == 0, (out, err)
    # ZooKeeper, Redis and two nodes.
    assert f"--api http://127.0.0.1:{scripts.base + 1}" in out and len(scripts.processes()) == 4
    assert "Publishing at n2, receiving at n1" in out
    code, out, err = scripts.run("status")
    assert code == 0 and "2 active" in out, (out, err)
    code, out, err = scripts.up()
    assert code == 1 and "There is a cluster already" in err
    code, out, _ = scripts.run("pause", "--resume", "n2")
    assert code == 0 and "n2 is not paused" in out
    # `cluster/kill --start` starts the node with REALERTIME_BINARY in the environment, as at its first start.
    assert scripts.run("kill", "n2")[0] == 0
    code, out, err = scripts.run("kill", "--start", "n2")
    assert code == 0 and "n2 runs again" in out and len(scripts.processes()) == 4, (out, err)
    assert scripts.run("down")[0] == 0
    assert scripts.processes() == [] and not (scripts.folder / "realertime-cluster").exists()
    code, _, err = scripts.run("status")
    assert code == 1 and "There is no cluster" in err


def test_up_ends_with_an_even_cluster(scripts):
    code, out, err = scripts.up("3", "--log", "memory")
    assert code == 0, (out, err)
    assert len(scripts.processes()) == 4, "ZooKeeper and three nodes"
    header, *rows = [line.split() for line in out.splitlines() if re.match(r"ST |[A-Z]{2}  n\d", line)]
    assert sorted(row[header.index("OWNS")] for row in rows) == ["85", "85", "86"], out


def test_relative_paths_are_the_callers(scripts, tmp_path):
    """Relative paths in the options of `cluster/run` begin at the caller's folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "node.yaml").write_text(f"listen: {HOST}:{scripts.base}\napi: {HOST}:{scripts.base + 1}\ndata: here\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")} | {"REALERTIME_BINARY": str(scripts.binary)}
    def start(*arguments):
        return subprocess.Popen([scripts.folder / "cluster/run", *arguments], cwd=elsewhere, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    missing = start("--config", "nothing.yaml")
    out, _ = missing.communicate(timeout=PATIENCE)
    assert missing.returncode == 64 and f"nothing.yaml does not exist (a relative path starts at {elsewhere})" in out, out
    for log, history in ("sqlite", f"Its history is in {elsewhere}/here:"), ("memory", "Its history is in its memory"):
        node = start("--config", "node.yaml", "--log", log)
        try:
            seen = ""
            while "Ctrl-C stops it" not in seen:
                line = node.stdout.readline()
                assert line, seen
                seen += line
            assert history in seen and (elsewhere / "here").is_dir() and ("start it again" in seen) == (log == "sqlite"), seen
        finally:
            node.terminate()
            node.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("step, what", [(1, "n1's API"), (10, "n2's subscribers"), (4101, "zookeeper1"), (4400, "redis")])
@pytest.mark.parametrize("address", [HOST, "0.0.0.0", "::"])
def test_a_port_that_is_taken_is_named_before_anything_starts(scripts, step, what, address):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((address, scripts.base + step))
        other.listen()
        code, out, err = scripts.up("2")
    assert code == 1 and f"Port {scripts.base + step}, for {what}, is taken by process {os.getpid()} (" in err, (out, err)
    assert err.count("is taken by") == 1 and "Starting" not in out
    assert scripts.processes() == [] and not (scripts.folder / "realertime-cluster").exists()


def test_if_one_node_does_not_start_all_are_stopped(scripts):
    wrapper = scripts.folder / "realertime"
    wrapper.write_text(f'#!/bin/bash\n[ "$1 ${{3##*/}}" != "node n2.yaml" ] || {{ echo "the disk is made of cheese"; exit 1; }}\nexec {binary()} "$@"\n')
    wrapper.chmod(0o755)
    scripts.binary = wrapper
    code, out, err = scripts.up("3")
    assert code == 1 and "the disk is made of cheese" in err and "n2 ended" in err, (out, err)
    assert scripts.processes() == [] and not (scripts.folder / "realertime-cluster").exists()
    logs = scripts.folder / "realertime-cluster-failed"
    assert "cheese" in (logs / "n2.log").read_text() and str(logs) in err
    # The next start is not affected.
    scripts.binary = binary()
    code, out, err = scripts.up("1")
    assert code == 0 and not logs.exists(), (out, err)


def test_an_interrupted_up_leaves_nothing(scripts):
    wrapper = scripts.folder / "realertime"
    # The node never joins, so `up` waits until it is interrupted.
    wrapper.write_text('#!/bin/bash\n[ "$1" = node ] || exit 3\nexec -a "$*" sleep 1000\n')
    wrapper.chmod(0o755)
    env = dict(os.environ, REALERTIME_BINARY=str(wrapper))
    process = subprocess.Popen(
        [scripts.folder / "cluster" / "up", "1", "--port", str(scripts.base)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    for _ in range(600):
        if len(scripts.processes()) >= 2:
            break
        time.sleep(0.05)
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143 and "Stopping what was started" in out, out
    assert scripts.processes() == [] and not (scripts.folder / "realertime-cluster").exists()


@pytest.mark.parametrize("name", ["up", "down", "status", "kill", "pause"])
def test_each_script_prints_its_help(scripts, name):
    code, out, err = scripts.run(name, "--help")
    assert (code, err) == (0, "") and out and f"cluster/{name}" in out + f"cluster/{name}" and "set -e" not in out


@pytest.mark.parametrize("arguments", [("0",), ("--port",), ("--port", "80"), ("--port", "x"), ("--what",)], ids=" ".join)
def test_wrong_usage_starts_nothing(scripts, arguments):
    code, out, err = scripts.run("up", *arguments)
    assert code == 1 and err and out == ""
