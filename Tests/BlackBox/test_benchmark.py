"""cluster/benchmark computes and prints its results correctly. These tests measure nothing."""

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "cluster"))

from benchmarks import arithmetic, cluster, pipeline  # noqa: E402


@pytest.mark.parametrize("flags", [[], ["--cluster"]])
def test_the_rows_are_listed(flags):
    listed = subprocess.run([ROOT / "cluster/benchmark", *flags, "--list"], capture_output=True, text=True, check=True).stdout
    assert "hot" in listed and ("deaths" in listed) == bool(flags)


def test_percentiles_are_of_the_samples_of_all_rounds():
    cells = cluster.cells([[float(n) for n in range(1, 51)], [float(n) for n in range(51, 101)]])
    assert cells == {", p50": "50.0", ", p90": "90.0", ", p99": "99.0", ", worst": "100", ", samples": "100"}
    assert cluster.cells([[1.0, math.inf]])[", worst"] == "never" and cluster.cells([3.0, 1.0, 2.0]) == {"": "2.00 (1.00 to 3.00)"}


def test_an_event_reaches_each_edge_once():
    assert arithmetic.edges(10, 1) == pytest.approx(0.9)
    assert arithmetic.edges(3, 2) == pytest.approx(2 * 5 / 9)
    assert arithmetic.edges(10, 10_000) == pytest.approx(9)


def test_larger_clusters_are_computed_from_costs():
    costs = SimpleNamespace(a=20, o=10, f=2, r=8, d=5, s=35)
    row = arithmetic.row("", costs, SimpleNamespace(of=lambda _: 0.2), 10, 1)
    each = 18 + 10 + 0.9 * 10 + 5
    assert row["CPU µs of all nodes per event"] == pytest.approx(each) and row["events/s"] == pytest.approx(10 * 0.5e6 / each)
    assert row["events/s of one Redis server"] == pytest.approx(20_000) and row["Redis servers for these"] == math.ceil(row["events/s"] / 20_000)
    assert row["events/s of one channel with an edge on every node"] == pytest.approx(0.7e6 / 28)


def test_replies_are_counted_across_reads():
    reply = b'HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n{"replies":[{"offset":1},{"offset":2}]}    '
    assert pipeline.batch_replies(reply + reply[:50]) == (1, 2, reply[:50])
    with pytest.raises(RuntimeError, match="refused"):
        pipeline.batch_replies(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"error":1}')
    entries = b"$3\r\n1-1\r\n" * 130
    assert pipeline.redis_replies(entries) == (1, 100, b"$3\r\n1-1\r\n" * 30)
