"""Nodes that either program runs: Apache Kafka, found by MARTLET_KAFKA, or Martlet, on the same directory with the same configuration."""

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "Cluster"))

from nodes import Node, wait_until  # noqa: E402

MARTLET, KAFKA = "martlet", "kafka"
STARTED = "Kafka Server started"
# Small, since several of them run on one machine.
HEAP = {"KAFKA_HEAP_OPTS": "-Xms128m -Xmx384m"}
# Taken out of the environment, where nodes would look for settings of Martlet under such names.
_found = os.environ.pop("MARTLET_KAFKA", None)
KAFKA_DIRECTORY = Path(_found).resolve() if _found else None


def kafka_program(*names: str) -> str:
    """The path of the first that is there: `kafka-storage` or, in a distribution, `kafka-storage.sh`."""
    tried = [KAFKA_DIRECTORY / "bin" / name for name in names]
    for path in tried:
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"none of {', '.join(map(str, tried))} exists; MARTLET_KAFKA must name an unpacked Apache Kafka")


def kafka_tool(name: str, *arguments: str, seconds: float = 90, check: bool = True) -> str:
    """What one of Kafka's tools prints, such as `topics` or `metadata-quorum`."""
    command = [kafka_program(f"kafka-{name}", f"kafka-{name}.sh"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env={**os.environ, **HEAP})
    if check:
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@functools.cache
def kafka_release() -> str:
    """The newest metadata.version of that Apache Kafka, such as 4.1-IV1. Only from 4.0 on its tool tells."""
    found = re.search(r"metadata\.version=\d+ \(([^)]+)\)", kafka_tool("storage", "version-mapping", check=False))
    return found[1] if found else "3.9-IV0"


class MixedNode(Node):
    """`program` says who runs it next."""

    program = MARTLET
    _log_before = 0

    def format(self, *arguments: str, program: str | None = None) -> None:
        if (program or self.program) == MARTLET:
            # A cluster that Martlet formats must not begin with more than the other knows.
            release = [] if "--release-version" in arguments else ["--release-version", kafka_release()]
            return super().format(*arguments, *release)
        kafka_tool("storage", "format", "-t", self.cluster_id, "-c", str(self.properties), *arguments)

    def start(self, program: str | None = None) -> "MixedNode":
        assert not self.is_running, f"{self} runs already"
        self.program = program or self.program
        self._log_before = len(self.log())
        if self.program == MARTLET:
            super().start()
            return self
        command = [kafka_program("kafka-server", "kafka-server-start.sh"), str(self.properties)]
        # Scripts of a distribution write log files of their own there.
        environment = {**os.environ, **HEAP, "LOG_DIR": str(self.directory / "kafka-logs"), **self.environment}
        with open(self.directory / "node.log", "ab") as log:
            # A session of its own, so that a script that does not replace itself by the JVM can be ended with it.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
        if self.network:
            self.network.started(self.name, self.process.pid)
        return self

    @property
    def is_ready(self) -> bool:
        if self.program == MARTLET:
            return super().is_ready
        assert self.is_running, f"{self} ended with {self.process.returncode}:\n{self.log()[-3000:]}"
        return STARTED in self.log()[self._log_before:]

    def wait_ready(self, seconds: float = 120) -> "MixedNode":
        wait_until(lambda: self.is_ready, f"{self} ({self.program}) is ready", seconds, pause=0.05)
        return self

    def kill(self) -> None:
        if self.is_running and self.program == KAFKA:
            os.killpg(self.process.pid, signal.SIGKILL)
        super().kill()

    def stop(self, seconds: float = 90) -> int:
        """A clean stop; a JVM that was asked to stop ends with 143."""
        status = super().stop(seconds)
        return 0 if self.program == KAFKA and status == 143 else status

    def complaints(self) -> list[str]:
        """Lines of the log since the last start that tell of an error."""
        pattern = re.compile(r"\] (ERROR|FATAL) |\b(error|critical|fatal) |Exception")
        return [line for line in self.log()[self._log_before:].splitlines() if pattern.search(line)]

    def log_directory(self, partition: str) -> Path:
        return self.data / partition
