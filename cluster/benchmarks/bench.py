"""What every row of a cluster needs: the binaries, progress, notes, and runs of the load tool with the CPU time of each process."""

import sys
import time

from . import load as loads
from . import machine


class Bench:
    def __init__(self, binary, options):
        self.binary, self.load_binary, self.options = binary, options.load_binary or binary, options
        self.row, self.round, self.notes = "", 0, []

    def begin(self, row, number, notes):
        self.row, self.round, self.notes = row, number, notes

    def say(self, text):
        """Progress."""
        print(f"{self.row} {self.round}: {text}", file=sys.stderr, flush=True)

    def note(self, text):
        """Belongs to the result."""
        self.notes.append(text)
        self.say(text)

    def idle(self, pids, seconds=5):
        """The CPU time of each process without load, in seconds per second."""
        cpu = machine.CPU(pids)
        cpu.start()
        time.sleep(seconds)
        cpu.stop()
        return {name: seconds / cpu.elapsed for name, seconds in cpu.seconds.items()}

    def load(self, what, target, options, seconds, pids=None, warm_up=2):
        """Runs the load tool. Returns its report, and the CPU time that each process used during most of the measured time."""
        run = loads.Run(self.load_binary, target, ["--warm-up", warm_up, *options], seconds)
        cpu = machine.CPU(pids or {})
        try:
            # The load tool settles for 0.5 s, and connects faster than this. It publishes at the same rate before and after its warm-up.
            time.sleep(warm_up + 1.5)
            cpu.start()
            time.sleep(max(1, seconds - 2))
            cpu.stop()
            report = run.finish(seconds + 60)
        finally:
            run.end()
        self.check(what, report)
        return report, cpu

    def check(self, what, report):
        """Notes what makes a result doubtful."""
        if not report["generator"]["ok"]:
            self.note(f"{what}: the load tool was the bottleneck: {', '.join(report['generator']['bottlenecks'])}")
        if not report["complete"]:
            self.note(f"{what}: {report['verdict']}")
        if report["errors"]:
            self.note(f"{what}: {', '.join(f'{count} × {error}' for error, count in report['errors'].items())}")
