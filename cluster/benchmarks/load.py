"""Runs the load tool, and reads its report."""

import json
import subprocess
import sys

from harness.node import die_with_parent


class Run:
    """The load tool, measuring for `seconds`. It is ended by `end`, also after a failure."""

    def __init__(self, binary, target, options, seconds=None):
        duration = [] if seconds is None else ["-d", str(seconds)]
        self.line = [binary, "load", "-o", "json", *target, *duration, *map(str, options)]
        self.process = subprocess.Popen(self.line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)

    def finish(self, seconds=600):
        """The report. Exit status 1 has a report too: it says what was lost."""
        output, errors = self.process.communicate(timeout=seconds)
        if self.process.returncode not in (0, 1) or not output.strip():
            sys.exit(f"{' '.join(self.line)}\n{errors}")
        return json.loads(output)

    def interrupt(self):
        """Ends the measurement now. The report contains the measurements until now."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.finish(60)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def run(*arguments):
    started = Run(*arguments)
    try:
        return started.finish()
    finally:
        started.end()


# Each function reads one metric from a report. A server that is too far behind delivers no event of the measured period, so there is no latency.
def latency(report, kind, percentile):
    """In milliseconds."""
    return report["latency_us"].get(kind, {}).get(percentile, float("nan")) / 1000


def deliveries(report): return report["deliveries"]["per_second"]
def acknowledged(report): return report["publishing"]["per_second"]
def wrong(report): return sum(report["deliveries"][kind] for kind in ("lost", "repeated", "reordered", "misdelivered"))


def asked(report):
    """The share of the requested events that were published, in percent."""
    publishing = report["publishing"]
    return 100 * publishing["acknowledged"] / max(1, publishing["acknowledged"] + publishing["never_sent"])
