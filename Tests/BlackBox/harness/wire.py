"""A client that sends and reads bytes, and the part of HTTP that is needed to read a response."""

import socket
import struct
import time

from .node import HOST, PATIENCE


class Wire:
    """A connection that reads with a deadline. When the deadline passes, it keeps the bytes that it has read."""

    def __init__(self, port, *, timeout=PATIENCE, receive_buffer=None, recv_bytes=65536):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout)
        self.timeout = timeout
        self.recv_bytes = recv_bytes
        self.buffer = bytearray()
        try:
            self.socket.connect((HOST, port))
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def try_send(self, data):
        """Sends the data. Ignores an error, because the other side may have closed the connection."""
        try:
            self.send(data)
        except OSError:
            pass
        return self

    def fill(self, deadline):
        """Reads once. Raises EOFError at the end of the stream, also if the stream ends with a reset."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no further data arrived in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(self.recv_bytes)
        except ConnectionError as error:
            raise EOFError(str(error)) from error
        if not data:
            raise EOFError("the other side closed the connection")
        self.buffer += data

    def deadline(self, timeout):
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def until(self, mark, timeout=None):
        deadline = self.deadline(timeout)
        start = 0
        while (at := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark) + 1)
            self.fill(deadline)
        found = bytes(self.buffer[:at])
        del self.buffer[:at + len(mark)]
        return found

    def exactly(self, count, timeout=None):
        deadline = self.deadline(timeout)
        while len(self.buffer) < count:
            self.fill(deadline)
        found = bytes(self.buffer[:count])
        del self.buffer[:count]
        return found

    def rest(self, timeout=None):
        """Returns all bytes until the other side closes."""
        deadline = self.deadline(timeout)
        while True:
            try:
                self.fill(deadline)
            except EOFError:
                found = bytes(self.buffer)
                self.buffer.clear()
                return found

    def ended(self, timeout=None):
        """Returns whether the other side closes in time. Ignores the bytes before the close."""
        try:
            self.rest(timeout)
            return True
        except TimeoutError:
            return False

    def reset(self):
        """Closes the connection with RST, like a client that vanishes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


class Head:
    def __init__(self, text):
        lines = text.decode("latin-1").split("\r\n")
        self.version, status, *reason = lines[0].split(" ", 2)
        self.status = int(status)
        self.pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]

    def __getitem__(self, name):
        """The value of a header, or None. Fails if the header occurs more than once."""
        values = [value for key, value in self.pairs if key == name.lower()]
        assert len(values) < 2, self.pairs
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.version} {self.status} {self.pairs}>"


class Response:
    """One HTTP response. Its body may arrive in pieces."""

    def __init__(self, wire, *, method="GET", timeout=None):
        self.wire = wire
        while True:
            self.head = Head(wire.until(b"\r\n\r\n", timeout))
            if self.head.status >= 200 or self.head.status == 101:
                break
        self.chunked = (self.head["transfer-encoding"] or "").lower() == "chunked"
        length = self.head["content-length"]
        assert not (self.chunked and length), self.head
        self.left = int(length) if length is not None else None
        if method == "HEAD" or self.head.status in (101, 204, 304):
            self.chunked, self.left = False, 0
        self.ended = self.left == 0
        self.in_chunk = 0
        self.body = bytearray()

    @property
    def status(self):
        return self.head.status

    def fill(self, timeout):
        if self.ended:
            raise EOFError("the response is complete")
        if self.chunked:
            if not self.in_chunk:
                size = self.wire.until(b"\r\n", timeout)
                self.in_chunk = int(size, 16) + 2
            # A deadline may pass at any point here. The next call continues from there.
            if self.in_chunk == 2:
                self.wire.exactly(2, timeout)
                self.ended = True
                raise EOFError("the response is complete")
            piece = self.wire.exactly(self.in_chunk, timeout)
            assert piece.endswith(b"\r\n"), piece[-20:]
            self.body += piece[:-2]
            self.in_chunk = 0
            return
        if not self.wire.buffer:
            self.wire.fill(self.wire.deadline(timeout))
        take = len(self.wire.buffer) if self.left is None else min(self.left, len(self.wire.buffer))
        self.body += self.wire.buffer[:take]
        del self.wire.buffer[:take]
        if self.left is not None:
            self.left -= take
            self.ended = self.left == 0

    def until(self, mark, timeout=None):
        deadline = self.wire.deadline(timeout)
        while (at := self.body.find(mark)) < 0:
            self.fill(deadline - time.monotonic())
        found = bytes(self.body[:at])
        del self.body[:at + len(mark)]
        return found

    def all(self, timeout=None):
        deadline = self.wire.deadline(timeout)
        while not self.ended:
            try:
                self.fill(deadline - time.monotonic())
            except EOFError:
                if self.left is not None and not self.ended:
                    raise
                break
        return bytes(self.body)
