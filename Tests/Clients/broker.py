"""A broker process of the real binary: started on free ports in an own directory, stopped, killed and started again."""

import fcntl
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def binary() -> Path:
    return ROOT / os.environ.get("MARTLET_BINARY", ".build/debug/martlet")


_taken: dict[int, object] = {}


def free_port(count: int = 2) -> int:
    """A port that no outgoing connection takes while its node is down, because it is below the ephemeral ones, and no other run of tests
    on this machine either: the first of `count` that are free as well. The second is where `martlet dev` puts its controller."""
    while True:
        port = random.SystemRandom().randrange(11_000, 32_000, 2)
        pairs = range(port, port + count, 2)
        if any(pair in _taken for pair in pairs) or not all(_is_free(number) for number in range(port, port + count)):
            continue
        reservations = {pair: _reserve(pair) for pair in pairs}
        if all(reservations.values()):
            _taken.update(reservations)
            return port
        for reservation in filter(None, reservations.values()):
            reservation.close()


def _reserve(port: int):
    """A lock that goes with this process, so that another run does not give the port to its nodes while the one here is down."""
    directory = Path(tempfile.gettempdir()) / "martlet-test-ports"
    directory.mkdir(exist_ok=True)
    file = open(directory / str(port), "wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(condition, what: str, seconds: float = 30, pause: float = 0.05):
    """Returns what `condition` returns as soon as that is true; fails when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)


class Broker:
    """`settings` (Kafka's names) turn `martlet dev` into `martlet format` and `martlet server` with a file of them; `features` are levels
    that the new cluster begins with, such as share.version=1."""

    def __init__(self, settings: dict[str, str] | None = None, features: tuple[str, ...] = ()):
        self.directory = Path(tempfile.mkdtemp(prefix="martlet-clients-"))
        self.port = free_port()
        self.admin_port = free_port()
        self.settings = settings
        self.features = features
        self.process: subprocess.Popen | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def pid(self) -> int:
        return self.process.pid

    def command(self) -> list[str]:
        if self.settings is None:
            return [
                str(binary()), "dev", "--port", str(self.port), "--data", str(self.data), "--admin-port", str(self.admin_port),
            ]
        return [str(binary()), "server", str(self.write_properties())]

    def write_properties(self) -> Path:
        controller = free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data),
            "offsets.topic.replication.factor": "1",
            "martlet.admin.listeners": f"127.0.0.1:{self.admin_port}",
        }
        settings.update(self.settings)
        path = self.directory / "server.properties"
        if not path.exists():
            path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
            done = subprocess.run(
                [str(binary()), "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(path),
                 *(text for feature in self.features for text in ("--feature", feature))],
                capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, f"format failed: {done.stdout}{done.stderr}"
        return path

    def start(self, seconds: float = 60) -> "Broker":
        log = open(self.directory / "broker.log", "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

        def ready_or_gone():
            assert self.process.poll() is None, f"the broker ended with {self.process.returncode}:\n{self.log()[-4000:]}"
            return self.is_ready()

        wait_until(ready_or_gone, "the broker is ready", seconds, pause=0.02)
        return self

    def get(self, path: str) -> tuple[int, str]:
        """An HTTP GET from the admin port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        try:
            return self.get("/health/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds: float = 60) -> int:
        """Asks for a clean stop and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def remove(self) -> None:
        self.kill()
        if os.environ.get("KEEP_DATA"):
            print(f"data kept in {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        return (self.directory / "broker.log").read_text(errors="replace")

    def resident_megabytes(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("the broker has no resident size")

    def __enter__(self) -> "Broker":
        return self.start()

    def __exit__(self, *_) -> None:
        self.remove()
