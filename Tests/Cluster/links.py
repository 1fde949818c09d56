"""Two clusters and a link between them, and how their logs are compared."""

import subprocess
from pathlib import Path

from broker import binary
from clusters import Cluster
from commands import martlet, martlet_json
from nodes import Node, wait_until

SOURCE_ID = "c291cmNlLWNsdXN0ZXItMQ"
DESTINATION_ID = "ZGVzdGluYXRpb24tMS0xLQ"


def source_cluster(size: int = 1, **arguments) -> Cluster:
    return Cluster(size, cluster_id=SOURCE_ID, **{"proxied": False, **arguments})


def destination_cluster(size: int = 3, **arguments) -> Cluster:
    return Cluster(size, cluster_id=DESTINATION_ID, **{"proxied": False, **arguments})


def batches(node: Node, topic: str, partition: int = 0) -> list[bytes]:
    """Every batch of a replica's log as it is on disk, without the leader epoch, which each cluster has of its own."""
    found = []
    for segment in sorted(Path(node.data / f"{topic}-{partition}").glob("*.log")):
        content = segment.read_bytes()
        position = 0
        while position + 61 <= len(content):
            size = int.from_bytes(content[position + 8:position + 12], "big") + 12
            if size <= 12 or position + size > len(content):
                break
            batch = content[position:position + size]
            found.append(batch[:12] + b"\0\0\0\0" + batch[16:])
            position += size
    return found


def link(destination: Cluster, source: Cluster, name: str = "link", **settings) -> str:
    arguments = [argument for key, value in settings.items() for argument in ("--set", f"{key.replace('_', '.')}={value}")]
    martlet(destination, "link", "create", name, "--bootstrap", source.bootstrap, *arguments)
    return name


def mirror(destination: Cluster, topic: str) -> dict:
    """The mirror as its cluster describes it."""
    [found] = [each for each in martlet_json(destination, "link", "mirrors") if each["topic"] == topic]
    return found


def wait_mirror(destination: Cluster, topic: str, state: str = "ACTIVE", lag: int | None = 0, seconds: float = 30) -> dict:
    seen = {}

    def is_so():
        nonlocal seen
        seen = next((each for each in martlet_json(destination, "link", "mirrors") if each["topic"] == topic), {})
        return seen.get("state") == state and (lag is None or seen.get("lag") == lag)

    try:
        wait_until(is_so, f"{topic} is {state}", seconds, pause=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}; at last {seen}") from None
    return seen


def wait_end(cluster: Cluster, topic: str, end: int, partition: int = 0, seconds: float = 30) -> None:
    """All replicas have so much."""
    def has_it(node: Node) -> bool:
        try:
            return node.log_end(topic, partition) >= end
        except (OSError, ValueError):
            # Not made yet, or the node has no time to say so.
            return False

    for node in cluster.brokers:
        wait_until(lambda: has_it(node), f"{node} has {topic}-{partition} to {end}", seconds, 0.05)


def metric(cluster: Cluster, name: str, topic: str) -> float:
    """The sum over a cluster's brokers."""
    total = 0.0
    for node in cluster.brokers:
        for line in node.get("/metrics")[1].splitlines():
            if line.startswith(name + "{") and f'topic="{topic}"' in line:
                total += float(line.rsplit(" ", 1)[1])
    return total


def wait_acks(destination: Cluster, topic: str, state: str) -> None:
    wait_until(lambda: mirror(destination, topic)["synchronous"] == state, f"the source's producers see {topic} as {state}", 30, 0.1)
