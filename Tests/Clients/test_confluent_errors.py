"""confluent-kafka: what is refused is refused with Kafka's own errors, and auto-creation works."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

import topics
from confluent import consumer, producer, read_all, send
from samples import many


def delivery_error(sender, topic, value, **options) -> int:
    errors = []
    sender.produce(topic, value=value, on_delivery=lambda error, _: errors.append(error), **options)
    assert sender.flush(30) == 0
    assert errors[0] is not None, "the record was taken"
    return errors[0].code()


def test_a_record_too_large_for_its_topic(bootstrap, name):
    topics.create(bootstrap, name, config={"max.message.bytes": "2000"})
    sender = producer(bootstrap, enable_idempotence=False)
    assert delivery_error(sender, name, b"x" * 5000) == KafkaError.MSG_SIZE_TOO_LARGE
    send(sender, name, [b"small enough"])


def test_a_partition_that_is_not_there(bootstrap, topic):
    assert delivery_error(producer(bootstrap, message_timeout_ms=3000), topic, b"x", partition=99) in (
        KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART)


def test_a_topic_appears_with_its_first_record(bootstrap, name):
    send(producer(bootstrap), name, many(3))
    partitions = len(topics.admin(bootstrap).list_topics(name, timeout=30).topics[name].partitions)
    assert len(read_all(bootstrap, name, partitions)) == 3


def test_a_consumer_without_auto_creation_does_not_make_topics(bootstrap, name):
    reader = consumer(bootstrap, name, allow_auto_create_topics=False)
    reader.subscribe([name])
    message = reader.poll(5)
    assert message is None or message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    reader.close()
    assert name not in topics.names(bootstrap)


def test_an_illegal_topic_name(bootstrap):
    assert delivery_error(producer(bootstrap, message_timeout_ms=3000), "not/legal", b"x") in (
        KafkaError.TOPIC_EXCEPTION, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)


def test_a_minimum_beyond_the_replication_factor_counts_as_all_replicas(bootstrap, name):
    """As in Kafka since KIP-966: min.insync.replicas is capped at the number of replicas. Tests/Cluster covers too few of several."""
    topics.create(bootstrap, name, config={"min.insync.replicas": "2"})
    send(producer(bootstrap, acks="all", enable_idempotence=False), name, [b"taken"])
    assert [message.value() for message in read_all(bootstrap, name)] == [b"taken"]


def test_watermarks_of_a_topic_that_is_not_there(bootstrap, name):
    reader = consumer(bootstrap, allow_auto_create_topics=False)
    with pytest.raises(KafkaException) as raised:
        reader.get_watermark_offsets(TopicPartition(name, 0), timeout=5)
    assert raised.value.args[0].code() in (
        KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.LEADER_NOT_AVAILABLE)
    reader.close()
