"""The machine: its description, steal time, CPU time of processes, memory of processes and of the kernel."""

import os
import platform
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def describe():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU")
    return f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}"


def steal(cores=None):
    """The time that the hypervisor took away from these cores since the machine started, and the cores' whole time. Without `cores`: of all cores."""
    names = {"cpu"} if cores is None else {f"cpu{core}" for core in cores}
    stolen = total = 0
    for line in open("/proc/stat"):
        name, *times = line.split()
        if name in names:
            # The fields are user nice system idle iowait irq softirq steal. User and nice already include the guests' time.
            times = [int(time) for time in times[:8]]
            stolen += times[7]
            total += sum(times)
    return stolen, total


def steal_percent(before, cores=None):
    stolen, total = (after - earlier for after, earlier in zip(steal(cores), before))
    return 100 * stolen / max(1, total)


def cpu_seconds(pid):
    """The user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid):
    """The ids of the child processes."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def resident(pid):
    return next(int(line.split()[1]) * 1024 for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS"))


class CPU:
    """The CPU time that named processes use between `start` and `stop`."""

    def __init__(self, pids):
        # {name: ids of its processes}
        self.pids = pids
        self.seconds, self.elapsed = {}, 0

    def sample(self):
        return {name: sum(cpu_seconds(pid) for pid in pids) for name, pids in self.pids.items()}

    def start(self):
        self.begun, self.before = time.monotonic(), self.sample()

    def stop(self):
        after = self.sample()
        self.elapsed = time.monotonic() - self.begun
        self.seconds = {name: after[name] - self.before[name] for name in after}

    def microseconds(self, name, per_second):
        """The CPU time of a process for each event, at this rate of events."""
        return 1e6 * self.seconds[name] / max(1e-9, self.elapsed * per_second)


def kernel_bytes():
    """The kernel's memory for sockets: slab, and the pages of socket buffers."""
    slab = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("Slab:"))
    pages = 0
    for name in ("/proc/net/sockstat", "/proc/net/sockstat6"):
        if os.path.exists(name):
            for line in open(name):
                words = line.split()
                if words[0].startswith("TCP") and "mem" in words:
                    pages += int(words[words.index("mem") + 1])
    return slab, pages * os.sysconf("SC_PAGE_SIZE")


def available_bytes():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
