"""The two servers that are compared. Each runs in a directory of its own, which goes when it stops."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import native

sys.path.append(str(native.ROOT / "Tests/Clients"))

from broker import free_port  # noqa: E402


class Server:
    """A server process in an own directory; `with` starts it and cleans up."""

    name = ""

    def __init__(self, scratch: Path):
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=scratch))
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self, patience: float = 60) -> float:
        """Starts the server and returns the seconds until it was ready."""
        log = open(self.directory / "server.log", "ab")
        started = time.perf_counter()
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        while not self.is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
            if time.perf_counter() - started > patience:
                raise RuntimeError(f"{self.name} was not ready within {patience} s: {self.last_words()}")
            time.sleep(0.001)
        return time.perf_counter() - started

    def stop(self, patience: float = 60) -> float:
        """Asks the server to end and returns the seconds that took."""
        started = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(patience)
        return time.perf_counter() - started

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")[-2000:]


class Baseline(Server):
    """The C server; it takes any topic as it comes."""

    name = "baseline"

    def command(self):
        return [str(native.baseline()), str(self.port), str(self.directory)]

    def is_ready(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def create(self, topic: str, partitions: int) -> None:
        pass


class Martlet(Server):
    """The broker's release binary as `martlet dev` starts it."""

    name = "martlet"

    def __init__(self, scratch: Path):
        super().__init__(scratch)
        self.admin_port = free_port()

    def command(self):
        binary = os.environ.get("MARTLET_BINARY", str(native.ROOT / ".build/release/martlet"))
        return [binary, "dev", "--port", str(self.port), "--data", str(self.directory / "data"), "--admin-port", str(self.admin_port)]

    def is_ready(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def create(self, topic: str, partitions: int) -> None:
        command = [native.loadgen(), "create", "--port", self.port, "--topic", topic, "--partitions", partitions]
        subprocess.run([str(part) for part in command], check=True)
