"""Share groups (KIP-932) with librdkafka's share consumer: what tests of several kinds do with them."""

import time

from confluent_kafka import AcknowledgeType, ShareConsumer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

import topics

SETTINGS = {
    "share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "5", "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.share.heartbeat.interval.ms": "500", "group.share.min.heartbeat.interval.ms": "100",
    "group.share.min.session.timeout.ms": "1000", "group.share.session.timeout.ms": "6000",
    "group.share.min.record.lock.duration.ms": "1000", "group.share.record.lock.duration.ms": "15000",
    "group.share.assignment.interval.ms": "0",
}


def configure(bootstrap: str, group: str, **settings) -> None:
    entries = [
        ConfigEntry(key.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()]
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
    for future in topics.admin(bootstrap).incremental_alter_configs([resource]).values():
        future.result(30)


def sharer(bootstrap: str, group: str, topic: str, **settings) -> ShareConsumer:
    consumer = ShareConsumer({
        "bootstrap.servers": bootstrap, "group.id": group, **{key.replace("_", "."): value for key, value in settings.items()}})
    consumer.subscribe([topic])
    return consumer


def poll(consumer: ShareConsumer, timeout: float = 0.5) -> list:
    messages = list(consumer.poll(timeout))
    for message in messages:
        assert message.error() is None, str(message.error())
    return messages


def take(consumer: ShareConsumer, count: int, seconds: float = 40) -> list:
    """Polls until `count` messages are there; in implicit mode each poll accepts what the one before brought."""
    taken = []
    deadline = time.monotonic() + seconds
    while len(taken) < count:
        assert time.monotonic() < deadline, f"only {len(taken)} of {count} messages within {seconds} s"
        taken += poll(consumer)
    return taken


def accept(consumer: ShareConsumer, messages: list) -> None:
    """Says in explicit mode that all of it is done, and waits until that counts."""
    for message in messages:
        consumer.acknowledge(message, AcknowledgeType.ACCEPT)
    assert all(error is None for error in consumer.commit_sync(30.0).values())
