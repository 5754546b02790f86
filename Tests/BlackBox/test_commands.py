"""The commands for one node, as a shell runs them: their input, their output, and when they end."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness.node import HOST, PATIENCE, Port, binary, eventually
from harness.subscribers import SSE
from test_cluster_commands import Screen, environment, run

HEALTHY, DEGRADED, CRITICAL, UNREACHABLE, USAGE = 0, 1, 2, 3, 64


def call(*arguments, timeout=2 * PATIENCE, input=None, **env):
    """Runs a command. Returns its exit code, standard output and standard error. An argument may be bytes."""
    done = subprocess.run([binary(), *arguments], input=input, capture_output=True, timeout=timeout, env=environment(**env))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def urls(node):
    return {"REALERTIME_URL": f"{HOST}:{node.listen}", "REALERTIME_API_URL": f"{HOST}:{node.api}"}


# MARK: input

API = [["status"], ["members"], ["partitions"], ["plan"], ["events"], ["drain", "n1"], ["locate", "a"], ["doctor"], ["publish", "a", "b"], ["load", "-n", "1"]]


@pytest.mark.parametrize("address", ["h:65536", "http://127.0.0.1:70000", "http://127.0.0.1:99999999999999999999", "http://h:-1", "127.0.0.1:0", "", "ftp://h", "h:1/a b"])
@pytest.mark.parametrize("option, arguments", [("--api", a) for a in API] + [("--url", a) for a in (["subscribe", "a"], ["doctor"], ["load", "-n", "1"])], ids=str)
def test_an_invalid_address_is_reported_in_a_sentence(option, arguments, address):
    code, out, err = call(*arguments, option, address, timeout=30)
    assert (code, out) == (USAGE, "") and option in err and "Error: " in err, (code, err)


def test_an_address_as_tables_print_it(shared, channel):
    api, url = f"{HOST}:{shared.api}", f"{HOST}:{shared.listen}"
    assert call("publish", channel, "hello", "--api", api)[0] == HEALTHY
    assert call("subscribe", channel, "--backlog", "1", "--max", "1", "--url", url)[:2] == (HEALTHY, "hello\n")
    for arguments in ["status"], ["members"], ["doctor", "--url", url]:
        assert call(*arguments, "--api", api)[0] in (HEALTHY, DEGRADED), arguments


def test_channels_as_words_or_with_slashes(shared, channel):
    env = urls(shared)
    one, other = channel + "a", channel + "b"
    for published in ([f"{one}/{other}"], [one, other]):
        code, out, err = call("publish", *published, "x", **env)
        assert code == HEALTHY and [line.split()[0] for line in out.splitlines()] == [one, other], (out, err)
    for subscribed in ([f"{one}/{other}"], [one, other]):
        assert call("subscribe", *subscribed, "--backlog", "2", "--max", "4", **env)[:2] == (HEALTHY, "x\n" * 4)
    assert call("publish", one, "-", input=b"1\n2\n", **env)[0] == HEALTHY
    assert call("publish", other, input=b"3", **env)[0] == HEALTHY
    assert [item["data"] for item in shared.everything(one)][-2:] == [1, 2] and shared.everything(other)[-1]["data"] == 3


def test_bytes_that_are_not_text_are_refused_as_arguments_and_published_from_a_file(shared, channel):
    env = urls(shared)
    code, out, err = call("publish", channel, b"gr\xfc\xdfe", **env)
    assert (code, out) == (USAGE, "") and "Argument 3" in err and "is not UTF-8 text" in err and "< FILE" in err, err
    assert shared.everything(channel) == []
    assert call("publish", channel, input=b"gr\xfc\xdfe", **env)[0] == HEALTHY
    assert [item["data_base64"] for item in shared.everything(channel)] == ["Z3L832U="]
    assert call(b"\xff")[0] == USAGE and call("subscribe", b"\xff", **env)[0] == USAGE


def test_a_secret_file_keeps_its_spaces(nodes, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("open sesame 1\n")
    node = nodes.make("--api-token-file", str(secret))
    headers = {"Authorization": "Bearer open sesame 1"}
    assert node.get("/api/status", headers).status == 200 and node.get("/api/status", {"Authorization": "Bearer opensesame1"}).status == 401
    file = ["--api-token-file", str(secret)]
    env = urls(node)
    assert call("publish", "a", "b", **env)[0] == CRITICAL
    for arguments in ["status"], ["members"], ["events"], ["publish", "a", "b"], ["doctor"], ["load", "-n", "2", "-d", "0.2", "--warm-up", "0", "--drain", "10"]:
        code, out, err = call(*arguments, *file, **env)
        assert code in (HEALTHY, DEGRADED), (arguments, out, err)
        assert call(*arguments, **env, REALERTIME_API_TOKEN_FILE=str(secret))[0] in (HEALTHY, DEGRADED), arguments
    code, _, err = call("status", *file, "--api-token", "x", **env)
    assert code == USAGE and "keep one" in err
    code, _, err = call("status", "--api-token-file", str(tmp_path / "nothing"), **env)
    assert code == USAGE and "does not exist" in err


def test_a_secret_and_a_configuration_may_come_from_a_pipe(nodes, tmp_path):
    node = nodes.make("--api-token", "sekret")
    code, out, err = call("status", "--api-token-file", "/dev/stdin", input=b"sekret\n", **urls(node))
    assert code in (HEALTHY, DEGRADED), (out, err)
    code, out, err = call("status", "--api-token-file", "/dev/stdin", input=b"another\n", **urls(node))
    assert code == CRITICAL, (out, err)
    code, out, err = call("node", "--check-config", "--config", "/dev/stdin", input=b"loops: 3\n")
    assert code == 0 and re.search("^loops +3 ", out, re.MULTILINE), (out, err)
    code, out, err = call("node", "--check-config", "--api-token-file", "/dev/stdin", input=b"sekret\n")
    assert code == 0 and "sekret" not in out and re.search("^api-token +set", out, re.MULTILINE), (out, err)


def test_an_empty_cursor_file_is_an_error(shared, channel, tmp_path):
    file = tmp_path / "cursor"
    file.touch()
    code, out, err = call("subscribe", channel, "--cursor-file", str(file), "--timeout", "30", **urls(shared))
    assert (code, out) == (CRITICAL, "") and "is empty" in err and "remove the file" in err, err


def test_a_node_that_does_not_accept_is_skipped(shared):
    """The first node neither accepts nor refuses, like a machine that is switched off. It cannot have received the change, so the next node gets the change."""
    with socket.create_server((HOST, 0), backlog=0) as silent, contextlib.ExitStack() as full:
        for _ in range(4):
            connection = full.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(silent.getsockname())
        hangs = f"{HOST}:{silent.getsockname()[1]}"
        both = ["--api", f"{hangs},{HOST}:{shared.api}", "--timeout", "4"]
        code, out, err = call("members", *both)
        assert code == HEALTHY and out and f"http://{hangs} cannot be reached (no connection within the time limit)" in err, err
        # The second node is in no cluster, so it refuses the change. The refusal shows that it received the request.
        code, out, err = call("drain", "n1", "--no-wait", *both)
        assert code == CRITICAL and f"http://{HOST}:{shared.api} returned" in err, err


def test_the_first_node_of_a_list_that_responds_is_used(shared):
    port = Port()
    try:
        there, absent = f"{HOST}:{shared.api}", f"{HOST}:{port.number}"
        for arguments in ["status"], ["members"], ["plan"]:
            code, out, err = call(*arguments, "--api", f"{absent},{there}")
            assert code == HEALTHY and out and err == f"http://{absent} cannot be reached (connection refused). Trying http://{there}.\n", err
        code, _, err = call("status", "--api", absent)
        assert code == UNREACHABLE and "--api accepts several" in err
        code, _, err = call("publish", "a", "b", "--api", f"{absent},{there}")
        assert code == USAGE and "one URL" in err
    finally:
        port.release()


# MARK: load


def test_load_starts_no_connection_above_the_nodes_limit(nodes):
    node = nodes.make("--connections-max", "20")
    env = urls(node)
    with SSE(node, "a"):
        eventually(lambda: node.status()["subscribers"]["connections"] == 1)
        begin = time.monotonic()
        code, out, err = call("load", "-n", "1000000", **env)
        assert code == USAGE and out == "" and ("accepts only 19 more" in err or "descriptors" in err), err
        code, out, err = call("load", "-n", "20", **env)
        assert code == USAGE and "accepts only 19 more subscribers (connections-max 20, 1 are connected), but this run needs 20" in err, err
        assert time.monotonic() - begin < PATIENCE
        assert node.metric('realertime_connections_opened_total{transport="sse"}') == 1, "load started connections"
        # The number is slightly lower than the limit, because connections that have just ended may still be counted.
        assert call("load", "-n", "15", "-r", "0", "--hold", "0.2", "--settle", "0.1", **env)[0] == HEALTHY


def test_load_ignores_the_connection_limit_of_another_node(nodes):
    """The connection limit of the node at --api does not apply to another node at --url."""
    small, other = nodes.make("--connections-max", "10"), nodes.make()
    arguments = ["load", "-n", "20", "-r", "0", "--hold", "0.2", "--settle", "0.1", "--api", f"{HOST}:{small.api}"]
    code, out, err = call(*arguments, "--url", f"{HOST}:{other.listen}")
    assert (code, err) == (HEALTHY, ""), err
    code, out, err = call(*arguments, "--url", f"{HOST}:{small.listen}")
    assert code == USAGE and "accepts only 10 more subscribers" in err, err


def test_load_passes_a_token_from_a_pipe_to_its_workers(nodes, tmp_path):
    secret, pipe = tmp_path / "secret", tmp_path / "pipe"
    secret.write_text("open sesame\n")
    node = nodes.make("--api-token-file", str(secret))
    os.mkfifo(pipe)
    for how in "flag", "variable":
        writer = threading.Thread(target=pipe.write_text, args=("open sesame\n",), daemon=True)
        writer.start()
        flag, variable = (["--api-token-file", str(pipe)], {}) if how == "flag" else ([], {"REALERTIME_API_TOKEN_FILE": str(pipe)})
        arguments = ["load", "-n", "4", "--processes", "2", "-d", "0.3", "--warm-up", "0", "--settle", "0.1", "--timeout", "5"]
        code, out, err = call(*arguments, *flag, **urls(node), **variable)
        assert (code, err) == (HEALTHY, ""), (how, out, err)
        writer.join(PATIENCE)


def test_load_stops_when_nothing_connects(nodes):
    """The server does not report its connection limit."""
    node = nodes.make("--connections-max", "20")
    target = ["--subscribe-url", f"http://{HOST}:{node.listen}/ev/{{channel}}", "--publish-url", f"http://{HOST}:{node.api}/pub?id={{channel}}"]
    code, out, err = call("load", *target, "-n", "9000", "-r", "0", "--hold", "0.1", "--settle", "0.1", "-o", "json")
    report = json.loads(out)
    assert code == DEGRADED, err
    [untried] = [text for text in json.dumps(report).split('"') if "connect: stopped after" in text]
    assert "1,000" in untried or "1000" in untried


# MARK: ending


@pytest.mark.parametrize("arguments", [["subscribe", "CHANNEL", "--backlog", "1"], ["subscribe", "CHANNEL", "--backlog", "1", "--transport", "ws"],
                                       ["subscribe", "CHANNEL", "--backlog", "1", "--transport", "lp"], ["events", "-f", "-o", "json"]], ids=" ".join)
def test_a_command_ends_when_its_output_is_closed(shared, channel, arguments):
    """The reader closes the pipe, as `| head -1` does. The command ends without another event or heartbeat."""
    shared.publish(channel, "one")
    process = subprocess.Popen(
        [binary(), *(channel if word == "CHANNEL" else word for word in arguments)], stdout=subprocess.PIPE, env=environment(**urls(shared)))
    try:
        assert process.stdout.readline()
        time.sleep(0.5)
        assert process.poll() is None, "the command ended although its output was read"
        process.stdout.close()
        begin = time.monotonic()
        assert process.wait(PATIENCE) == HEALTHY
        assert time.monotonic() - begin < 20, "the command ended only at the next heartbeat, after 25 s"
    finally:
        process.kill()
        process.wait()


# MARK: a terminal


@pytest.mark.parametrize("columns", [50, 80, 120])
@pytest.mark.parametrize("arguments", [["status"], ["members"], ["partitions"], ["plan"], ["events"], ["locate", "a"], ["doctor"]], ids=" ".join)
def test_no_line_is_wider_than_the_terminal(shared, arguments, columns):
    url = ["--url", f"http://{HOST}:{shared.listen}"] if arguments == ["doctor"] else []
    screen = Screen(shared, *arguments, *url, rows=40, columns=columns, NO_COLOR="1")
    try:
        lines = read_all(screen).replace("\r", "").split("\n")
        assert len(lines) > 2 and [line for line in lines if len(line) > columns] == []
    finally:
        screen.close()


def test_the_report_of_load_does_not_wrap(shared):
    screen = Screen(shared, "load", "-n", "3", "-d", "0.3", "--warm-up", "0", "--url", f"{HOST}:{shared.listen}", rows=40, columns=80)
    try:
        lines = [line.split("\r")[-1] for line in read_all(screen).replace("\r\n", "\n").split("\n")]
        assert any(line.startswith("deliveries ") for line in lines) and [line for line in lines if len(line.replace("\x1b[K", "")) > 80] == [], lines
    finally:
        screen.close()


def read_all(screen):
    """Reads until the terminal's other end is closed."""
    while True:
        try:
            piece = os.read(screen.file, 65536)
        except OSError:
            return screen.text
        if not piece:
            return screen.text
        screen.text += piece.decode()


