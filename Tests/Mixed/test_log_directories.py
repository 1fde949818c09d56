"""Brokers of both programs with two log directories each: their controller, of either program, knows by AssignReplicasToDirs where each
replica lies, and takes out exactly what lies in a directory that fails (KIP-858)."""

import json
import re

import pytest
from confluent_kafka import Producer

from broker import wait_until
from contents import Contents, fill
from kafka_nodes import KAFKA, MARTLET, kafka_tool
from load import QUIET
from mixed_clusters import MixedCluster

PARTITIONS = 8
ROLES = ["controller", "broker", "broker"]
UNASSIGNED = "AAAAAAAAAAAAAAAAAAAAAQ"


def paths(node) -> list:
    return [node.data, node.directory / "second"]


@pytest.fixture(scope="module", params=[KAFKA, MARTLET], ids=["kafka-controls", "martlet-controls"])
def cluster(request):
    cluster = MixedCluster(request.param, MARTLET, KAFKA, roles=ROLES, settings={
        # Both notice a broken directory by what they write there all the time.
        "replica.high.watermark.checkpoint.interval.ms": "200", "log.initial.task.delay.ms": "100"})
    for node in cluster.brokers:
        node.settings["log.dirs"] = ",".join(map(str, paths(node)))
        node.settings["metadata.log.dir"] = str(node.directory / "metadata")
        node.configure(cluster.shared)
    with cluster:
        yield cluster


def broker_of(cluster, program: str):
    return next(node for node in cluster.brokers if node.program == program)


def directory_id(path) -> str:
    return re.search(r"^directory\.id=(.+)$", (path / "meta.properties").read_text(), re.MULTILINE)[1].strip().replace("\\", "")


def held(path, topic: str) -> set[int]:
    """The partitions whose directories lie there."""
    return {int(name.name.rsplit("-", 1)[1]) for name in path.iterdir() if re.fullmatch(re.escape(topic) + r"-\d+", name.name)}


def told(cluster, topic: str) -> dict[tuple[int, int], str]:
    """The directory of each partition's replica by the metadata log, which Kafka's tool reads: partition and broker to directory."""
    controller = cluster.node(1)
    replicas, directories, topic_id = {}, {}, None
    for file in sorted((controller.data / "__cluster_metadata-0").glob("*.log")):
        for line in kafka_tool("dump-log", "--cluster-metadata-decoder", "--files", file).splitlines():
            if not (found := re.search(r"payload: (\{.*\})$", line)):
                continue
            record = json.loads(found[1])
            data = record["data"]
            if record["type"] == "TOPIC_RECORD" and data["name"] == topic:
                topic_id = data["topicId"]
            elif record["type"] in ("PARTITION_RECORD", "PARTITION_CHANGE_RECORD") and data["topicId"] == topic_id:
                index = data["partitionId"]
                replicas[index] = data.get("replicas") or replicas.get(index)
                directories[index] = data.get("directories") or directories.get(index)
    return {
        (index, broker): directory for index in directories for broker, directory in zip(replicas[index], directories[index] or [])}


def lying(cluster, topic: str) -> dict[tuple[int, int], str]:
    """The same by where the files are."""
    return {
        (index, node.number): directory_id(path) for node in cluster.brokers for path in paths(node) for index in held(path, topic)}


def wait_told(cluster, topic: str) -> None:
    wait_until(lambda: len(lying(cluster, topic)) == 2 * PARTITIONS, f"every replica of {topic} is there", 30)
    known = wait_until(
        lambda: (found := told(cluster, topic)) == lying(cluster, topic) and found, f"the controller knows where {topic} lies", 40, pause=0.5)
    assert UNASSIGNED not in known.values()


def produce(cluster, topic: str, label: str, count: int = 200) -> None:
    failures = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, **QUIET})
    for number in range(count):
        producer.produce(
            topic, f"{label}-{number}", partition=number % PARTITIONS,
            on_delivery=lambda error, _: failures.append(str(error)) if error else None)
    assert producer.flush(60) == 0 and not failures, failures[:3]


def break_directory(path) -> None:
    """As when its device is gone: the name leads nowhere any more."""
    path.rename(path.with_suffix(".gone"))
    path.write_text("not a directory")


def mend_directory(path) -> None:
    path.unlink()
    path.with_suffix(".gone").rename(path)


