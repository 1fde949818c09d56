"""Groups of the new consumer protocol (KIP-848) whose coordinator is now Apache Kafka and now Martlet."""

import json

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from contents import CODECS, fill
from kafka_nodes import KAFKA, MARTLET, kafka_release, wait_until
from load import QUIET
from mixed_clusters import MixedCluster


@pytest.fixture(scope="module")
def cluster():
    if kafka_release().startswith("3."):
        pytest.skip("the new protocol is off in this Apache Kafka")
    with MixedCluster(KAFKA, KAFKA, MARTLET, roles=["controller", "broker", "broker"]) as cluster:
        yield cluster


class Member:
    """Stays in the group while its coordinator moves."""

    def __init__(self, cluster, group: str, topic: str):
        self.consumer = Consumer({
            **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": group, "group.protocol": "consumer",
            "auto.offset.reset": "earliest", "enable.auto.commit": False,
        })
        self.consumer.subscribe([topic])
        self.seen = set()

    def poll(self) -> None:
        fresh = [each for each in self.consumer.consume(500, timeout=0.2) if not each.error()]
        self.seen |= {(each.partition(), each.offset()) for each in fresh}
        if fresh:
            try:
                self.consumer.commit(asynchronous=False)
            except KafkaException:
                # The coordinator has moved, or the partition has: it is committed with what follows.
                pass


def lead(cluster, topic: str, node) -> None:
    others = [each.number for each in cluster.brokers if each is not node]
    for partition in cluster.partitions(topic):
        cluster.martlet("partition", "reassign", f"{topic}:{partition}", "--replicas", ",".join(map(str, [node.number, *others])))
    cluster.martlet("partition", "elect", topic)
    wait_until(lambda: all(each.leader == node.number for each in cluster.partitions(topic).values()), f"{node} leads {topic}", 30)


def test_members_stay_while_the_coordinator_moves(cluster):
    topic, group = "modern", "modern-group"
    cluster.create(topic, 4)
    kafka, martlet = cluster.nodes[1], cluster.nodes[2]
    members = [Member(cluster, group, topic) for _ in range(2)]

    def read(total: int):
        for member in members:
            member.poll()
        return len(members[0].seen | members[1].seen) == total

    def described():
        found = json.loads(cluster.martlet("group", "describe", group, "--json", check=False) or "[]")
        return found[0] if found and found[0]["state"] == "Stable" else None

    total = 0
    for number, node in enumerate([kafka, martlet, kafka, martlet]):
        if number:
            lead(cluster, "__consumer_offsets", node)
        fill(cluster, topic, f"round-{number}", 20)
        total += 20 * len(CODECS)
        wait_until(lambda: read(total), f"round {number}: the members have read {total} records", 60, pause=0)
        found = wait_until(described, "the group is stable", 60, pause=0.2)
        assert not number or found["coordinator"] == node.number, found
        assigned = [member["assignment"] for member in found["members"]]
        assert sorted(sum(assigned, [])) == [f"{topic}-{partition}" for partition in range(4)] and len(assigned) == 2, found
    # What each committed is there for whoever coordinates.
    asked = [ConsumerGroupTopicPartitions(group)]
    # A client that remembers no earlier coordinator.
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, **QUIET})
    offsets = admin.list_consumer_group_offsets(asked)[group].result(20).topic_partitions
    assert sum(each.offset for each in offsets) == total, offsets
    for member in members:
        member.consumer.close()
