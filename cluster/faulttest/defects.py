"""Runs with a product that breaks a rule on purpose: each run must be bad.

    cluster/faults --defects --binary .build/debug/realertime [--nemesis …]

`Sources/Partitioning/Defect.swift` lists the defects. Only a debug build has them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

# Defect → log, faults that make it visible, the rules of which at least one must find it.
DEFECTS = {
    "append-without-fence": ("redis", "redis-silent-kill-owner,pause-owner", {"K1", "K2", "K3", "K7"}),
    "relay-before-commit": ("redis", "redis-silent-kill-owner,redis-kill-owner,redis-restart", {"K1", "K3", "K4"}),
    "skip-seal": ("redis", "redis-silent-kill-owner,pause-owner", {"K1", "K2", "K3", "K7"}),
    "moved-as-failure": ("redis", "redis-pause-move", {"K8"}),
    "teardown-by-partition": ("redis", "rebalance-expire-session", {"R3", "K3", "K10"}),
    "interest-kept-over-sessions": ("redis", "link-cut,kill-owner,drain", {"R3", "K3"}),
    "replay-ends-after-cut": ("redis", "redis-pause-restart-edge", {"K2", "K3"}),
    "buffer-flushed-by-timer": ("redis", "move,move-with-resumes", {"P1"}),
    "positions-from-evicted-store": ("redis", "redis-flush,redis-empty", {"K1", "K4"}),
}


def main(seed, only=None):
    failed = 0
    print("| defect | faults | found by | after |\n|---|---|---|---|", flush=True)
    for name, (log, nemeses, rules) in DEFECTS.items():
        if only and name != only:
            continue
        command = [
            sys.executable, str(Path(__file__).parent.parent / "faults"), "--binary", os.environ["REALERTIME_BINARY"], "--defect", name, "--log", log, "--nemesis", nemeses,
            "--minutes", "1", "--seed", str(seed or 1), "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True)
        try:
            verdict = json.loads(done.stdout)
        except ValueError:
            verdict = {"rules": {}, "first_seconds": None}
            print(done.stdout, done.stderr, file=sys.stderr)
        found = {rule: count for rule, count in verdict["rules"].items() if count}
        good = bool(found.keys() & rules)
        failed += not good
        after = f"{verdict['first_seconds']:.0f} s" if verdict["first_seconds"] is not None else "the end"
        for finding in verdict.get("findings", ()) if not good else ():
            print(finding, file=sys.stderr)
        told = ", ".join(f"{rule} ({count})" for rule, count in found.items()) or "nothing"
        print(f"| `{name}` | {', '.join(f'`{n}`' for n in nemeses.split(','))} | {told}{'' if good else ' **not found**'} | {after} |", flush=True)
    return 1 if failed else 0
