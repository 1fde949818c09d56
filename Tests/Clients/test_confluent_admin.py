"""confluent-kafka's admin client: topics, partitions, configs, records, offsets, the cluster itself."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

import topics
from broker import wait_until
from confluent import consumer, producer, send, take
from samples import many


@pytest.fixture
def admin(bootstrap):
    return topics.admin(bootstrap)


def failure(future) -> int:
    with pytest.raises(KafkaException) as raised:
        future.result(30)
    return raised.value.args[0].code()


def test_create_describe_delete(admin, bootstrap, name):
    topics.create(bootstrap, name, 4, {"retention.ms": "3600000"})
    described = admin.list_topics(name, timeout=30).topics[name]
    assert described.error is None
    assert sorted(described.partitions) == [0, 1, 2, 3]
    assert all(partition.leader == partition.replicas[0] == partition.isrs[0] for partition in described.partitions.values())
    topics.delete(bootstrap, name)
    wait_until(lambda: name not in topics.names(bootstrap), "the topic is gone")
    assert failure(admin.delete_topics([name])[name]) == KafkaError.UNKNOWN_TOPIC_OR_PART
    topics.create(bootstrap, name, 1)
    assert wait_until(lambda: name in topics.names(bootstrap), "the name can be used again")


def test_a_deleted_topics_records_do_not_come_back(bootstrap, name):
    topics.create(bootstrap, name)
    send(producer(bootstrap), name, many(10), partition=0)
    topics.delete(bootstrap, name)
    wait_until(lambda: name not in topics.names(bootstrap), "the topic is gone")
    topics.create(bootstrap, name)
    reader = consumer(bootstrap)
    low_high = wait_until(lambda: reader.get_watermark_offsets(TopicPartition(name, 0), timeout=10), "the new topic has offsets")
    assert low_high == (0, 0)
    reader.close()


def test_validate_only_creates_nothing(admin, bootstrap, name):
    admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)[name].result(30)
    assert name not in topics.names(bootstrap)


@pytest.mark.parametrize(
    "bad,partitions,replicas,config,error",
    [
        ("no spaces", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
        ("..", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
        ("x" * 250, 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
        ("", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
        ("fine", 0, 1, {}, KafkaError.INVALID_PARTITIONS),
        ("fine", 1, 3, {}, KafkaError.INVALID_REPLICATION_FACTOR),
        ("fine", 1, 1, {"no.such.key": "1"}, KafkaError.INVALID_CONFIG),
        ("fine", 1, 1, {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG),
        ("fine", 1, 1, {"compression.type": "brotli"}, KafkaError.INVALID_CONFIG),
    ],
)
def test_topics_that_cannot_be(admin, bootstrap, name, bad, partitions, replicas, config, error):
    topic = f"{name}-{bad}" if bad == "fine" else bad
    if not topic:
        with pytest.raises((KafkaException, TypeError, ValueError)):
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
        return
    assert failure(admin.create_topics([NewTopic(topic, partitions, replicas, config=config)])[topic]) == error
    assert topic not in topics.names(bootstrap)


def test_a_topic_that_exists(admin, bootstrap, topic):
    assert failure(admin.create_topics([NewTopic(topic, 1, 1)])[topic]) == KafkaError.TOPIC_ALREADY_EXISTS


def test_more_partitions(admin, bootstrap, topic):
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(30)
    wait_until(lambda: len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 5, "five partitions are seen")
    send(producer(bootstrap), topic, [b"x"], partition=4)
    assert failure(admin.create_partitions([NewPartitions(topic, 2)])[topic]) == KafkaError.INVALID_PARTITIONS


def test_topic_configs(admin, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def value(key):
        return admin.describe_configs([resource])[resource].result(30)[key]

    assert value("cleanup.policy").value == "delete" and value("cleanup.policy").is_default
    change = ConfigResource(
        ResourceType.TOPIC, topic,
        incremental_configs=[
            ConfigEntry("retention.ms", "12345", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
        ])
    admin.incremental_alter_configs([change])[change].result(30)
    wait_until(lambda: value("retention.ms").value == "12345", "the change is seen")
    assert not value("retention.ms").is_default
    assert set(value("cleanup.policy").value.split(",")) == {"delete", "compact"}
    undo = ConfigResource(
        ResourceType.TOPIC, topic, incremental_configs=[ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)])
    admin.incremental_alter_configs([undo])[undo].result(30)
    wait_until(lambda: value("retention.ms").is_default, "the default is back")
    bad = ConfigResource(
        ResourceType.TOPIC, topic, incremental_configs=[ConfigEntry("segment.bytes", "x", incremental_operation=AlterConfigOpType.SET)])
    assert failure(admin.incremental_alter_configs([bad])[bad]) == KafkaError.INVALID_CONFIG


def test_broker_configs(admin):
    node = str(admin.describe_cluster().result(30).controller.id)
    resource = ConfigResource(ResourceType.BROKER, node)

    def value(key):
        return admin.describe_configs([resource])[resource].result(30)[key]

    before = value("log.retention.ms").value if "log.retention.ms" in admin.describe_configs([resource])[resource].result(30) else None
    change = ConfigResource(
        ResourceType.BROKER, node,
        incremental_configs=[ConfigEntry("log.retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)])
    admin.incremental_alter_configs([change])[change].result(30)
    wait_until(lambda: value("log.retention.ms").value == "7200000", "the change is seen")
    undo = ConfigResource(
        ResourceType.BROKER, node,
        incremental_configs=[ConfigEntry("log.retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)])
    admin.incremental_alter_configs([undo])[undo].result(30)
    wait_until(lambda: value("log.retention.ms").value == before, "the value of before is back")


def test_delete_records(admin, bootstrap, topic):
    send(producer(bootstrap), topic, many(100), partition=0)
    partition = TopicPartition(topic, 0, 60)
    assert admin.delete_records([partition])[partition].result(30).low_watermark == 60
    reader = consumer(bootstrap)
    assert reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (60, 100)
    reader.assign([TopicPartition(topic, 0, 0)])
    assert take(reader, 1)[0].offset() == 60
    reader.close()
    beyond = TopicPartition(topic, 0, 1000)
    assert failure(admin.delete_records([beyond])[beyond]) == KafkaError.OFFSET_OUT_OF_RANGE


def test_list_offsets(admin, bootstrap, topic):
    send(producer(bootstrap), topic, many(10), partition=0, timestamp=1_700_000_000_000)
    send(producer(bootstrap), topic, many(10), partition=0, timestamp=1_600_000_000_000)

    def listed(spec):
        partition = TopicPartition(topic, 0)
        return admin.list_offsets({partition: spec})[partition].result(30)

    assert listed(OffsetSpec.earliest()).offset == 0
    assert listed(OffsetSpec.latest()).offset == 20
    assert listed(OffsetSpec.for_timestamp(1_650_000_000_000)).offset == 0
    newest = listed(OffsetSpec.max_timestamp())
    assert newest.timestamp == 1_700_000_000_000 and newest.offset == 0


def test_the_cluster_describes_itself(admin, broker):
    described = admin.describe_cluster().result(30)
    assert described.cluster_id and len(described.nodes) == 1
    [node] = described.nodes
    assert (node.host, node.port) == ("127.0.0.1", broker.port)
    assert described.controller.id == node.id
    seen = admin.list_topics(timeout=30)
    assert seen.cluster_id == described.cluster_id


def test_a_topic_is_described_by_id(admin, topic):
    from confluent_kafka import TopicCollection

    described = admin.describe_topics(TopicCollection([topic]))[topic].result(30)
    assert described.name == topic and len(described.partitions) == 3
    assert str(described.topic_id) not in ("", "AAAAAAAAAAAAAAAAAAAAAA")
