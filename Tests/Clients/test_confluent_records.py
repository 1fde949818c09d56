"""confluent-kafka (librdkafka): what is written is what is read, whatever its form."""

import os
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition

import topics
from confluent import consumer, producer, read_all, send, take
from samples import COMPRESSIONS, SAMPLES, many


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_records_come_back_unchanged(bootstrap, topic, compression):
    sender = producer(bootstrap, compression_type=compression, linger_ms=20)
    for sample in SAMPLES:
        sender.produce(topic, key=sample.key, value=sample.value, headers=sample.headers, partition=1)
    assert sender.flush(30) == 0
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(topic, 1, OFFSET_BEGINNING)])
    for number, (sample, message) in enumerate(zip(SAMPLES, take(reader, len(SAMPLES)), strict=True)):
        assert message.offset() == number
        assert sample.same(message.key(), message.value(), message.headers())
    reader.close()


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_acknowledgement(bootstrap, topic, acks):
    values = many(500)
    send(producer(bootstrap, acks=acks, enable_idempotence=False), topic, values, partition=0)
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(topic, 0, 0)])
    assert [message.value() for message in take(reader, len(values))] == values
    reader.close()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_idempotent_producer_keeps_order(bootstrap, topic, compression):
    values = many(5_000)
    sent = send(producer(bootstrap, enable_idempotence=True, compression_type=compression, linger_ms=5), topic, values, partition=2)
    assert [message.offset() for message in sent] == list(range(len(values)))
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(topic, 2, 0)])
    assert [message.value() for message in take(reader, len(values))] == values
    reader.close()


def test_keys_choose_the_same_partition(bootstrap, topic):
    sender = producer(bootstrap, partitioner="murmur2_random")
    first = {}
    for _ in range(3):
        for number in range(60):
            key = f"key-{number}".encode()
            [message] = send(sender, topic, [b"x"], key=key) if number % 20 == 0 else [None]
            if message:
                assert first.setdefault(key, message.partition()) == message.partition()
    assert first


def test_large_messages(bootstrap, name):
    topics.create(bootstrap, name, config={"max.message.bytes": "9000000"})
    values = [os.urandom(size) for size in (1_000_000, 4_000_000, 8_000_000)]
    send(producer(bootstrap, message_max_bytes=9_500_000), name, values, partition=0)
    # A fetch hands out the first batch whole, however small the limit is.
    reader = consumer(bootstrap, fetch_message_max_bytes=100_000, receive_message_max_bytes=60_000_000)
    reader.assign([TopicPartition(name, 0, 0)])
    assert [message.value() for message in take(reader, len(values))] == values
    reader.close()


def test_timestamps_of_either_kind(bootstrap, name):
    topics.create(bootstrap, name, config={"message.timestamp.type": "CreateTime"})
    topics.create(bootstrap, name + "-append", config={"message.timestamp.type": "LogAppendTime"})
    given = int(time.time() * 1000) - 3_600_000
    for topic in (name, name + "-append"):
        send(producer(bootstrap), topic, [b"x"], partition=0, timestamp=given)
    assert read_all(bootstrap, name)[0].timestamp() == (1, given)
    kind, appended = read_all(bootstrap, name + "-append")[0].timestamp()
    assert kind == 2 and abs(appended - time.time() * 1000) < 60_000


def test_watermarks_and_offsets_for_times(bootstrap, topic):
    start = int(time.time() * 1000) - 100_000
    sender = producer(bootstrap)
    for number in range(100):
        sender.produce(topic, value=b"x", partition=0, timestamp=start + number * 1000)
    assert sender.flush(30) == 0
    reader = consumer(bootstrap)
    assert reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 100)
    assert reader.get_watermark_offsets(TopicPartition(topic, 1), timeout=10) == (0, 0)

    def offset_at(timestamp):
        [found] = reader.offsets_for_times([TopicPartition(topic, 0, timestamp)], timeout=10)
        return found.offset

    assert offset_at(start) == 0
    assert offset_at(start + 41_500) == 42
    assert offset_at(start + 42_000) == 42
    assert offset_at(start + 10_000_000) in (-1, 100)
    reader.close()


def test_seek_tail_and_end(bootstrap, topic):
    values = many(50)
    send(producer(bootstrap), topic, values, partition=0)
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(topic, 0, -2000 - 5)])  # librdkafka's "five before the end"
    assert [message.offset() for message in take(reader, 5)] == [45, 46, 47, 48, 49]
    reader.seek(TopicPartition(topic, 0, 10))
    assert [message.offset() for message in take(reader, 2)] == [10, 11]
    reader.assign([TopicPartition(topic, 0, OFFSET_END)])
    assert reader.poll(1.0) is None
    send(producer(bootstrap), topic, [b"new"], partition=0)
    assert take(reader, 1)[0].value() == b"new"
    reader.close()


def test_an_offset_out_of_range_goes_where_the_reset_says(bootstrap, topic):
    send(producer(bootstrap), topic, many(10), partition=0)
    reader = consumer(bootstrap, auto_offset_reset="earliest")
    reader.assign([TopicPartition(topic, 0, 5_000)])
    assert take(reader, 1)[0].offset() == 0
    reader.close()


def test_a_long_poll_is_answered_when_a_record_arrives(bootstrap, topic):
    reader = consumer(bootstrap, fetch_wait_max_ms=20_000, fetch_min_bytes=1)
    reader.assign([TopicPartition(topic, 0, 0)])
    assert reader.poll(1.5) is None
    started = time.monotonic()
    send(producer(bootstrap, linger_ms=0), topic, [b"wake up"], partition=0)
    assert take(reader, 1, 10)[0].value() == b"wake up"
    assert time.monotonic() - started < 5
    reader.close()


def test_many_topics(bootstrap, name):
    count = 200
    admin = topics.admin(bootstrap)
    created = admin.create_topics([topics.NewTopic(f"{name}-{number}", 2, 1) for number in range(count)], operation_timeout=30)
    for future in created.values():
        future.result(60)
    sender = producer(bootstrap)
    for number in range(count):
        sender.produce(f"{name}-{number}", value=str(number).encode(), partition=number % 2)
    assert sender.flush(60) == 0
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(f"{name}-{number}", number % 2, 0) for number in range(count)])
    values = sorted(int(message.value()) for message in take(reader, count, 60))
    assert values == list(range(count))
    reader.close()
