"""A real ZooKeeper and real nodes that form a cluster."""

import ctypes
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter

from harness.node import HOST, Node, Port, eventually

CLASSPATH = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"


class ZooKeeper:
    """One server, in a process that dies with this one."""

    def __init__(self, folder):
        self.folder = folder / "zookeeper"
        self.port = Port()
        self.process = None

    @property
    def address(self):
        return f"{HOST}:{self.port.number}"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "zoo.cfg"
        config.write_text(
            f"tickTime=500\ndataDir={self.folder}/data\nclientPort={self.port.number}\nclientPortAddress={HOST}\n"
            "maxClientCnxns=0\nadmin.enableServer=false\n")
        with open(self.folder / "output.log", "ab") as output:
            self.process = subprocess.Popen(
                ["java", "-Xms48m", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                 "-Dzookeeper.forceSync=no", "-cp", CLASSPATH, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))
        eventually(self.serves, 30)
        return self

    def serves(self):
        try:
            with socket.create_connection((HOST, self.port.number), 1) as s:
                s.sendall(b"srvr")
                return b"Mode" in s.recv(1000)
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        self.port.release()


class Member(Node):
    def __init__(self, folder, zookeeper, name, *flags, **options):
        super().__init__(folder, *flags, **options)
        self.name = name
        self.zookeeper = zookeeper
        self.link = Port()

    def command(self, *flags):
        return super().command(
            "--id", self.name, "--zookeeper", self.zookeeper, "--cluster", "test", "--link", f"{HOST}:{self.link.number}",
            "--zookeeper-session-seconds", "3", *flags)

    def close(self):
        super().close()
        self.link.release()

    def ask(self, path):
        try:
            reply = self.get(path)
        except OSError:
            return None
        return reply.json if reply.status == 200 else None

    def owners(self):
        """Partition to owner, as the cluster says through this node."""
        return {p["partition"]: p.get("owner") for p in self.ask("/api/partitions")["partitions"]}


class Cluster:
    PARTITIONS = 256

    def __init__(self, folder):
        self.folder = folder
        self.zookeeper = ZooKeeper(folder).start()
        self.members = {}

    def add(self, name, *flags, ready=True):
        member = self.members.get(name) or Member(self.folder / name, self.zookeeper.address, name, *flags)
        self.members[name] = member
        member.start(ready=ready)
        return member

    def running(self):
        return [m for m in self.members.values() if m.running]

    def settled(self, names, seconds=40):
        """Waits until exactly these own everything, evenly, and everyone agrees. Answers the owners."""
        last, counts = {}, Counter()

        def check():
            nonlocal counts
            for name in names:
                status = self.members[name].ask("/api/cluster")
                last[name] = status
                if not status or not status["authoritative"] or status["nodes"]["active"] != len(names) or status["nodes"]["joining"]:
                    return False
                parts = status["partitions"]
                if parts["served"] != self.PARTITIONS or parts["contested"]:
                    return False
            if len({s["view_version"] for s in last.values()}) != 1:
                return False
            counts = Counter(self.members[names[0]].owners().values())
            return set(counts) == set(names) and max(counts.values()) - min(counts.values()) <= 1
        try:
            eventually(check, seconds)
        except AssertionError:
            raise AssertionError(f"not settled: {counts} {last}") from None
        return self.members[names[0]].owners()

    def close(self):
        for member in self.members.values():
            member.close()
        self.zookeeper.close()


def moved(before, after):
    return sum(before[p] != after[p] for p in before)
