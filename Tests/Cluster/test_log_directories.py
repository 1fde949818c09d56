"""Nodes with several log directories: one fails while the node runs (KIP-112, KIP-858)."""

import json
import subprocess

from confluent_kafka import KafkaException, Producer

from broker import binary
from clusters import Cluster
from load import QUIET
from nodes import Node, wait_until

PARTITIONS = 12


def paths(node: Node) -> list:
    return [node.directory / "first", node.directory / "second"]


def make_cluster() -> Cluster:
    cluster = Cluster(3, proxied=False, settings={
        "replica.high.watermark.checkpoint.interval.ms": "100", "log.initial.task.delay.ms": "100", "log.segment.bytes": "100000"})
    for node in cluster.nodes:
        node.settings["log.dirs"] = ",".join(str(path) for path in paths(node))
        node.configure(cluster.shared)
    return cluster


def break_directory(path) -> None:
    """As when its device is gone: the name leads nowhere any more."""
    path.rename(path.with_suffix(".gone"))
    path.write_text("not a directory")


def mend_directory(path) -> None:
    path.unlink()
    path.with_suffix(".gone").rename(path)


def martlet(*arguments) -> tuple[int, str]:
    done = subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def produce(cluster: Cluster, topic: str, count: int) -> None:
    failures = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, **QUIET})
    for number in range(count):
        producer.produce(
            topic, f"{number}", partition=number % PARTITIONS, on_delivery=lambda error, _: failures.append(error) if error else None)
        producer.poll(0)
    left = producer.flush(60)
    assert left == 0 and not failures, (left, failures[:3])


def held(path, topic: str) -> set[int]:
    """The partitions whose directories lie there."""
    return {int(name.name.rsplit("-", 1)[1]) for name in path.iterdir() if name.name.rsplit("-", 1)[0] == topic}


def test_the_node_goes_on_with_its_other_directories():
    with make_cluster() as cluster:
        cluster.create("spread", PARTITIONS)
        produce(cluster, "spread", 600)
        node = cluster.leader("spread", 0)
        kept, broken = paths(node)
        lost = held(broken, "spread")
        left = held(kept, "spread")
        assert lost and left and lost | left == set(range(PARTITIONS))
        # Without it the controller could not tell which replicas are lost.
        wait_until(lambda: "the controller knows the directories of replicas" in node.log(), "directories were told")
        break_directory(broken)

        # Exactly what was in the directory leaves, and nobody fails a write.
        def moved():
            partitions = cluster.partitions("spread")
            return all((node.number in partitions[index].isrs) == (index in left) for index in range(PARTITIONS)) and all(
                partition.leader not in (-1, node.number) or index in left for index, partition in partitions.items())

        produce(cluster, "spread", 600)
        wait_until(moved, "the partitions of the directory are led and held by others", 12)
        produce(cluster, "spread", 600)
        assert node.is_running and node.is_ready
        assert "a log directory has failed" in node.log()
        status, health = martlet("cluster", "health", "--json", "-b", cluster.bootstrap)
        reasons = {each["partition"]: each["reason"] for each in json.loads(health)["troubles"] if each["topic"] == "spread"}
        assert status == 1 and set(reasons) == lost
        assert all(f"the directory on broker {node.number} failed" in reason for reason in reasons.values()), reasons
        _, shown = martlet("cluster", "log-dirs", "--json", "-b", cluster.bootstrap)
        errors = {each["path"]: each.get("error") for each in json.loads(shown) if each["broker"] == node.number}
        assert "STORAGE" in (errors[str(broken)] or "") and errors[str(kept)] is None, errors

        # A start with the directory still broken puts no empty logs in place of those that are lost.
        assert node.stop() == 0
        node.start().wait_ready()
        produce(cluster, "spread", 600)
        wait_until(moved, "what is left is in sync again", 30)
        assert held(kept, "spread") == left

        mend_directory(broken)
        assert node.stop() == 0
        node.start().wait_ready()
        cluster.wait_whole()
        assert held(broken, "spread") == lost and held(kept, "spread") == left


def test_without_its_metadata_directory_a_node_ends():
    with make_cluster() as cluster:
        cluster.create("goes-on", PARTITIONS)
        node = cluster.leader("goes-on", 0)
        break_directory(paths(node)[0])
        produce(cluster, "goes-on", 120)
        wait_until(lambda: not node.is_running, "the node has ended", 30)
        assert node.process.returncode == 1
        assert "this node cannot go on: the metadata log" in node.log()
        produce(cluster, "goes-on", 120)
        wait_until(lambda: all(node.number not in each.isrs for each in cluster.partitions("goes-on").values()), "it is out", 30)
        node.start()
        wait_until(lambda: not node.is_running, "the node does not start", 30)
        assert f"the metadata log directory {paths(node)[0]} cannot be used" in node.log()


def make_isolated_cluster(controllers: int) -> Cluster:
    """Brokers with two directories for partitions and a third for the metadata."""
    cluster = Cluster(2, controllers=controllers, proxied=False, settings={
        "replica.high.watermark.checkpoint.interval.ms": "100", "log.initial.task.delay.ms": "100"})
    for node in cluster.brokers:
        node.settings["log.dirs"] = ",".join(str(path) for path in paths(node))
        node.settings["metadata.log.dir"] = str(node.directory / "metadata")
        node.configure(cluster.shared)
    return cluster


def test_without_its_last_directory_a_broker_ends():
    with make_isolated_cluster(1) as cluster:
        cluster.create("goes-on", PARTITIONS)
        node = cluster.leader("goes-on", 0)
        wait_until(lambda: "the controller knows the directories of replicas" in node.log(), "directories were told")
        break_directory(paths(node)[0])
        produce(cluster, "goes-on", 120)
        wait_until(lambda: "a log directory has failed" in node.log(), "it notices", 30)
        assert node.is_running
        break_directory(paths(node)[1])
        produce(cluster, "goes-on", 120)
        wait_until(lambda: not node.is_running, "the node has ended", 30)
        assert node.process.returncode == 1
        assert "this node cannot go on: every directory of log.dirs has failed" in node.log()
        produce(cluster, "goes-on", 120)
        wait_until(lambda: all(node.number not in each.isrs for each in cluster.partitions("goes-on").values()), "it is out", 30)
        # With both back it takes its replicas up again.
        for path in paths(node):
            mend_directory(path)
        node.start().wait_ready()
        cluster.wait_whole()


def is_created(cluster: Cluster, topic: str) -> bool:
    try:
        cluster.create(topic, PARTITIONS)
        return True
    except KafkaException as error:
        assert error.args[0].name() in ("TOPIC_ALREADY_EXISTS", "KAFKA_STORAGE_ERROR"), error
        return error.args[0].name() == "TOPIC_ALREADY_EXISTS"


def test_without_its_directory_a_controller_ends_and_the_others_go_on():
    with make_isolated_cluster(3) as cluster:
        cluster.create("before", PARTITIONS)
        controller = cluster.controller()
        break_directory(controller.data)
        # The next change is the one that meets the failure; what came of it is not known, and the next controller is asked again.
        wait_until(lambda: is_created(cluster, "goes-on"), "the topic is there", 60, 0.2)
        wait_until(lambda: not controller.is_running, "the controller has ended", 60)
        assert controller.process.returncode == 1
        assert "this node cannot go on: the metadata log" in controller.log()
        produce(cluster, "goes-on", 120)
        cluster.create("after", PARTITIONS)
        mend_directory(controller.data)
        controller.start().wait_ready()
