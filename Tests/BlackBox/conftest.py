import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# The interpreter switches threads often, because a dozen client threads share it.
sys.setswitchinterval(0.0005)

from harness.node import Node, binary  # noqa: E402


def pytest_report_header():
    try:
        return f"realertime: {binary()}"
    except RuntimeError as error:
        return str(error)


def pytest_terminal_summary(terminalreporter):
    """Prints how long the tests of each file took, the slowest file first. Files run in parallel, so the sum is longer than the run."""
    seconds, tests = Counter(), Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                name = report.nodeid.split("::")[0]
                seconds[name] += report.duration
                tests[name] += report.when == "call"
    terminalreporter.section("durations")
    for name, duration in seconds.most_common():
        terminalreporter.write_line(f"{duration:6.0f} s  {tests[name]:4} tests  {name}")


class Nodes:
    """Makes the nodes of a test, and stops all of them at its end."""

    def __init__(self):
        self.made = []
        self.folder = Path(tempfile.mkdtemp(prefix="realertime-test-"))

    def make(self, *flags, start=True, **options):
        node = Node(self.folder / f"n{len(self.made) + 1}", *flags, **options)
        self.made.append(node)
        return node.start() if start else node

    def close(self):
        for node in self.made:
            node.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def nodes():
    """Makes the nodes of one test."""
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture
def node(nodes):
    """A node for this test only."""
    return nodes.make()


@pytest.fixture(scope="module")
def module_nodes():
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture(scope="module")
def shared(request, module_nodes):
    """One node that the tests of a module share if they do not damage it. The module's FLAGS are the node's flags."""
    return module_nodes.make(*getattr(request.module, "FLAGS", []))


@pytest.fixture
def channel(request):
    """A channel that no other test uses."""
    return f"t{random.SystemRandom().getrandbits(48):x}"


@pytest.fixture(scope="session")
def seed():
    """The seed of the random choices. REALERTIME_SEED sets the seed, to repeat a run."""
    return int(os.environ.get("REALERTIME_SEED") or random.SystemRandom().getrandbits(32))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the last output of the nodes to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for value in item.funcargs.values():
        for node in getattr(value, "made", [value]):
            if isinstance(node, Node) and node.output.exists():
                report.sections.append((f"node {node.folder.name} (last output)", node.tail()))
    if "seed" in item.funcargs:
        report.sections.append(("seed", f"REALERTIME_SEED={item.funcargs['seed']}"))
