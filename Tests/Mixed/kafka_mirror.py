"""Apache Kafka's own MirrorMaker 2 as a process, with the same file as Martlet's."""

import os
import signal
import subprocess
from pathlib import Path

from kafka_nodes import kafka_program
from mirror_process import Mirror


class KafkaMirror(Mirror):
    """With the memory that its script gives it. It serves no metrics of Martlet's, and keeps two topics of Connect's more."""

    def __init__(self, directory: Path, clusters: dict[str, str], settings: dict[str, str]):
        connect = {f"{topic}.storage.replication.factor": "1" for topic in ("config", "status")}
        super().__init__(directory, clusters, {**connect, **settings}, name="kafka-mirror")

    def start(self) -> "KafkaMirror":
        assert not self.is_running
        environment = {**os.environ, "LOG_DIR": str(self.directory / "kafka-logs")}
        with open(self.log_file, "ab") as log:
            # A session of its own, so that a script that does not replace itself by the JVM can be ended with it.
            self.process = subprocess.Popen(
                [kafka_program("connect-mirror-maker.sh", "connect-mirror-maker"), str(self.file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
        return self

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, *_) -> None:
        if self.is_running:
            self.kill()
