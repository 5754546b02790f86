"""Causes faults from outside: a proxy that can be cut, an ensemble of ZooKeeper servers, and a witness that checks every node's reports."""

import contextlib
import http.client
import selectors
import shutil
import socket
import threading
import time

from .cluster import SESSION, Cluster, Member, ZooKeeper
from .node import HOST, PATIENCE, Port, eventually


class Proxy:
    """A proxy to a port of this machine.

    - After `silence` it forwards nothing and closes nothing.
    - After `one_way` it forwards only what the side that connected sends, or only what the target sends.
    - After `strand` the open connections are silent, and new connections work: the other side has forgotten the old ones.
    - After `slow` it forwards everything late, in small pieces.
    - After `shut` all connections and its port are closed.
    """

    def __init__(self, target):
        self.target, self.port = target, Port()
        # The ends whose other side connected to this proxy; the ends that were open when `strand` was called.
        self.near, self.stranded = set(), set()
        self.delay = 0
        self.selector = selectors.DefaultSelector()
        self.waker, self.wakened = socket.socketpair()
        self.wanted, self.done = "open", threading.Event()
        self.state = "open"
        self.listener, self.pairs = None, {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.listen()
        self.thread.start()
        assert self.done.wait(PATIENCE), "the proxy hangs"

    @property
    def address(self):
        return f"{HOST}:{self.port.number}"

    # MARK: for tests

    def open(self):
        self.become("open")

    def silence(self):
        self.become("silent")

    def one_way(self, to_target):
        self.become("to target" if to_target else "from target")

    def strand(self):
        self.become("strand")

    def slow(self, seconds):
        """Each piece of at most 4 KB waits this long."""
        self.delay = seconds
        self.become("slow")

    def shut(self):
        self.become("shut")

    def retarget(self, target):
        """Closes all connections. The next ones go to another port."""
        self.target = target
        self.become("shut")
        self.become("open")

    def close(self):
        if self.thread.is_alive():
            self.become("closed")
            self.thread.join(PATIENCE)
        self.port.release()

    def become(self, state):
        self.done.clear()
        self.wanted = state
        self.waker.send(b"x")
        assert self.done.wait(PATIENCE), "the proxy hangs"

    # MARK: on the thread

    def listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((HOST, self.port.number))
        self.listener.listen(64)

    def run(self):
        state = "open"
        while state != "closed":
            self.selector.close()
            self.selector = selectors.DefaultSelector()
            self.selector.register(self.wakened, selectors.EVENT_READ)
            # In the state silent the proxy reads nothing: sent data waits, as lost packets would, and only the kernel accepts new connections.
            self.state = state
            if state == "strand":
                self.stranded = set(self.pairs)
            else:
                # Connections that only one side still knows never work again.
                for end in self.stranded & self.pairs.keys():
                    if end in self.pairs:
                        self.drop(end)
                self.stranded = set()
            if state not in ("silent", "shut"):
                if self.listener is None:
                    self.listen()
                self.selector.register(self.listener, selectors.EVENT_READ)
                for end in self.pairs:
                    self.watch(end)
            elif state == "shut":
                self.drop_all()
            self.done.set()
            while not self.pass_on():
                pass
            state = self.wanted
        self.drop_all()
        self.wakened.close()
        self.waker.close()
        self.selector.close()
        self.done.set()

    def watch(self, end):
        """Forwards what this end sends, unless the state forbids it."""
        if end not in self.stranded and self.state != ("from target" if end in self.near else "to target"):
            self.selector.register(end, selectors.EVENT_READ)

    def pass_on(self):
        """Forwards data once. Returns true if the state has to change."""
        for key, _ in self.selector.select():
            if key.fileobj is self.wakened:
                self.wakened.recv(100)
                return True
            if key.fileobj is self.listener:
                self.accept()
            elif key.fileobj in self.pairs:
                self.copy(key.fileobj)
        return False

    def accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection((HOST, self.target), 10)
        except OSError:
            return near.close()
        self.near.add(near)
        for end, other in ((near, far), (far, near)):
            end.settimeout(10)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[end] = other
            self.watch(end)

    def copy(self, end):
        try:
            if self.state == "slow":
                time.sleep(self.delay)
            data = end.recv(4096 if self.state == "slow" else 65536)
            if data:
                return self.pairs[end].sendall(data)
        except OSError:
            pass
        self.drop(end)

    def drop(self, end):
        other = self.pairs.pop(end)
        del self.pairs[other]
        for one in (end, other):
            self.near.discard(one)
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(one)
            one.close()

    def drop_all(self):
        for end in list(self.pairs):
            if end in self.pairs:
                self.drop(end)
        if self.listener:
            self.listener.close()
            self.listener = None


class Server(ZooKeeper):
    """One server of an ensemble."""

    def __init__(self, folder, number):
        super().__init__(folder)
        self.folder = folder / f"zookeeper{number}"
        self.number = number
        self.peer_port, self.election_port = Port(), Port()

    def launch(self, ensemble):
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        (data / "myid").write_text(str(self.number))
        config = self.folder / "zoo.cfg"
        lines = [f"server.{s.number}={HOST}:{s.peer_port.number}:{s.election_port.number}" for s in ensemble]
        # The servers wait half a minute for a silent server. A server that dies closes its connections, so no test waits that long.
        config.write_text("\n".join([*self.configuration(data), "initLimit=60", "syncLimit=60", *lines, ""]))
        self.run(config)

    def close(self):
        super().close()
        self.peer_port.release()
        self.election_port.release()


class Ensemble:
    """Three servers. One of them may be down."""

    def __init__(self, folder):
        self.servers = [Server(folder, number) for number in (1, 2, 3)]

    @property
    def address(self):
        return ",".join(s.address for s in self.servers)

    def start(self):
        try:
            for server in self.servers:
                server.launch(self.servers)
            eventually(lambda: all(s.mode for s in self.servers))
        except BaseException:
            self.close()
            raise
        return self

    def leader(self):
        return eventually(lambda: next((s for s in self.servers if s.mode == "leader"), None))

    def close(self):
        for server in self.servers:
            server.close()


class FaultMember(Member):
    """A member, with access to the member's own data."""

    link_proxy = None

    def start(self, *flags, **options):
        if self.link_proxy:
            self.link_proxy.open()
        return super().start(*flags, **options)

    def kill(self):
        super().kill()
        self.did_end()

    def did_end(self):
        """The kernel refuses connections to a dead process, so the proxy refuses them too."""
        if self.link_proxy:
            self.link_proxy.shut()

    @property
    def own(self):
        """The node's own data about its membership, or None."""
        return (self.get_json("/api/status") or {}).get("cluster")

    @property
    def serving(self):
        """The number of partitions that the node reports as served; None without a report."""
        own = self.own
        return own["partitions"]["serving"] if own else None

    @property
    def events(self):
        """The events that the node returns: the controller's history, or its own history if it knows no controller."""
        return (self.get_json("/api/events") or {"events": []})["events"]


class FaultCluster(Cluster):
    """A cluster whose parts can be disconnected from each other."""

    def __init__(self, folder, zookeeper=None):
        self.folder, self.members, self.proxies, self.witness = folder, {}, [], None
        self.zookeeper = zookeeper or ZooKeeper(folder)
        try:
            self.zookeeper.start()
        except BaseException:
            self.close()
            raise

    def proxy(self, target):
        proxy = Proxy(target)
        self.proxies.append(proxy)
        return proxy

    def make(self, name, *flags, zookeeper=None, session=SESSION, link_proxy=False):
        """Creates a member without starting it. With `link_proxy` the other members can reach its link only through the proxy `member.link_proxy`."""
        member = FaultMember(self.folder / name, zookeeper or self.zookeeper.address, name, *flags, session=session)
        if link_proxy:
            member.link_proxy = self.proxy(member.link.number)
            member.flags += ["--link-advertise", member.link_proxy.address]
        self.members[name] = member
        return member

    def begin(self, *names, **options):
        """Creates missing members, starts these members one after the other, and waits until each running member has its share. Returns the owners.

        The first member of a new cluster is its controller. At the end a witness starts.
        """
        for name in names:
            if name not in self.members:
                self.make(name, **options)
            self.members[name].start()
        owners = self.settled([m.name for m in self.running()])
        if self.witness:
            self.witness.finish()
        self.witness = Witness(self.members.values())
        return owners

    def controller(self, through):
        """The member that is the controller, according to the node `through`."""
        return self.members[self.members[through].authoritative("/api/cluster")["controller"]["id"]]

    def epochs(self, through):
        return {p["partition"]: p["owner_epoch"] for p in self.members[through].authoritative("/api/partitions")["partitions"]}

    def incarnations(self, through):
        return {m["id"]: m.get("incarnation") for m in self.members[through].authoritative("/api/members")["members"]}

    def member_state(self, name, through):
        return next((m["state"] for m in (self.members[through].get_json("/api/members") or {"members": []})["members"] if m["id"] == name), None)

    def close(self):
        if self.witness:
            self.witness.stop()
        for member in self.members.values():
            member.close()
        for proxy in self.proxies:
            proxy.close()
        self.zookeeper.close()


class Witness:
    """Polls every node for the number of partitions that it serves, and for the version of its view.

    Under one view every partition has one owner. Take the greatest number that each node ever served under a view: the sum over all nodes is at most the
    number of partitions.
    """

    # How many seconds one response may take. A paused node sends no response, and the witness must notice when the node continues.
    PATIENCE = 15

    def __init__(self, members, every=0.05):
        self.members, self.every = list(members), every
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        # View version → node → the greatest number of partitions that the node served.
        self.most = {}
        self.faults = []
        self.looks = {m.name: 0 for m in self.members}
        self.threads = [threading.Thread(target=self.run, args=(m,), daemon=True) for m in self.members]
        for thread in self.threads:
            thread.start()

    def run(self, member):
        last = (None, 0)
        try:
            while not self.stopping.wait(self.every):
                last = self.look(member, last)
        except BaseException as error:
            self.faults.append(f"polling {member.name} ended with {error!r}")

    def look(self, member, last):
        process = member.process.pid
        try:
            own = member.get("/api/status", timeout=self.PATIENCE).json.get("cluster")
            whole = member.get("/api/cluster", timeout=self.PATIENCE)
            contested = whole.status == 200 and whole.json["partitions"]["contested"]
        except (OSError, http.client.HTTPException, ValueError):
            return last
        with self.lock:
            self.looks[member.name] += 1
            # If the node was restarted during the request, it is unknown which of the two processes responded.
            if own and member.process.pid == process:
                version, serving = own["view_version"], own["partitions"]["serving"]
                if last[0] == process and version < last[1]:
                    self.faults.append(f"{member.name} went back from view {last[1]} to {version}")
                last = (process, version)
                most = self.most.setdefault(version, {})
                most[member.name] = max(most.get(member.name, 0), serving)
                if sum(most.values()) > Cluster.PARTITIONS:
                    self.faults.append(f"under view {version} the nodes served more partitions than exist: {most}")
            if contested:
                self.faults.append(f"{member.name} reports that two nodes serve one partition: {whole.body.decode()}")
        return last

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(3 * self.PATIENCE)
            if thread.is_alive():
                self.faults.append("polling a node hangs")

    def finish(self):
        """Checks that every node was polled, and that none reported a fault."""
        with contextlib.suppress(AssertionError):
            eventually(lambda: self.faults or all(self.looks.values()))
        self.stop()
        assert not self.faults, self.faults[:10]
        assert all(self.looks.values()), self.looks


def restored(zookeeper, copy):
    """Replaces a ZooKeeper server's data with an old copy. The server must not run."""
    data = zookeeper.folder / "data"
    shutil.rmtree(data)
    shutil.copytree(copy, data)


def during(seconds):
    """Yields at least once, and repeatedly until the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() >= deadline:
            return
        time.sleep(0.1)
