"""An RFC 6455 client that can send every kind of invalid frame."""

import base64
import hashlib
import os
import struct
import time

from .wire import Response

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Closed(EOFError):
    def __init__(self, code, reason=""):
        self.code, self.reason = code, reason
        super().__init__(f"closed with {code} {reason}")


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=True, length_bytes=None, length=None):
    """Makes a client's frame. `length_bytes` forces a longer form of the length, `length` sets a wrong length."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload) if length is None else length
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 65536 else 8
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if length_bytes == 0:
        head += bytes([bit | size])
    elif length_bytes == 2:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


class WebSocket:
    def __init__(self, wire, target, headers=None, timeout=None):
        self.wire = wire
        self.pings = 0
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {
            "Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13", **(headers or {}),
        }
        wire.send(f"GET {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items() if v is not None) + "\r\n")
        self.response = Response(wire, timeout=timeout)
        if self.response.status == 101:
            expected = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
            assert self.response.head["sec-websocket-accept"] == expected, self.response.head
            assert self.response.head["upgrade"].lower() == "websocket" and self.response.head["connection"].lower() == "upgrade"
            assert self.response.head["sec-websocket-extensions"] is None, self.response.head

    def send(self, opcode, payload=b"", **options):
        self.wire.send(frame(opcode, payload, **options))

    def frame(self, timeout=None):
        """Waits for the server's next frame. Returns fin, opcode and payload. Fails if the frame is masked or has a reserved bit."""
        deadline = self.wire.deadline(timeout)
        # Bytes are removed only when the frame is complete, so that a deadline in the middle loses nothing.
        buffer = self.wire.buffer

        def need(count):
            while len(buffer) < count:
                self.wire.fill(deadline)

        need(2)
        first, second = buffer[0], buffer[1]
        assert first & 0x70 == 0, f"reserved bits: {first:#x}"
        assert second & 0x80 == 0, "the server masked a frame"
        size, start = second & 0x7F, 2
        if size == 126:
            need(4)
            size, start = struct.unpack("!H", buffer[2:4])[0], 4
            assert size > 125, "the length is not in its shortest form"
        elif size == 127:
            need(10)
            size, start = struct.unpack("!Q", buffer[2:10])[0], 10
            assert size > 65535, "the length is not in its shortest form"
        need(start + size)
        payload = bytes(buffer[start:start + size])
        del buffer[:start + size]
        opcode = first & 0x0F
        if opcode >= 8:
            assert first & 0x80 and size <= 125, "a fragmented or long control frame"
        return bool(first & 0x80), opcode, payload

    def message(self, timeout=None):
        """Waits for the next text message. Responds to pings. Raises `Closed` at a close frame."""
        deadline = self.wire.deadline(timeout)
        whole = b""
        while True:
            fin, opcode, payload = self.frame(deadline - time.monotonic())
            if opcode == PING:
                self.pings += 1
                self.send(PONG, payload)
            elif opcode == CLOSE:
                raise Closed(*self.parse_close(payload))
            elif opcode in (TEXT, CONTINUATION):
                assert (opcode == CONTINUATION) == bool(whole), "a message begins in the middle of another message"
                whole += payload
                if fin:
                    return whole.decode()
            else:
                assert opcode == PONG, f"opcode {opcode}"

    @staticmethod
    def parse_close(payload):
        if not payload:
            return None, ""
        assert len(payload) >= 2, payload
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def close_code(self, timeout=None):
        """Waits for the server's close frame and returns its code. Skips frames before the close frame. The connection must end after it."""
        deadline = self.wire.deadline(timeout)
        while True:
            _, opcode, payload = self.frame(deadline - time.monotonic())
            if opcode == CLOSE:
                code, _ = self.parse_close(payload)
                return code
