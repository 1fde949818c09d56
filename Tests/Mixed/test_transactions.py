"""Transactions in a cluster of both programs: partitions led by either, the coordinator at either, and the state that one wrote read by the
other."""

import json
import re

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from contents import read
from kafka_nodes import KAFKA, MARTLET, kafka_tool, wait_until
from links import batches
from mixed_clusters import MixedCluster
from transactional import Confluent, read_to_end

SHAPES = {
    "kafka-controls": ([KAFKA, KAFKA, MARTLET], ["controller", "broker", "broker"]),
    "martlet-controls": ([MARTLET, KAFKA, MARTLET], ["controller", "broker", "broker"]),
}
SETTINGS = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}


@pytest.fixture(scope="module", params=SHAPES)
def cluster(request):
    programs, roles = SHAPES[request.param]
    with MixedCluster(*programs, roles=roles, settings=SETTINGS) as cluster:
        cluster.kafka, cluster.martlet_node = cluster.nodes[1], cluster.nodes[2]
        # Partition 0 is Kafka's and partition 1 Martlet's, of this topic and of those that hold state.
        cluster.create("spanning", 2)
        # Makes __consumer_offsets. A producer of librdkafka 2.16 that asks for a coordinator before there is one may wait for ever.
        wait_until(lambda: has_coordinator(cluster, "makes-the-topic"), "the group has a coordinator", 60, pause=0.2)
        first = Confluent(cluster.bootstrap, "makes-the-topic")
        first.begin()
        first.send("spanning", ["first"])
        first.producer.send_offsets_to_transaction([TopicPartition("spanning", 0, 1)], group_metadata(cluster, "makes-the-topic"), 30)
        first.commit()
        for topic in ("spanning", "__transaction_state", "__consumer_offsets"):
            share(cluster, topic)
        yield cluster


def has_coordinator(cluster, group: str) -> bool:
    try:
        return bool(Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": group}).committed([TopicPartition("spanning", 0)], 10))
    except KafkaException:
        return False


def group_metadata(cluster, group: str):
    return Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": group}).consumer_group_metadata()


def share(cluster, topic: str, turned: bool = False) -> None:
    """Even partitions are led by Kafka's node and odd ones by Martlet's, or the other way round."""
    nodes = [cluster.kafka.number, cluster.martlet_node.number]
    wanted = {}
    for partition in cluster.partitions(topic):
        order = nodes if (partition % 2 == 0) != turned else nodes[::-1]
        wanted[partition] = order[0]
        cluster.martlet("partition", "reassign", f"{topic}:{partition}", "--replicas", ",".join(map(str, order)))
    cluster.martlet("partition", "elect", topic)
    wait_until(lambda: {number: each.leader for number, each in cluster.partitions(topic).items()} == wanted, f"{topic} is shared", 60)


def java_hash(text: str) -> int:
    value = 0
    for character in text:
        value = (value * 31 + ord(character)) & 0xFFFFFFFF
    return abs(value - (1 << 32) if value >= 1 << 31 else value)


def name_at(cluster, topic: str, node, prefix: str) -> str:
    """An id whose state is in a partition that the node leads."""
    partitions = cluster.partitions(topic)
    return next(
        name for name in (f"{prefix}-{number}" for number in range(1000))
        if partitions[java_hash(name) % len(partitions)].leader == node.number)


def nodes(cluster):
    return {"kafka": cluster.kafka, "martlet": cluster.martlet_node}


def values(cluster) -> list[str]:
    return read_to_end(cluster.bootstrap, "spanning", partitions=2)


@pytest.mark.parametrize("coordinator", ["kafka", "martlet"])
def test_a_transaction_spans_both(cluster, coordinator):
    transactional_id = name_at(cluster, "__transaction_state", nodes(cluster)[coordinator], f"spans-{coordinator}")
    before = values(cluster)
    transactional = Confluent(cluster.bootstrap, transactional_id)
    expected = []
    for number in range(4):
        transactional.begin()
        for partition in (0, 1):
            transactional.send("spanning", [f"{transactional_id} {number}"], partition=partition)
        if number % 2:
            transactional.abort()
        else:
            transactional.commit()
            expected += [f"{transactional_id} {number}"] * 2
    wait_until(lambda: sorted(values(cluster)) == sorted(before + expected), "what was committed can be read", 30)
    described = json.loads(cluster.martlet("transaction", "describe", transactional_id, "--json"))[0]
    assert described["coordinator"] == nodes(cluster)[coordinator].number and described["state"] == "CompleteAbort"
    listed = kafka_tool("transactions", "--bootstrap-server", cluster.bootstrap, "list")
    assert re.search(rf"{transactional_id}\s+{described['coordinator']}\s+\d+\s+CompleteAbort", listed), listed
    told = kafka_tool(
        "transactions", "--bootstrap-server", cluster.bootstrap, "describe", "--transactional-id", transactional_id)
    assert "CompleteAbort" in told, told


@pytest.mark.parametrize("coordinator", ["kafka", "martlet"])
@pytest.mark.parametrize("group_at", ["kafka", "martlet"])
def test_offsets_in_a_transaction(cluster, coordinator, group_at):
    transactional_id = name_at(cluster, "__transaction_state", nodes(cluster)[coordinator], f"offsets-{coordinator}-{group_at}")
    group = name_at(cluster, "__consumer_offsets", nodes(cluster)[group_at], f"group-{coordinator}-{group_at}")
    transactional = Confluent(cluster.bootstrap, transactional_id)
    metadata = group_metadata(cluster, group)

    def committed():
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition("spanning", 0)])]
        admin = cluster.admin()
        [found] = admin.list_consumer_group_offsets(asked)[group].result(20).topic_partitions
        return found.offset

    for number, is_committed in [(1, True), (2, False), (3, True)]:
        before = committed()
        transactional.begin()
        transactional.producer.send_offsets_to_transaction([TopicPartition("spanning", 0, number)], metadata, 30)
        if is_committed:
            transactional.commit()
            wait_until(lambda: committed() == number, "the offset is in force", 30)
        else:
            transactional.abort()
            assert committed() == before


