"""A real ZooKeeper and real nodes that form a cluster."""

import http.client
import socket
import subprocess
from collections import Counter

from harness.node import HOST, Node, PATIENCE, Port, die_with_parent, eventually

CLASSPATH = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
# The default session timeout in seconds. It is longer than a busy machine delays a process, so that a node loses its session only if the test intends this.
SESSION = 20


class ZooKeeper:
    """One ZooKeeper server. Its process dies with the test process."""

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
        config.write_text("\n".join(self.configuration(self.folder / "data")) + "\n")
        self.run(config)
        eventually(lambda: self.mode)
        return self

    def configuration(self, data):
        return [
            "tickTime=500", "maxSessionTimeout=60000", f"dataDir={data}", f"clientPort={self.port.number}", f"clientPortAddress={HOST}",
            "maxClientCnxns=0", "admin.enableServer=false"]

    def run(self, config):
        with open(self.folder / "output.log", "ab") as output:
            self.process = subprocess.Popen(
                ["java", "-Xms48m", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                 "-Dzookeeper.forceSync=no", "-cp", CLASSPATH, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent)

    @property
    def mode(self):
        """standalone, leader or follower; None while the server serves no client."""
        if self.process is None or self.process.poll() is not None:
            return None
        try:
            # A connection made before the server is ready never gets a response, so the timeout is short.
            with socket.create_connection((HOST, self.port.number), 1) as s:
                s.sendall(b"srvr")
                text = b""
                while chunk := s.recv(4096):
                    text += chunk
        except OSError:
            return None
        return next((line.split()[1] for line in text.decode().splitlines() if line.startswith("Mode:")), None)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        self.port.release()


class Member(Node):
    def __init__(self, folder, zookeeper, name, *flags, session=SESSION, **options):
        super().__init__(folder, *flags, **options)
        self.name, self.session = name, session
        self.zookeeper = zookeeper
        self.link = Port()

    def command(self, *flags):
        return super().command(
            "--id", self.name, "--zookeeper", self.zookeeper, "--cluster", "test", "--link", f"{HOST}:{self.link.number}",
            "--zookeeper-session-seconds", str(self.session), *(() if {"--log", "--redis"} & {*self.flags, *flags} else ("--log", "memory")), *flags)

    def close(self):
        super().close()
        self.link.release()

    def get_json(self, path):
        """The response's JSON; None without a response, or after a refusal."""
        try:
            reply = self.get(path)
        except (OSError, http.client.HTTPException):
            return None
        return reply.json if reply.status == 200 else None

    def authoritative(self, path):
        """Waits for the controller's response through this node. While the controller is slow, this node responds with the data that it has itself."""
        def response():
            reply = self.get_json(path)
            return reply if reply and reply.get("authoritative", True) else None
        return eventually(response)

    def owners(self):
        """The owner of each partition, from the cluster's response through this node."""
        return {p["partition"]: p.get("owner") for p in self.authoritative("/api/partitions")["partitions"]}


class Cluster:
    PARTITIONS = 256

    def __init__(self, folder):
        self.folder = folder
        self.zookeeper = ZooKeeper(folder).start()
        self.members = {}

    def add(self, name, *flags, ready=True, **options):
        member = self.members.get(name) or Member(self.folder / name, self.zookeeper.address, name, *flags, **options)
        self.members[name] = member
        member.start(ready=ready)
        return member

    def running(self):
        return [m for m in self.members.values() if m.running]

    def settled(self, names, seconds=2 * PATIENCE):
        """Waits until exactly these nodes own all partitions evenly, and all of these nodes report it. Returns the owners."""
        last, counts, owners = {}, Counter(), {}

        def check():
            nonlocal counts, owners
            for name in names:
                status = self.members[name].get_json("/api/cluster")
                last[name] = status
                if not status or not status["authoritative"] or status["nodes"]["active"] != len(names) or status["nodes"]["joining"]:
                    return False
                parts = status["partitions"]
                if parts["served"] != self.PARTITIONS or parts["contested"]:
                    return False
            if len({s["view_version"] for s in last.values()}) != 1:
                return False
            owners = self.members[names[0]].owners()
            counts = Counter(owners.values())
            return set(counts) == set(names) and max(counts.values()) - min(counts.values()) <= 1
        try:
            eventually(check, seconds)
        except AssertionError:
            raise AssertionError(f"the partitions are not evenly owned: {counts} {last}") from None
        return owners

    def close(self):
        for member in self.members.values():
            member.close()
        self.zookeeper.close()


def moved(before, after):
    return sum(before[p] != after[p] for p in before)


def health(member, wanted):
    """Waits until the cluster reports this health through this member. A failure shows the last report."""
    last = {}

    def check():
        last.update(member.get_json("/api/cluster") or {})
        return last.get("health") == wanted
    try:
        eventually(check)
    except AssertionError:
        raise AssertionError(f"the cluster is not {wanted}: {last}") from None
