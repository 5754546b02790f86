"""The cluster commands with a node that is not in a cluster. Commands that read work. Commands that change something are refused."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from harness.node import HOST, PATIENCE, Port, binary, eventually
from harness.subscribers import SSE

HEALTHY, DEGRADED, CRITICAL, UNREACHABLE, USAGE = 0, 1, 2, 3, 64

LOOKS = [
    ["status"], ["members"], ["partitions"], ["locate", "thread:42"], ["plan"], ["rebalance", "--dry-run"], ["events"],
]
CHANGES = [
    ["rebalance"], ["rebalance", "pause"], ["rebalance", "resume"], ["drain", "n2"], ["undrain", "n2"], ["cordon", "n2"], ["uncordon", "n2"],
    ["move", "3", "--to", "n2"], ["move", "3", "--unpin"], ["forget", "n2"],
]


def environment(**more):
    return {k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")} | more


def run(node, *arguments, port=None, timeout=2 * PATIENCE, **env):
    """Runs a command. Returns its exit code, standard output and standard error."""
    patience = [] if "--timeout" in arguments else ["--timeout", str(PATIENCE)]
    done = subprocess.run(
        [binary(), *arguments, *patience, "--api", f"http://{HOST}:{port or node.api}"], capture_output=True, text=True, timeout=timeout,
        env=environment(**env))
    return done.returncode, done.stdout, done.stderr


def name(arguments):
    return " ".join(arguments)


# MARK: reading


@pytest.mark.parametrize("arguments", LOOKS, ids=name)
def test_commands_that_only_read(shared, arguments):
    code, out, err = run(shared, *arguments)
    assert (code, err) == (HEALTHY, ""), (out, err)
    assert out.strip() and "\x1b" not in out, "the output has colours without a terminal"
    code, out, err = run(shared, *arguments, "-o", "json")
    assert (code, err) == (HEALTHY, "")
    lines = out.splitlines()
    assert len(lines) == 1, "the output is not one object on one line"
    response = json.loads(lines[0])
    if arguments[0] not in ("status", "events"):
        assert response["through"] == response["controller"]["id"] and response["authoritative"] is True and response["view_version"] == 1
        path = {"rebalance": "plan", "locate": "locate?channel=thread:42"}.get(arguments[0], arguments[0])
        assert set(response) == set(shared.get(f"/api/{path}").json), "the command must print the fields of the node's response"


def test_status_of_a_node_without_a_cluster(shared):
    _, out, _ = run(shared, "status", "-o", "json")
    assert set(json.loads(out)) == set(shared.status())
    _, out, _ = run(shared, "status")
    assert out.startswith("node ") and "cluster" not in out and "zookeeper" not in out


def test_members(shared):
    _, out, _ = run(shared, "members")
    header, row = out.splitlines()[:2]
    for column in ("ST", "NODE", "ZONE", "INCARNATION", "VERSION", "WEIGHT", "OWNS", "SHARE", "CONNECTIONS", "SESSION", "REACHES"):
        assert column in header.split()
    assert row.startswith("UA ") and "256" in row and "100.0%" in row
    assert "controller " in out.splitlines()[-1], "the last line must name the controller"


def test_partitions(shared):
    _, out, _ = run(shared, "partitions")
    rows = [line.split() for line in out.splitlines()[1:-1]]
    assert [row[0] for row in rows] == [str(n) for n in range(256)] and {row[2] for row in rows} == {"served"}
    assert len(run(shared, "partitions", "--state", "moving")[1].splitlines()) == 2
    me = rows[0][1]
    assert len(run(shared, "partitions", "--node", me)[1].splitlines()) == 258
    # An empty table would look like a node that owns nothing.
    code, _, err = run(shared, "partitions", "--node", "nope")
    assert code == 2 and "There is no node nope" in err and me in err


def test_locate(shared):
    """The partition is xxh64 of the name mod 256. The hash is a published test vector."""
    code, out, _ = run(shared, "locate", "a", "-o", "json")
    response = json.loads(out)
    assert code == 0 and response["channel"] == "a" and len(response["partitions"]) == 1
    assert response["partitions"][0]["partition"] == 0xD24EC4F1A98C6E5B % 256
    assert response["partitions"][0]["api"] == f"{HOST}:{shared.api}"
    for bad in ("a b", "a/b", "x" * 201, "a.b5"):
        code, out, err = run(shared, "locate", bad)
        assert code == CRITICAL and out == "" and "not a channel" in err, err


def test_events(shared):
    _, out, _ = run(shared, "events", "-o", "json")
    events = json.loads(out)["events"]
    assert [event["number"] for event in events] == [1] and abs(events[0]["at"] / 1000 - time.time()) < 600
    _, out, _ = run(shared, "events", "--after", "1", "-o", "json")
    assert json.loads(out)["events"] == []


def test_events_can_be_filtered(shared):
    def rows(*arguments):
        code, out, err = run(shared, "events", *arguments)
        assert (code, err) == (HEALTHY, "")
        header, *rows, last = out.splitlines()
        assert header.split() == ["NUMBER", "TIME", "KIND", "NODE", "VIEW", "WHAT"] and last.startswith("reported by ")
        assert all(row.index("this node") == header.index("WHAT") for row in rows), "the columns are not aligned"
        return rows
    [every] = rows()
    me = json.loads(run(shared, "events", "-o", "json")[1])["through"]
    for arguments in ["--kind", "joined"], ["--kind", "alarm", "--kind", "joined"], ["--node", me], ["--since", "1"], ["--node", me, "--since", "1"]:
        assert rows(*arguments) == [every], arguments
    for arguments in ["--node", "nope"], ["--kind", "joined", "--node", "nope"]:
        code, out, err = run(shared, "events", *arguments)
        assert (code, out) == (CRITICAL, "") and "There is no node nope in this cluster" in err and me in err, err
    for arguments in ["--kind", "alarm"], ["--since", "2"]:
        assert rows(*arguments) == [], arguments
        response = json.loads(run(shared, "events", *arguments, "-o", "json")[1])
        assert response == {"through": me, "events": []}
    code, out, err = run(shared, "events", "--kind", "well")
    assert (code, out) == (USAGE, "") and all(kind in err for kind in ("joined", "session_lost", "operation", "alarm")), err


def test_followed_events_have_a_header(shared):
    process = subprocess.Popen(
        [binary(), "events", "-f", "--kind", "joined", "--api", f"http://{HOST}:{shared.api}"], stdout=subprocess.PIPE, text=True, env=environment())
    try:
        header, row = process.stdout.readline(), process.stdout.readline()
        assert header.startswith("NUMBER") and row.index("this node") == header.index("WHAT")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == HEALTHY and process.stdout.read() == ""
    finally:
        process.kill()


def test_events_are_followed(shared):
    process = subprocess.Popen(
        [binary(), "events", "-f", "-o", "json", "--api", f"http://{HOST}:{shared.api}"], stdout=subprocess.PIPE, env=environment())
    try:
        assert json.loads(process.stdout.readline())["kind"] == "joined"
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == HEALTHY and process.stdout.read() == b""
    finally:
        process.kill()


def test_a_full_node_changes_the_exit_status(nodes):
    """A problem of a node changes the exit status of each command about the node."""
    node = nodes.make("--connections-max", "1")
    with SSE(node, "a"):
        assert eventually(lambda: run(node, "status")[0] == CRITICAL)
        assert run(node, "members")[0] == CRITICAL and run(node, "partitions")[0] == HEALTHY


# MARK: changing


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.parametrize("arguments", CHANGES, ids=name)
def test_a_node_without_a_cluster_refuses_changes(shared, arguments, output):
    code, _, err = run(shared, *arguments, "-o", output)
    assert code == CRITICAL and "409" in err and "not in a cluster (zookeeper is not set)" in err, err
    assert "Fatal error" not in err


@pytest.mark.parametrize("path", ["rebalance", "rebalance/pause", "rebalance/resume", "drain", "undrain", "cordon", "uncordon", "move", "unpin", "forget"])
def test_an_invalid_body_is_refused_before_the_change_is_judged(shared, path):
    """An invalid body is 400, even if the request would be refused for another reason."""
    good = {"node": "n1"} if path in ("drain", "undrain", "cordon", "uncordon", "forget") else {}
    if path in ("move", "unpin"):
        good = {"partition": 3} | ({"node": "n1"} if path == "move" else {})
    reply = shared.post(f"/api/{path}", good | {"by": "ann", "note": "why"})
    assert (reply.status, reply.error) == (409, "conflict")
    bad = [b"[]", b"x", b'{"a"', good | {"other": 1}, good | {"by": 7}, good | {"by": "x" * 65}, good | {"note": "a\nb"}, good | {"note": "x" * 1001}]
    bad += [{k: v for k, v in good.items() if k != missing} for missing in good]
    if "node" in good:
        bad += [good | {"node": value} for value in ("", "a b", "../x", 7, "x" * 65)]
    if "partition" in good:
        bad += [good | {"partition": value} for value in (-1, 1.5, "3", 65536)]
    for body in bad:
        reply = shared.post(f"/api/{path}", body)
        assert (reply.status, reply.error) == (400, "bad_body"), (body, reply)


@pytest.mark.parametrize("query", ["", "?channel=", "?channel=a/b", "?channel=%zz", "?chan=a"])
def test_locate_without_a_channel(shared, query):
    reply = shared.get(f"/api/locate{query}")
    assert reply.status == 400 and reply.error in ("bad_channel", "bad_request"), reply


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "", "9" * 30])
def test_events_after_an_invalid_number(shared, after):
    reply = shared.get(f"/api/events?after={after}")
    assert (reply.status, reply.error) == (400, "bad_request"), reply


def test_a_token_is_needed(nodes):
    node = nodes.make("--api-token", "secret-token-of-this-test")
    for arguments in LOOKS + CHANGES:
        code, _, err = run(node, *arguments)
        assert code == CRITICAL and "REALERTIME_API_TOKEN" in err, (arguments, err)
    token = {"REALERTIME_API_TOKEN": "secret-token-of-this-test"}
    for arguments in LOOKS:
        assert run(node, *arguments, **token)[0] == HEALTHY, arguments
    assert "409" in run(node, "drain", "n2", **token)[2]


# MARK: a node that does not run


@pytest.mark.parametrize("arguments", LOOKS + CHANGES, ids=name)
def test_no_node_responds(arguments):
    port = Port()
    try:
        code, out, err = run(None, *arguments, port=port.number)
    finally:
        port.release()
    assert (code, out) == (UNREACHABLE, "") and "Is the node running" in err, (code, out, err)


def test_a_publish_without_a_node_says_what_it_waits_for():
    port = Port()
    try:
        code, out, err = run(None, "publish", "a", "b", "--timeout", "0.5", port=port.number)
    finally:
        port.release()
    assert (code, out) == (UNREACHABLE, "") and err.count(f"http://{HOST}:{port.number}: connection refused. Retrying") == 1, err


@pytest.mark.parametrize("arguments", LOOKS + CHANGES, ids=name)
def test_a_stopped_node_times_out(nodes, arguments):
    node = nodes.make("--log", "memory")
    os.kill(node.pid, signal.SIGSTOP)
    try:
        # A command with a longer timeout still waits when this command has ended.
        patient = subprocess.Popen(
            [binary(), *arguments, "--timeout", "300", "--api", f"http://{HOST}:{node.api}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment())
        try:
            code, out, err = run(node, *arguments, "--timeout", "0.5")
            assert (code, out) == (UNREACHABLE, "") and "no response in time" in err, (code, out, err)
            assert patient.poll() is None
        finally:
            patient.kill()
            patient.wait()
    finally:
        os.kill(node.pid, signal.SIGCONT)


@pytest.mark.parametrize("arguments", [
    ["move", "3"], ["move", "x", "--to", "n1"], ["move", "3", "--to", "n1", "--unpin"], ["drain"], ["locate"], ["partitions", "--state", "well"],
    ["members", "-o", "yaml"], ["plan", "--timeout", "0"], ["events", "--after", "-1"], ["events", "--since", "x"], ["rebalance", "sideways"],
], ids=name)
def test_wrong_usage(shared, arguments):
    code, out, err = run(shared, *arguments)
    assert (code, out) == (USAGE, "") and "Usage:" in err


# MARK: a terminal


class Screen:
    """Runs a command in a separate terminal."""

    def __init__(self, node, *arguments, rows=12, columns=60, **env):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.file = ours
        self.process = subprocess.Popen(
            [binary(), *arguments, "--api", f"http://{HOST}:{node.api}"], stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment(**{"TERM": "xterm", "COLUMNS": "", **env}), start_new_session=True)
        os.close(theirs)
        self.text = ""

    def read_until(self, text, count=1, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while self.text.count(text) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not appear {count} times in {self.text!r}"
            if select.select([self.file], [], [], left)[0]:
                try:
                    self.text += os.read(self.file, 65536).decode()
                except OSError:
                    break
        return self.text

    def close(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.file)


@pytest.mark.parametrize("command", ["status", "members"])
def test_watch_refreshes_in_place(shared, command):
    screen = Screen(shared, command, "--watch")
    try:
        text = screen.read_until("\x1b[H", 3)
        assert text.count("\x1b[2J") == 1, "the screen must be cleared once, and then overwritten"
        frames = text.split("\x1b[H")[1:3]
        for frame in frames:
            assert frame.count("\n") < 12, "a frame has more lines than the terminal"
            assert frame.rstrip().endswith("\x1b[J")
        assert "\x1b[?7l" in text, "long lines must be cut off"
        screen.process.send_signal(signal.SIGINT)
        assert screen.process.wait(PATIENCE) == HEALTHY
        assert screen.read_until("\x1b[?7h"), "the terminal's settings were not restored"
    finally:
        screen.close()


def test_colours_can_be_disabled(shared):
    for env, colours in ({}, True), ({"NO_COLOR": "1"}, False):
        screen = Screen(shared, "members", rows=40, columns=200, **env)
        try:
            text = screen.read_until("controller ")
            assert ("\x1b[32m" in text) is colours
        finally:
            screen.close()