def epochs_of_records(cluster, producer: int) -> set[int]:
    """The epochs under which a producer has written."""
    found = set()
    for partition in cluster.partitions("spanning"):
        for batch in batches(cluster.leader("spanning", partition), "spanning", partition):
            attributes, producer_id, epoch = (int.from_bytes(batch[start:end], "big") for start, end in ((21, 23), (43, 51), (51, 53)))
            is_control = attributes & 0x20
            if producer_id == producer and not is_control:
                found.add(epoch)
    return found


@pytest.mark.parametrize("coordinator", ["kafka", "martlet"])
def test_kafkas_own_producer(cluster, coordinator):
    """The Java client: with transaction.version 2 leaders add partitions on its behalf, and every transaction has an epoch of its own."""
    transactional_id = name_at(cluster, "__transaction_state", nodes(cluster)[coordinator], f"java-{coordinator}")
    before = len(values(cluster))
    kafka_tool(
        "producer-perf-test", "--topic", "spanning", "--num-records", "600", "--record-size", "20", "--throughput", "200",
        "--producer-props", f"bootstrap.servers={cluster.bootstrap}", "--transactional-id", transactional_id,
        "--transaction-duration-ms", "200", seconds=120)
    wait_until(lambda: len(values(cluster)) == before + 600, "all of it can be read", 30)
    described = json.loads(cluster.martlet("transaction", "describe", transactional_id, "--json"))[0]
    assert described["coordinator"] == nodes(cluster)[coordinator].number and described["state"] == "CompleteCommit"
    features = json.loads(cluster.martlet("cluster", "features", "--json"))
    # Apache Kafka 3.9 has no such feature.
    version = next((each["finalizedLevel"] for each in features if each["feature"] == "transaction.version"), 0)
    if version == 2:
        assert described["producerEpoch"] > 1
        assert epochs_of_records(cluster, described["producerId"]) == set(range(described["producerEpoch"]))