def test_the_controller_knows_where_each_replica_lies(cluster):
    cluster.create("spread", PARTITIONS)
    wait_told(cluster, "spread")
    for node in cluster.brokers:
        assert all(held(path, "spread") for path in paths(node)), node


@pytest.mark.parametrize("program", [MARTLET, KAFKA])
def test_a_directory_that_fails_takes_out_what_lies_there(cluster, program):
    topic = f"failed-{program}"
    cluster.create(topic, PARTITIONS, **{"min.insync.replicas": "1"})
    node = broker_of(cluster, program)
    wait_told(cluster, topic)
    produce(cluster, topic, "before")
    kept, broken = paths(node)
    lost, left = held(broken, topic), held(kept, topic)
    assert lost and left and lost | left == set(range(PARTITIONS))
    break_directory(broken)

    def moved():
        partitions = cluster.partitions(topic)
        return all((node.number in partitions[index].isrs) == (index in left) for index in range(PARTITIONS)) and all(
            partition.leader not in (-1, node.number) or index in left for index, partition in partitions.items())

    try:
        produce(cluster, topic, "between")
        wait_until(moved, "the partitions of the directory are led and held by the other", 60)
        produce(cluster, topic, "after")
        assert node.is_running
        health = json.loads(cluster.martlet("cluster", "health", "--json", check=False))
        reasons = {each["partition"]: each["reason"] for each in health["troubles"] if each["topic"] == topic}
        assert set(reasons) == lost, reasons
        assert all(f"the directory on broker {node.number} failed" in reason for reason in reasons.values()), reasons
        # What is created meanwhile lies in the other directory, and the controller knows.
        later = f"later-{program}"
        cluster.create(later, PARTITIONS)
        wait_until(lambda: held(kept, later) == set(range(PARTITIONS)), "all of it lies there", 30)
        wait_until(
            lambda: {told(cluster, later).get((index, node.number)) for index in range(PARTITIONS)} == {directory_id(kept)},
            "the controller knows the one that is left", 40, pause=0.5)
    finally:
        mend_directory(broken)
    before = Contents(cluster, [topic], [])
    assert node.stop() == 0, node.log()[-2000:]
    node.start().wait_ready()
    cluster.wait_whole()
    assert held(broken, topic) == lost and held(kept, topic) == left
    wait_told(cluster, topic)
    cluster.martlet("partition", "elect", topic)
    assert not before.differences(Contents(cluster, [topic], []))


def test_directories_go_from_one_program_to_the_other(cluster):
    """What lies where stays known, whoever runs the node."""
    cluster.create("handed", PARTITIONS)
    fill(cluster, "handed", "first", 24)
    wait_told(cluster, "handed")
    was = lying(cluster, "handed")
    before = Contents(cluster, ["handed"], [])
    first, second = cluster.brokers
    for node, program in [(first, KAFKA), (second, MARTLET), (first, MARTLET), (second, KAFKA)]:
        assert node.stop() == 0, node.log()[-2000:]
        node.start(program).wait_ready()
        cluster.wait_whole()
        assert lying(cluster, "handed") == was and told(cluster, "handed") == was
        new = f"handed-{node.number}-{program}"
        cluster.create(new, PARTITIONS)
        wait_told(cluster, new)
    assert not before.differences(Contents(cluster, ["handed"], []))


def test_a_replica_that_kafka_moves_to_another_directory_is_told(cluster):
    """A broker of Apache Kafka moves a replica between its directories and tells the controller when that is done."""
    cluster.create("moving", PARTITIONS)
    produce(cluster, "moving", "before")
    wait_told(cluster, "moving")
    node = broker_of(cluster, KAFKA)
    first, second = paths(node)
    index = min(held(first, "moving"))
    plan = cluster.directory / "plan.json"
    [replicas] = [each.replicas for number, each in cluster.partitions("moving").items() if number == index]
    plan.write_text(json.dumps({"version": 1, "partitions": [{
        "topic": "moving", "partition": index, "replicas": replicas,
        "log_dirs": [str(second) if replica == node.number else "any" for replica in replicas]}]}))
    kafka_tool("reassign-partitions", "--bootstrap-server", cluster.bootstrap, "--reassignment-json-file", plan, "--execute")
    wait_until(lambda: index in held(second, "moving") and index not in held(first, "moving"), "it has moved", 60, pause=0.2)
    wait_told(cluster, "moving")
    produce(cluster, "moving", "after")
    cluster.wait_whole()
