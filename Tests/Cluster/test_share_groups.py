"""Share groups in a cluster: the share coordinator is another broker than the partition's leader, and brokers are killed while consumers
work. What was accepted must not come again; nothing must get lost."""

import threading
import time

import pytest
from confluent_kafka import AcknowledgeType, Producer, ShareConsumer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from clusters import Cluster
from commands import martlet
from load import QUIET
from nodes import wait_until

SETTINGS = {
    "share.coordinator.state.topic.num.partitions": "6",
    "group.share.heartbeat.interval.ms": "500", "group.share.min.heartbeat.interval.ms": "100",
    "group.share.min.session.timeout.ms": "1000", "group.share.session.timeout.ms": "6000",
    "group.share.min.record.lock.duration.ms": "1000", "group.share.record.lock.duration.ms": "5000",
    "group.share.delivery.count.limit": "10",
}
RECORDS = 3_000


@pytest.fixture
def cluster():
    with Cluster(3, proxied=False, settings=SETTINGS) as cluster:
        martlet(cluster, "cluster", "features", "--set", "share.version=1")
        yield cluster


class Sharer(threading.Thread):
    """Accepts what it gets, one commit for each poll; writes down what was confirmed."""

    def __init__(self, bootstrap: str, group: str, topic: str):
        super().__init__(daemon=True)
        self.consumer = ShareConsumer({
            **QUIET, "bootstrap.servers": bootstrap, "group.id": group, "share.acknowledgement.mode": "explicit"})
        self.consumer.subscribe([topic])
        self.stopping = threading.Event()
        self.seen: list[str] = []
        self.confirmed: list[str] = []

    def run(self):
        while not self.stopping.is_set():
            messages = [message for message in self.consumer.poll(0.5) if not message.error()]
            for message in messages:
                self.seen.append(message.value().decode())
                self.consumer.acknowledge(message, AcknowledgeType.ACCEPT)
            if not messages:
                continue
            results = self.consumer.commit_sync(20.0)
            failed = {(each.topic, each.partition) for each, error in results.items() if error is not None}
            self.confirmed += [
                message.value().decode() for message in messages if (message.topic(), message.partition()) not in failed]
        self.consumer.close()

    def stop(self):
        self.stopping.set()
        self.join(60)


def test_brokers_are_killed_while_a_share_group_works(cluster):
    topic = "shared"
    cluster.create(topic, partitions=4)
    admin = AdminClient({**QUIET, "bootstrap.servers": cluster.bootstrap})
    entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    for future in admin.incremental_alter_configs([ConfigResource(ResourceType.GROUP, "killed", incremental_configs=[entry])]).values():
        future.result(30)
    values = [f"value {number}" for number in range(RECORDS)]
    producer = Producer({**QUIET, "bootstrap.servers": cluster.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
        producer.poll(0)
    assert producer.flush(60) == 0
    sharers = [Sharer(cluster.bootstrap, "killed", topic) for _ in range(3)]
    for sharer in sharers:
        sharer.start()
    try:
        wait_until(lambda: sum(len(sharer.confirmed) for sharer in sharers) > 100, "the group works", 60)
        for node in cluster.brokers:
            node.kill()
            time.sleep(2)
            node.start()
            cluster.wait_whole()
        wait_until(
            lambda: {value for sharer in sharers for value in sharer.seen} == set(values), "every record was seen by somebody", 120)
    finally:
        for sharer in sharers:
            sharer.stop()
    confirmed = [value for sharer in sharers for value in sharer.confirmed]
    assert len(confirmed) == len(set(confirmed)), "a record that was accepted came again"