@pytest.mark.parametrize("opened_at", ["kafka", "martlet"])
def test_one_goes_on_with_what_the_other_began(cluster, opened_at):
    """The coordinator moves while a transaction is open."""
    share(cluster, "__transaction_state")
    transactional_id = name_at(cluster, "__transaction_state", nodes(cluster)[opened_at], f"moves-{opened_at}")
    zombie_id = name_at(cluster, "__transaction_state", nodes(cluster)[opened_at], f"zombie-{opened_at}")
    before = values(cluster)
    transactional, zombie = Confluent(cluster.bootstrap, transactional_id), Confluent(cluster.bootstrap, zombie_id)
    for each, value in ((transactional, transactional_id), (zombie, zombie_id)):
        each.begin()
        for partition in (0, 1):
            each.send("spanning", [value], partition=partition)
    share(cluster, "__transaction_state", turned=True)
    transactional.commit()
    successor = Confluent(cluster.bootstrap, zombie_id)
    with pytest.raises(KafkaException):
        zombie.commit()
    successor.begin()
    successor.send("spanning", [f"after {zombie_id}"], partition=1)
    successor.commit()
    share(cluster, "__transaction_state")
    wait_until(
        lambda: sorted(values(cluster)) == sorted(before + [transactional_id] * 2 + [f"after {zombie_id}"]),
        "committed and aborted as asked", 30)
    transactional.begin()
    transactional.send("spanning", [f"again {transactional_id}"])
    transactional.commit()


def test_both_leaders_tell_the_same_of_what_was_aborted(cluster):
    """Followers wrote the index of aborted transactions themselves."""
    def told():
        return {isolation: read(cluster.bootstrap, [("spanning", 0), ("spanning", 1)], isolation) for isolation in
                ("read_committed", "read_uncommitted")}

    before = told()
    share(cluster, "spanning", turned=True)
    assert told() == before
    share(cluster, "spanning")
    assert told() == before


def test_kafkas_tool_ends_a_transaction_that_hangs(cluster):
    """Records of a transaction that no coordinator knows: written while leaders do not ask, then ended through WriteTxnMarkers."""
    transactional_id = name_at(cluster, "__transaction_state", cluster.martlet_node, "hangs")
    transactional = Confluent(cluster.bootstrap, transactional_id)
    transactional.begin()
    transactional.send("spanning", ["hanging"], partition=1)
    [found] = [
        each for each in json.loads(cluster.martlet("transaction", "find-hanging", "spanning:1", "--older-than", "0", "--json"))
    ] or [None]
    assert found is None, "its coordinator knows of it"
    # What the tool does by hand, while the coordinator knows: the partition alone is ended.
    start = json.loads(cluster.martlet("transaction", "describe", transactional_id, "--json"))[0]
    assert start["state"] == "Ongoing"
    producers = kafka_tool(
        "transactions", "--bootstrap-server", cluster.bootstrap, "describe-producers", "--topic", "spanning", "--partition", "1")
    [offset] = re.findall(rf"^{start['producerId']}\s.*\s(\d+)\s*$", producers, re.MULTILINE)
    kafka_tool(
        "transactions", "--bootstrap-server", cluster.bootstrap, "abort", "--topic", "spanning", "--partition", "1", "--start-offset", offset)
    producers = kafka_tool(
        "transactions", "--bootstrap-server", cluster.bootstrap, "describe-producers", "--topic", "spanning", "--partition", "1")
    assert re.search(rf"^{start['producerId']}\s.*None", producers, re.MULTILINE), producers
    assert "hanging" not in values(cluster)


def test_the_records_are_kafkas(cluster):
    """Kafka's own tool reads what Martlet wrote into __transaction_state."""
    for partition, each in cluster.partitions("__transaction_state").items():
        if each.leader != cluster.martlet_node.number:
            continue
        segment = cluster.martlet_node.log_directory(f"__transaction_state-{partition}") / "00000000000000000000.log"
        dumped = kafka_tool("dump-log", "--transaction-log-decoder", "--files", str(segment))
        assert "transactionalId" in dumped or "transactional_id" in dumped.lower(), dumped[:2000]
        assert "Exception" not in dumped, dumped[:2000]
