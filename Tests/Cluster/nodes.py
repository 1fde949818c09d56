"""Nodes of a cluster, each a real `martlet server` with a generated configuration: started, stopped, killed, paused, with its disk
made full or its clock moved."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "Clients"))

from broker import binary, free_port, wait_until  # noqa: E402
from network import Network  # noqa: E402

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
TICKS = os.sysconf("SC_CLK_TCK")


class Node:
    """Listens on ports of 127.0.0.1 and is known to others by ports of the proxy, those of `proxied_listeners`; without a network by its
    own ports."""

    def __init__(self, number: int, roles: str, zone: str, directory: Path, network: Network | None, names: str = "n",
                 proxied_listeners: tuple[str, ...] = ("PLAINTEXT", "REPLICATION", "CONTROLLER")):
        self.number, self.roles, self.zone, self.network = number, roles, zone, network
        self.name = f"{names}{number}"
        self.directory = directory / self.name
        self.directory.mkdir(parents=True)
        self.process: subprocess.Popen | None = None
        self.is_paused = False
        self.admin_port = free_port()
        self.ports: dict[str, int] = {}
        self.published: dict[str, int] = {}
        wanted = (["PLAINTEXT", "REPLICATION"] if self.is_broker else []) + (["CONTROLLER"] if self.is_controller else [])
        for listener in wanted:
            self.ports[listener] = free_port()
            self.published[listener] = (
                network.publish(self.name, self.ports[listener]) if network and listener in proxied_listeners else self.ports[listener])
        self.cluster_id = CLUSTER_ID
        self.settings: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.cpu_before = 0.0

    def __repr__(self) -> str:
        return self.name

    @property
    def is_broker(self) -> bool:
        return "broker" in self.roles

    @property
    def is_controller(self) -> bool:
        return "controller" in self.roles

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.published['PLAINTEXT']}"

    @property
    def controller_address(self) -> str:
        return f"127.0.0.1:{self.published['CONTROLLER']}"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"

    def configure(self, shared: dict[str, str]) -> None:
        # A node that is a broker only must not listen where controllers do.
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        advertised = ",".join(f"{name}://127.0.0.1:{self.published[name]}" for name in self.ports)
        self.settings = {
            "process.roles": self.roles, "node.id": str(self.number), "broker.rack": self.zone, "listeners": listeners,
            "advertised.listeners": advertised, "inter.broker.listener.name": "REPLICATION", "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data), "martlet.admin.listeners": f"127.0.0.1:{self.admin_port}", **shared, **self.settings,
        }
        if not self.is_broker:
            del self.settings["inter.broker.listener.name"], self.settings["broker.rack"]
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))

    def format(self, *arguments: str) -> None:
        done = subprocess.run(
            [str(binary()), "format", "-t", self.cluster_id, "-c", str(self.properties), *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"format of {self} failed: {done.stdout}{done.stderr}"

    def start(self) -> "Node":
        """Starts the process and does not wait for it."""
        assert not self.is_running, f"{self} runs already"
        with open(self.directory / "node.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(binary()), "server", str(self.properties)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment})
        if self.network:
            self.network.started(self.name, self.process.pid)
        return self

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        assert self.is_running, f"{self} ended with {self.process.returncode}:\n{self.log()[-3000:]}"
        try:
            return self.get("/health/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self, seconds: float = 60) -> "Node":
        wait_until(lambda: self.is_ready, f"{self} is ready", seconds, pause=0.01)
        return self

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def log_end(self, topic: str, partition: int = 0) -> int:
        """The end of the node's own replica, by its metrics."""
        status, text = self.get("/metrics")
        assert status == 200
        name = f'kafka_log_log_logendoffset{{topic="{topic}",partition="{partition}"}} '
        [value] = [line.split()[-1] for line in text.splitlines() if line.startswith(name)]
        return int(float(value))

    def kill(self) -> None:
        """kill -9."""
        if self.is_running:
            self.cpu_before += self.cpu_seconds_of_process()
            self.process.kill()
            self.process.wait()
        self.is_paused = False
        if self.network:
            self.network.gone(self.name)

    def stop(self, seconds: float = 90) -> int:
        """A clean stop, with controlled shutdown; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(seconds)
        if self.network:
            self.network.gone(self.name)
        return status

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        if self.is_paused and self.is_running:
            self.process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def log(self) -> str:
        path = self.directory / "node.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def cpu_seconds_of_process(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def cpu_seconds(self) -> float:
        """Over all of its processes that were killed, and the one that runs."""
        return self.cpu_before + (self.cpu_seconds_of_process() if self.is_running else 0)

    @property
    def resident_megabytes(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"{self} has no resident size")


class SmallDisk:
    """A file system of its own for a node's data, so that it can be full. Needs root."""

    def __init__(self, node: Node, megabytes: int):
        self.node, self.ballast = node, node.data / ".ballast"
        node.data.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(node.data)], check=True)

    @staticmethod
    def is_possible(directory: Path) -> bool:
        """Whether this user may mount, tried rather than guessed."""
        probe = directory / "mount-probe"
        probe.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(probe)], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", str(probe)], check=True)
        probe.rmdir()
        return done.returncode == 0

    def fill(self) -> None:
        """Takes every free byte."""
        with open(self.ballast, "ab", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2

    def drain(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.node.data)], capture_output=True)


class Clock:
    """Moves a node's wall clock by an offset in a file that a preloaded library reads. The monotonic clock stays right, as it does
    when an administrator or NTP sets a machine's time."""

    _library: Path | None = None

    def __init__(self, node: Node):
        self.file = node.directory / "clock-offset"
        self.shift(0)
        node.environment.update({"LD_PRELOAD": str(self.library(node.directory.parent)), "CLOCK_OFFSET_FILE": str(self.file)})

    @classmethod
    def library(cls, directory: Path) -> Path:
        if cls._library is None or not cls._library.exists():
            cls._library = directory / "clock.so"
            subprocess.run(
                ["cc", "-shared", "-fPIC", "-O2", "-o", str(cls._library), str(Path(__file__).with_name("clock.c")), "-ldl"], check=True)
        return cls._library

    @staticmethod
    def is_possible() -> bool:
        return shutil.which("cc") is not None

    def shift(self, seconds: float) -> None:
        # In place, since the node has the file mapped.
        with open(self.file, "r+b" if self.file.exists() else "w+b") as file:
            file.write(int(seconds * 1e9).to_bytes(8, "little", signed=True))


def seconds_until(condition, what: str, seconds: float = 60, pause: float = 0.005) -> float:
    """How long it took."""
    started = time.monotonic()
    wait_until(condition, what, seconds, pause)
    return time.monotonic() - started
