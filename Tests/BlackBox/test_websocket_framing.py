"""The framing of RFC 6455: valid and invalid frames of a client."""

import struct
import time

import pytest

from harness.node import eventually
from harness.subscribers import WS
from harness.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

LIMIT = 4096
FLAGS = ["--client-message-bytes-max", str(LIMIT)]


@pytest.fixture
def ws(shared, channel):
    with WS(shared, channel) as subscriber:
        yield subscriber


def goes_on(ws, shared):
    """Checks that the connection still delivers events, and responds to pings."""
    ws.socket.send(PING, b"still there")
    while True:
        _, opcode, payload = ws.socket.frame()
        if opcode == PONG:
            assert payload == b"still there"
            break
        assert opcode not in (CLOSE,), f"the node closed the connection: {payload}"
    shared.publish(ws.channels[0], "still there")
    assert ws.next().data == "still there"


def closes(ws, shared, code):
    """Checks that the node sends the close code and closes the connection, and no longer counts the subscriber."""
    assert ws.socket.close_code() == code
    assert ws.wire.ended(), "the connection stays open"
    eventually(lambda: shared.subscribers(ws.channels[0]) == 0)
    shared.healthy()


# MARK: valid frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1000, LIMIT])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_are_read_and_dropped(ws, shared, size, opcode):
    ws.socket.send(opcode, b"a" * size)
    goes_on(ws, shared)


def test_fragments(ws, shared):
    ws.socket.send(TEXT, "eins ü", fin=False)
    ws.socket.send(CONTINUATION, "zwei", fin=False)
    ws.socket.send(CONTINUATION, b"", fin=False)
    ws.socket.send(CONTINUATION, "drei")
    goes_on(ws, shared)


def test_a_character_split_between_fragments(ws, shared):
    text = "ü€😀".encode()
    for index in range(len(text)):
        ws.socket.send(CONTINUATION if index else TEXT, text[index:index + 1], fin=index == len(text) - 1)
    goes_on(ws, shared)


def test_a_ping_in_the_middle_of_a_message(ws, shared):
    ws.socket.send(TEXT, "eins", fin=False)
    ws.socket.send(PING, b"between")
    assert ws.socket.frame()[1:] == (PONG, b"between")
    ws.socket.send(PONG, b"unasked")
    ws.socket.send(CONTINUATION, "zwei")
    goes_on(ws, shared)


@pytest.mark.parametrize("size", [0, 1, 125])
def test_pongs_have_the_payload_of_the_ping(ws, shared, size):
    ws.socket.send(PING, bytes(range(size)))
    assert ws.socket.frame()[1:] == (PONG, bytes(range(size)))


def test_many_pings(ws, shared):
    """Pongs arrive in order. The last ping must get a pong (§5.5.3 allows skipping the others)."""
    ws.wire.send(b"".join(frame(PING, str(n).encode()) for n in range(500)))
    got = []
    while not got or got[-1] != 499:
        _, opcode, payload = ws.socket.frame()
        assert opcode == PONG
        got.append(int(payload))
    assert got == sorted(got)


def test_byte_by_byte(ws, shared):
    data = frame(TEXT, "einzeln ü" * 20) + frame(TEXT, b"x" * 200, fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"y")
    for byte in data:
        ws.wire.send(bytes([byte]))
    assert ws.socket.frame()[1:] == (PONG, b"p")
    goes_on(ws, shared)


def test_writes_that_never_end_with_a_frame(ws, shared):
    """The node releases the bytes that it has read, although each write ends in the middle of a frame."""
    data = frame(TEXT, b"x" * 4000)
    before = resident(shared)
    ws.wire.send(data[:7])
    for _ in range(150):
        ws.wire.send((data[7:] + data[:7]) * 40)
    ws.wire.send(data[7:])
    goes_on(ws, shared)
    assert resident(shared) - before < 16_000_000, "the node keeps the bytes that it has read"