def test_the_columns_that_change_come_first_and_w_shows_all(shared):
    def header(*more, columns=80, **env):
        screen = Screen(shared, "members", *more, rows=40, columns=columns, NO_COLOR="1", **env)
        try:
            return read_all(screen).split("\n")[0].split()
        finally:
            screen.close()
    narrow = header()
    assert narrow[:7] == ["ST", "NODE", "OWNS", "MOVING", "CONNECTIONS", "PUBLISHED", "DELIVERED"] and "LINK" not in narrow, narrow
    everything = header("-w")
    assert everything[-2:] == ["API", "LINK"] and everything == header("--wide") == header(columns=300) == header(COLUMNS="300")
    assert header(COLUMNS="80", columns=300) == narrow
    assert run(shared, "members", COLUMNS="40")[1].splitlines()[0].split() == everything, "output into a pipe must have all columns"


def test_watch_shows_changes(shared):
    screen = Screen(shared, "members", "--watch", rows=20, columns=80)
    try:
        frame = screen.read_until("\x1b[H", 2).split("\x1b[H")[1]
        assert "CONNECTIONS" in frame and "PUBLISHED" in frame
        screen.process.send_signal(signal.SIGINT)
        assert screen.process.wait(PATIENCE) == HEALTHY
    finally:
        screen.close()


def test_a_payload_cannot_control_the_terminal(shared, channel):
    payload = "a\x1b]0;title\x07\x1b[2Jb\u202ec"
    shared.publish(channel, payload.encode())
    arguments = ["subscribe", channel, "--backlog", "1", "--max", "1", "--url", f"{HOST}:{shared.listen}"]
    assert call(*arguments)[1] == payload + "\n", "the payload was changed in a pipe"
    ours, theirs = os.openpty()
    process = subprocess.Popen([binary(), *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm"))
    os.close(theirs)
    try:
        text = b""
        while b"\n" not in text:
            text += os.read(ours, 65536)
        assert text.decode() == "a\\u001b]0;title\\u0007\\u001b[2Jb\\u202ec\r\n"
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
