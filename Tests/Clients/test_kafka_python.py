"""kafka-python: pure Python, its own protocol implementation; records, groups and administration."""

import os
import threading

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

import topics
from broker import wait_until
from samples import COMPRESSIONS, SAMPLES, many


# kafka-python sends no header without a value.
SENDABLE = [sample for sample in SAMPLES if all(value is not None for _, value in sample.headers)]


def producer(bootstrap, **settings):
    return KafkaProducer(bootstrap_servers=bootstrap, **settings)


def reader(bootstrap, *partitions, **settings):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=20_000, **{"auto_offset_reset": "earliest", **settings})
    if partitions:
        consumer.assign([TopicPartition(*partition) for partition in partitions])
    return consumer


def take(consumer, count):
    taken = [record for _, record in zip(range(count), consumer)]
    assert len(taken) == count
    return taken


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_records_come_back_unchanged(bootstrap, topic, compression):
    kind = None if compression == "none" else compression
    sender = producer(bootstrap, compression_type=kind, linger_ms=20, batch_size=200_000)
    sent = [
        sender.send(topic, key=sample.key, value=sample.value, headers=sample.headers, partition=0) for sample in SENDABLE
    ]
    sender.flush(30)
    assert [future.get(30).offset for future in sent] == list(range(len(SENDABLE)))
    consumer = reader(bootstrap, (topic, 0))
    for sample, record in zip(SENDABLE, take(consumer, len(SENDABLE)), strict=True):
        assert sample.same(record.key, record.value, record.headers)
    consumer.close()
    sender.close()


@pytest.mark.parametrize("idempotent,acks", [(True, "all"), (False, 1), (False, 0), (False, "all")])
def test_every_kind_of_acknowledgement(bootstrap, topic, idempotent, acks):
    sender = producer(bootstrap, enable_idempotence=idempotent, acks=acks)
    for value in many(500):
        sender.send(topic, value, partition=1)
    sender.flush(30)
    consumer = reader(bootstrap, (topic, 1))
    assert [record.value for record in take(consumer, 500)] == many(500)
    consumer.close()
    sender.close()


def test_large_message(bootstrap, name):
    topics.create(bootstrap, name, config={"max.message.bytes": "6000000"})
    value = os.urandom(5_000_000)
    sender = producer(bootstrap, max_request_size=6_000_000)
    sender.send(name, value).get(30)
    consumer = reader(bootstrap, (name, 0))
    assert take(consumer, 1)[0].value == value
    consumer.close()
    sender.close()


def test_too_large_for_the_topic(bootstrap, name):
    topics.create(bootstrap, name, config={"max.message.bytes": "1000"})
    sender = producer(bootstrap)
    with pytest.raises(MessageSizeTooLargeError):
        sender.send(name, b"x" * 5000).get(30)
    sender.close()


class Member(threading.Thread):
    """A consumer in a thread of its own, as applications run it. Its polls are long: kafka-python 3.0 drops an assignment that arrives
    in the moment in which a poll gives up, and then never joins again."""

    def __init__(self, bootstrap, topic, **settings):
        super().__init__(daemon=True)
        self.consumer = reader(bootstrap, **settings)
        self.consumer.subscribe([topic])
        self.is_leaving = threading.Event()
        self.start()

    def run(self):
        while not self.is_leaving.is_set():
            self.consumer.poll(timeout_ms=2000)
        self.consumer.close()

    def leave(self):
        self.is_leaving.set()
        self.join(30)
        assert not self.is_alive(), "the member has left"


def test_two_members_share_and_take_over(bootstrap, topic, name):
    settings = {"group_id": name, "session_timeout_ms": 6000, "heartbeat_interval_ms": 300}
    first, second = (Member(bootstrap, topic, **settings) for _ in range(2))

    def shared(*members):
        taken = [partition for member in members for partition in member.consumer.assignment()]
        return len(taken) == len(set(taken)) == 3 and all(member.consumer.assignment() for member in members)

    wait_until(lambda: shared(first, second), "two members share three partitions", 60)
    second.leave()
    wait_until(lambda: shared(first), "the one left has everything", 60)
    first.leave()


def test_commit_and_go_on(bootstrap, topic, name):
    sender = producer(bootstrap)
    for value in many(20):
        sender.send(topic, value, partition=0)
    sender.flush(30)
    sender.close()
    partition = TopicPartition(topic, 0)
    for expected in (0, 10):
        consumer = reader(bootstrap, group_id=name, enable_auto_commit=False)
        consumer.subscribe([topic])
        records = take(consumer, 10)
        assert records[0].offset == expected
        consumer.commit({partition: OffsetAndMetadata(records[-1].offset + 1, "", -1)})
        assert consumer.committed(partition) == expected + 10
        consumer.close()


def test_offsets_and_times(bootstrap, topic):
    sender = producer(bootstrap)
    for number in range(10):
        sender.send(topic, b"x", partition=0, timestamp_ms=1_700_000_000_000 + number * 1000)
    sender.flush(30)
    sender.close()
    partition = TopicPartition(topic, 0)
    consumer = reader(bootstrap, (topic, 0))
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.end_offsets([partition]) == {partition: 10}
    assert consumer.offsets_for_times({partition: 1_700_000_004_500})[partition].offset == 5
    assert consumer.offsets_for_times({partition: 1_800_000_000_000})[partition] is None
    consumer.seek(partition, 7)
    assert take(consumer, 1)[0].offset == 7
    consumer.close()


def test_administration(bootstrap, name):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}})
        with pytest.raises(TopicAlreadyExistsError):
            admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}})
        wait_until(lambda: name in admin.list_topics(), "the topic is listed")
        [described] = admin.describe_topics([name])
        assert len(described["partitions"]) == 2
        admin.create_partitions({name: 3})
        wait_until(lambda: len(admin.describe_topics([name])[0]["partitions"]) == 3, "three partitions are seen")
        assert admin.describe_cluster()["brokers"]
        assert admin.describe_log_dirs()
        admin.delete_topics([name])
        wait_until(lambda: name not in admin.list_topics(), "the topic is gone")
    finally:
        admin.close()


def test_administration_of_records_and_groups(bootstrap, topic, name):
    sender = producer(bootstrap)
    for value in many(10):
        sender.send(topic, value, partition=0)
    sender.flush(30)
    sender.close()
    partition = TopicPartition(topic, 0)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.delete_records({partition: 4})
        consumer = reader(bootstrap, group_id=name, enable_auto_commit=False)
        consumer.subscribe([topic])
        assert take(consumer, 1)[0].offset == 4
        consumer.commit({partition: OffsetAndMetadata(5, "", -1)})
        assert name in str(admin.list_groups())
        assert topic in str(admin.describe_groups([name]))
        consumer.close()
        admin.delete_groups([name])
        wait_until(lambda: name not in str(admin.list_groups()), "the group is gone")
    finally:
        admin.close()


def test_an_illegal_name(bootstrap):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    with pytest.raises(KafkaError):
        admin.create_topics({"not legal": {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
