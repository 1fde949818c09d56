"""`martlet mirror run` as a process."""

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

from clusters import Cluster
from nodes import binary, free_port

# Small clusters, and nobody waits for minutes.
QUICK = {
    "replication.factor": "1", "offset-syncs.topic.replication.factor": "1", "checkpoints.topic.replication.factor": "1",
    "heartbeats.topic.replication.factor": "1", "offset.storage.replication.factor": "1", "offset.storage.partitions": "5",
    "refresh.topics.interval.seconds": "1", "refresh.groups.interval.seconds": "1", "emit.checkpoints.interval.seconds": "1",
    "sync.group.offsets.interval.seconds": "1", "sync.topic.configs.interval.seconds": "1", "sync.topic.acls.interval.seconds": "1",
    "offset.flush.interval.ms": "300",
}


@contextmanager
def one_node_clusters(aliases: str):
    """Clusters of one node each, by their aliases. Tests use topics of their own."""
    clusters = {alias: Cluster(1, proxied=False) for alias in aliases}
    try:
        for cluster in clusters.values():
            cluster.start()
        yield clusters
    finally:
        for cluster in clusters.values():
            cluster.close()


@contextmanager
def mirrors_between(directory: Path, clusters: dict[str, Cluster], settings: dict[str, str] | None = None):
    """Makes mirrors between some of the clusters, with settings that all have; they are killed in the end."""
    made = []

    def make(aliases: str, own: dict[str, str], *arguments: str, name: str = "mirror") -> "Mirror":
        places = {alias: clusters[alias].bootstrap for alias in aliases}
        made.append(Mirror(directory, places, {**(settings or {}), **own}, *arguments, name=name))
        return made[-1].start()

    try:
        yield make
    finally:
        for one in made:
            if one.is_running:
                one.kill()


class Mirror:
    """A mirror between clusters by their aliases, with a file of `settings` over quick ones."""

    def __init__(self, directory: Path, clusters: dict[str, str], settings: dict[str, str], *arguments: str, name: str = "mirror"):
        self.directory, self.arguments, self.log_file = directory, arguments, directory / f"{name}.log"
        self.file = directory / "mm2.properties"
        self.metrics_port = free_port()
        entries = {"clusters": ", ".join(clusters), **{f"{alias}.bootstrap.servers": servers for alias, servers in clusters.items()}}
        self.file.write_text("".join(f"{key} = {value}\n" for key, value in {**entries, **QUICK, **settings}.items()))
        self.process: subprocess.Popen | None = None

    def start(self) -> "Mirror":
        assert not self.is_running
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(binary()), "mirror", "run", str(self.file), "--metrics", f"127.0.0.1:{self.metrics_port}", *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def __enter__(self) -> "Mirror":
        return self.start()

    def __exit__(self, *_) -> None:
        if self.is_running:
            self.process.kill()
            self.process.wait()

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_megabytes(self) -> float:
        [line] = [line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024
