"""The network of a cluster under test: starts the proxy and speaks to it."""

import itertools
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from broker import free_port

CLIENT = "client"


class Network:
    """Links are directions between nodes' names, or `client` for everybody else."""

    def __init__(self, directory: Path):
        self.control = control = directory / "proxy.socket"
        with open(directory / "proxy.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("proxy.py")), str(control)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(30)
        for attempt in itertools.count():
            try:
                self.connection.connect(str(control))
                break
            except OSError:
                if attempt > 500 or self.process.poll() is not None:
                    raise
                time.sleep(0.02)
        self.answers = self.connection.makefile("rb")
        self.parties: list[str] = [CLIENT]

    def _do(self, do: str, **words) -> dict:
        self.connection.sendall(json.dumps({"do": do, **words}).encode() + b"\n")
        answer = json.loads(self.answers.readline() or b'{"error": "the proxy is gone"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def publish(self, node: str, target: int) -> int:
        """A port of the proxy that leads to a port of the node."""
        if node not in self.parties:
            self.parties.append(node)
        port = free_port()
        self._do("listen", port=port, target=target, node=node)
        return port

    def started(self, node: str, pid: int) -> None:
        self._do("pids", pids={node: pid})

    def gone(self, node: str) -> None:
        self._do("suspend", node=node)

    def shape(self, source: str, sink: str, delay: float | None = None, bandwidth: int | None = None) -> None:
        """One direction; delay in seconds, bandwidth in bytes a second (0: unlimited)."""
        self._do("link", **{"from": source, "to": sink}, delay=delay, bandwidth=bandwidth)

    def cut(self, sources: list[str], sinks: list[str], both_ways: bool = True) -> None:
        """Nothing passes from the sources to the sinks, and nothing back unless one-way."""
        for source in sources:
            for sink in sinks:
                if source != sink:
                    self._do("link", **{"from": source, "to": sink}, cut=True)
                    if both_ways:
                        self._do("link", **{"from": sink, "to": source}, cut=True)

    def heal(self) -> None:
        """Every link is as it should be: nothing cut, delayed or slow."""
        for source in self.parties:
            for sink in self.parties:
                if source != sink:
                    self._do("link", **{"from": source, "to": sink}, cut=False, delay=0.0, bandwidth=0)

    def drop_connections(self, one: str, other: str) -> None:
        """Ends the connections between two parties, both of which live on."""
        self._do("break", **{"from": one, "to": other})

    def traffic(self) -> dict[str, int]:
        return self._do("traffic")["bytes"]

    def close(self) -> None:
        self.connection.close()
        self.answers.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.control.unlink(missing_ok=True)