def resident(node):
    """Returns the process's private memory. File-backed pages of the binary are not counted, because their number varies."""
    with open(f"/proc/{node.pid}/statm") as file:
        _, total, shared, *_ = map(int, file.read().split())
        return (total - shared) * 4096


def test_many_frames_in_one_write(ws, shared):
    ws.wire.send(b"".join(frame(TEXT, b"x" * 100) for _ in range(1000)))
    goes_on(ws, shared)


def test_large_events_have_long_lengths(ws, shared):
    for size in (10, 100, 124, 125, 126, 127, 1000, 65000, 65500, 65536):
        shared.publish(ws.channels[0], b"x" * size)
        assert ws.next().data == "x" * size


def test_a_mask_of_zeros(ws, shared):
    payload = b"clear"
    ws.wire.send(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
    goes_on(ws, shared)


# MARK: invalid frames


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
@pytest.mark.parametrize("size", [0, 5])
def test_unmasked(ws, shared, opcode, size):
    ws.socket.send(opcode, b"\x03\xe8abc"[:size], mask=False)
    closes(ws, shared, 1002)


@pytest.mark.parametrize("size, length_bytes", [(0, 2), (3, 2), (125, 2), (3, 8), (126, 8), (1000, 8)])
def test_longer_forms_of_the_length(ws, shared, size, length_bytes):
    """Only the shortest form is valid (RFC 6455 §5.2)."""
    ws.socket.send(TEXT, b"a" * size, length_bytes=length_bytes)
    closes(ws, shared, 1002)


@pytest.mark.parametrize("rsv", range(1, 8))
def test_reserved_bits(ws, shared, rsv):
    ws.socket.send(TEXT, b"x", rsv=rsv)
    closes(ws, shared, 1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_reserved_opcodes(ws, shared, opcode, payload):
    ws.socket.send(opcode, payload)
    closes(ws, shared, 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_fragmented_control_frame(ws, shared, opcode):
    ws.socket.send(opcode, b"", fin=False)
    closes(ws, shared, 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_long_control_frame(ws, shared, opcode):
    ws.socket.send(opcode, b"\x03\xe8" + b"x" * 124)
    closes(ws, shared, 1002)


def test_a_continuation_of_nothing(ws, shared):
    ws.socket.send(CONTINUATION, b"x")
    closes(ws, shared, 1002)


def test_a_continuation_after_the_end(ws, shared):
    ws.socket.send(TEXT, b"x", fin=False)
    ws.socket.send(CONTINUATION, b"x")
    ws.socket.send(CONTINUATION, b"x")
    closes(ws, shared, 1002)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_in_the_middle_of_another(ws, shared, opcode):
    ws.socket.send(TEXT, b"x", fin=False)
    ws.socket.send(opcode, b"x")
    closes(ws, shared, 1002)


NO_UTF8 = {
    "lone continuation": b"\x80", "overlong slash": b"\xc0\xaf", "overlong NUL": b"\xe0\x80\x80", "surrogate": b"\xed\xa0\x80",
    "beyond the last": b"\xf4\x90\x80\x80", "five bytes": b"\xf8\x88\x80\x80\x80", "FF": b"\xff", "cut short": b"abc\xe2\x82",
    "after good text": "κόσμε".encode() + b"\xed\xa0\x80edited",
}


@pytest.mark.parametrize("case", NO_UTF8)
def test_text_that_is_not_utf8(ws, shared, case):
    ws.socket.send(TEXT, NO_UTF8[case])
    closes(ws, shared, 1007)


def test_text_in_fragments_that_is_not_utf8(ws, shared):
    ws.socket.send(TEXT, b"abc\xe2", fin=False)
    ws.socket.send(CONTINUATION, b"\x82", fin=False)
    ws.socket.send(CONTINUATION, b"\x28")
    closes(ws, shared, 1007)


def test_binary_messages_need_not_be_utf8(ws, shared):
    for data in NO_UTF8.values():
        ws.socket.send(BINARY, data)
    goes_on(ws, shared)


def test_oversized(ws, shared):
    ws.socket.send(TEXT, b"a" * (LIMIT + 1))
    closes(ws, shared, 1009)


def test_oversized_in_fragments(ws, shared):
    ws.socket.send(TEXT, b"a" * LIMIT, fin=False)
    ws.socket.send(CONTINUATION, b"a")
    closes(ws, shared, 1009)


@pytest.mark.parametrize("length", [LIMIT + 1, 65535, 65536, 2**31, 2**62])
def test_an_oversized_length_is_refused_at_the_header(ws, shared, length):
    """The node refuses the frame when it has read its header. It neither waits for the bytes nor reserves memory for them."""
    ws.socket.send(BINARY, b"", length=length)
    closes(ws, shared, 1009)


def test_the_highest_bit_of_a_length(ws, shared):
    ws.wire.send(bytes([0x82, 0xFF]) + struct.pack("!Q", 2**63 + 5) + b"\0\0\0\0")
    assert ws.socket.close_code() in (1002, 1009)
    assert ws.wire.ended()


def test_empty_fragments_without_end(ws, shared):
    """Ten thousand empty fragments use no memory."""
    ws.socket.send(TEXT, b"", fin=False)
    ws.wire.send(b"".join(frame(CONTINUATION, b"", fin=False) for _ in range(10_000)))
    ws.socket.send(CONTINUATION, b"")
    goes_on(ws, shared)


# MARK: closing


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
def test_a_close_gets_a_close(ws, shared, code):
    ws.socket.send(CLOSE, struct.pack("!H", code) + "Grüße".encode())
    assert ws.socket.close_code() in (code, 1000)
    assert ws.wire.ended()
    eventually(lambda: shared.subscribers(ws.channels[0]) == 0)


def test_a_close_without_a_code_gets_a_close(ws, shared):
    ws.socket.send(CLOSE)
    assert ws.socket.close_code() in (None, 1000)
    assert ws.wire.ended()


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_bad_close_codes(ws, shared, code):
    ws.socket.send(CLOSE, struct.pack("!H", code))
    closes(ws, shared, 1002)


def test_a_close_of_one_byte(ws, shared):
    ws.socket.send(CLOSE, b"\x03")
    closes(ws, shared, 1002)


def test_a_close_whose_reason_is_not_utf8(ws, shared):
    ws.socket.send(CLOSE, struct.pack("!H", 1000) + b"\xff\xfe")
    assert ws.socket.close_code() in (1007, 1002)
    assert ws.wire.ended()


def test_frames_after_a_close_are_ignored(ws, shared):
    ws.wire.send(frame(CLOSE, struct.pack("!H", 1000)) + frame(PING, b"after") + frame(TEXT, b"\xff"))
    _, opcode, payload = ws.socket.frame()
    assert opcode == CLOSE and payload[:2] == struct.pack("!H", 1000)
    assert ws.wire.rest() == b""


def test_a_close_in_the_middle_of_a_message(ws, shared):
    ws.socket.send(TEXT, b"x", fin=False)
    ws.socket.send(CLOSE, struct.pack("!H", 1000))
    assert ws.socket.close_code() == 1000
    assert ws.wire.ended()


def test_a_close_while_events_arrive(ws, shared):
    """The node sends its close frame only after a complete frame."""
    import threading
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            shared.publish(ws.channels[0], "x" * 500)
    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(20):
            assert ws.next().data == "x" * 500
        ws.socket.send(CLOSE, struct.pack("!H", 1000))
        assert ws.socket.close_code() == 1000
        assert ws.wire.ended()
    finally:
        stop.set()
        thread.join()


def test_a_client_that_vanishes(shared, channel):
    for how in ("close", "reset"):
        for data in (b"", frame(TEXT, b"abc")[:-1], b"\x81", frame(TEXT, b"x", fin=False)):
            ws = WS(shared, channel)
            ws.wire.send(data)
            getattr(ws, how)()
    eventually(lambda: shared.subscribers(channel) == 0)
    time.sleep(0.05)
    shared.healthy()
