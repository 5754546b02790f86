"""One real Redis server."""

import shutil
import signal
import socket
import subprocess

from .node import HOST, Port, die_with_parent, eventually


class Redis:
    """Its process dies with the test process. Without flags it stores nothing on the disk."""

    def __init__(self, folder, *flags):
        self.folder, self.flags = folder, list(flags)
        self.folder.mkdir(parents=True)
        self.port = Port()
        self.process = None

    @property
    def url(self):
        return f"redis://{HOST}:{self.port.number}"

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, *flags):
        def prepare():
            die_with_parent()
            # A file that may not grow gives an error, as a full disk does, and no signal.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        with open(self.folder / "output.log", "ab") as output:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port.number), "--bind", HOST, "--dir", str(self.folder), "--save", "", *self.flags, *flags],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=prepare)
        eventually(lambda: self.command("PING") == b"+PONG\r\n")
        return self

    def command(self, *words):
        try:
            with socket.create_connection((HOST, self.port.number), 5) as s:
                s.sendall(" ".join(words).encode() + b"\r\n")
                return s.recv(4096)
        except OSError:
            return None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        """The connections stay open and silent, and the kernel accepts new ones."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def forget(self):
        """Deletes everything on the disk. The server must not run."""
        for path in self.folder.iterdir():
            if path.name != "output.log":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def close(self):
        if self.running:
            self.kill()
        self.port.release()
