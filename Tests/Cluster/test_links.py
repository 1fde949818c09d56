"""Links between clusters: mirrors have the source's records at the same offsets, follow it faithfully, and take over from it."""

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from clusters import Cluster
from commands import martlet, martlet_json
from links import DESTINATION_ID, batches, destination_cluster, link, mirror, wait_end, wait_mirror
from load import QUIET
from nodes import wait_until


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster() as cluster:
        link(cluster, source, "link", topic_config_sync_ms=500, consumer_offset_sync_enable="true", consumer_offset_sync_ms=1000)
        yield cluster


def produce(cluster: Cluster, topic: str, values, partition: int = 0, **settings) -> list[int]:
    """Writes and waits; returns the offsets."""
    offsets = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 5, **QUIET, **settings})

    def delivered(error, message):
        if error:
            raise KafkaException(error)
        offsets.append(message.offset())

    for value in values:
        producer.produce(topic, str(value), partition=partition, on_delivery=delivered)
    assert producer.flush(60) == 0
    return offsets


def consume(cluster: Cluster, topic: str, end: int, partition: int = 0, isolation: str = "read_committed") -> list[tuple[int, str]]:
    """Everything up to an offset."""
    reader = Consumer({
        "bootstrap.servers": cluster.bootstrap, "group.id": "reader", "isolation.level": isolation, "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest", **QUIET})
    reader.assign([TopicPartition(topic, partition, 0)])
    found = []
    while True:
        message = reader.poll(30)
        assert message is not None, f"{topic} does not end; {len(found)} records so far"
        if message.error():
            if message.offset() >= end:
                break
            continue
        found.append((message.offset(), message.value().decode()))
    reader.close()
    return found


def delete_records(cluster: Cluster, topic: str, before: int) -> None:
    admin = cluster.admin()
    partition = TopicPartition(topic, 0, before)
    admin.delete_records([partition])[partition].result(30)


def test_a_mirror_has_the_same_batches_at_the_same_offsets_on_every_replica(source, destination):
    source.create("same", 2, **{"max.message.bytes": "2000000"})
    produce(source, "same", range(3000), partition=0, **{"compression.type": "lz4"})
    produce(source, "same", range(500), partition=1, **{"enable.idempotence": True})
    martlet(destination, "link", "mirror", "link", "same")
    produce(source, "same", range(3000, 3500), partition=0)
    for partition, end in ((0, 3500), (1, 500)):
        wait_end(destination, "same", end, partition)
        for node in destination.brokers:
            assert batches(node, "same", partition) == batches(source.node(1), "same", partition)
    assert consume(destination, "same", 3500) == [(number, str(number)) for number in range(3500)]
    assert mirror(destination, "same")["state"] == "ACTIVE"


def test_clients_cannot_write_to_a_mirror(source, destination):
    source.create("closed", 1)
    martlet(destination, "link", "mirror", "link", "closed")
    wait_mirror(destination, "closed")
    for settings in ({}, {"enable.idempotence": True}):
        with pytest.raises(KafkaException, match="INVALID_REQUEST|nvalid request"):
            produce(destination, "closed", ["stray"], **settings)
    refused = martlet(destination, "link", "mirror", "link", "closed", check=False)
    assert refused.returncode == 1 and "already" in refused.stderr
    assert consume(destination, "closed", 0) == []


def test_a_mirror_follows_partitions_and_settings(source, destination):
    source.create("follows", 1, **{"retention.ms": "86400000"})
    martlet(destination, "link", "mirror", "link", "follows")
    wait_mirror(destination, "follows")

    admin, there = source.admin(), destination.admin()

    def setting(name):
        resource = ConfigResource(ResourceType.TOPIC, "follows")
        return there.describe_configs([resource])[resource].result(30)[name].value

    assert setting("retention.ms") == "86400000"
    changed = ConfigResource(ResourceType.TOPIC, "follows", incremental_configs=[
        ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("min.insync.replicas", "1", incremental_operation=AlterConfigOpType.SET),
    ])
    admin.incremental_alter_configs([changed])[changed].result(30)
    admin.create_partitions([NewPartitions("follows", 3)])["follows"].result(30)
    wait_until(lambda: len(destination.partitions("follows")) == 3, "the mirror has grown", 30, 0.1)
    wait_until(lambda: setting("retention.ms") == "3600000", "the mirror's retention follows", 30, 0.1)
    assert setting("min.insync.replicas") == "2", "how safe replicas have to be is each cluster's own business"
    produce(source, "follows", range(10), partition=2)
    wait_end(destination, "follows", 10, 2)


def test_deleted_records_go_from_the_mirror_too(source, destination):
    source.create("shortened", 1)
    produce(source, "shortened", range(100))
    martlet(destination, "link", "mirror", "link", "shortened")
    wait_end(destination, "shortened", 100)
    delete_records(source, "shortened", 60)
    produce(source, "shortened", ["one more"])
    wait_end(destination, "shortened", 101)
    assert consume(destination, "shortened", 101)[0] == (60, "60")


def test_a_mirror_begins_where_the_source_does(source, destination):
    source.create("late", 1)
    produce(source, "late", range(50))
    delete_records(source, "late", 30)
    martlet(destination, "link", "mirror", "link", "late")
    wait_end(destination, "late", 50)
    assert consume(destination, "late", 50) == [(number, str(number)) for number in range(30, 50)]


def test_a_topic_that_is_deleted_or_made_anew_stops_its_mirror(source, destination):
    admin = source.admin()
    for topic in ("deleted", "renewed"):
        source.create(topic, 1)
        produce(source, topic, range(10))
        martlet(destination, "link", "mirror", "link", topic)
        wait_end(destination, topic, 10)
    # So that nobody looks between its two lives.
    martlet(destination, "link", "pause", "link", "renewed")
    for topic in ("deleted", "renewed"):
        admin.delete_topics([topic])[topic].result(30)
    source.create("renewed", 1)
    produce(source, "renewed", ["another life"])
    # The command waits for a while, and may see already how it ends.
    martlet(destination, "link", "resume", "link", "renewed", check=False)
    assert "gone" in wait_mirror(destination, "deleted", "FAILED", None)["reason"]
    assert "created anew" in wait_mirror(destination, "renewed", "FAILED", None)["reason"]
    assert consume(destination, "renewed", 10) == [(number, str(number)) for number in range(10)], "what was mirrored is still there"


def test_pausing_and_resuming(source, destination):
    source.create("paused", 1)
    martlet(destination, "link", "mirror", "link", "paused")
    wait_mirror(destination, "paused")
    martlet(destination, "link", "pause", "link", "paused")
    produce(source, "paused", range(10))
    assert mirror(destination, "paused")["state"] == "PAUSED"
    assert all(node.log_end("paused") == 0 for node in destination.brokers)
    martlet(destination, "link", "resume", "link", "paused")
    wait_end(destination, "paused", 10)
    martlet(destination, "link", "pause", "link")
    assert mirror(destination, "paused")["state"] == "LINK_PAUSED"
    martlet(destination, "link", "resume", "link")
    produce(source, "paused", range(10))
    wait_end(destination, "paused", 20)


def test_committed_offsets_come_along(source, destination):
    source.create("read", 1)
    produce(source, "read", range(100))
    martlet(destination, "link", "mirror", "link", "read")
    wait_end(destination, "read", 100)
    settings = {"group.id": "readers", "enable.auto.commit": False, **QUIET}
    reader = Consumer({"bootstrap.servers": source.bootstrap, **settings})
    reader.commit(offsets=[TopicPartition("read", 0, 42)], asynchronous=False)
    reader.close()

    def committed():
        other = Consumer({"bootstrap.servers": destination.bootstrap, **settings})
        try:
            return other.committed([TopicPartition("read", 0)], timeout=10)[0].offset
        finally:
            other.close()

    wait_until(lambda: committed() == 42, "the offset is there", 30, 0.2)


def test_metrics_tell_how_far_mirrors_are(source, destination):
    source.create("measured", 1)
    martlet(destination, "link", "mirror", "link", "measured")
    wait_mirror(destination, "measured")
    produce(source, "measured", range(100))
    wait_end(destination, "measured", 100)
    text = destination.leader("measured", 0).get("/metrics")[1]
    values = {
        line.split("{")[0]: float(line.split()[-1]) for line in text.splitlines() if 'link="link",topic="measured",partition="0"' in line}
    assert values["kafka_connect_mirror_mirrorsourceconnector_record_count"] == 100
    assert values["kafka_connect_mirror_mirrorsourceconnector_byte_count"] > 100
    assert values["martlet_link_lag_records"] == 0 and values["martlet_link_error"] == 0
    assert values["martlet_link_lag_seconds"] < 5
    for node in destination.brokers:
        wait_until(lambda: 'martlet_link_mirror_topics{link="link",state="ACTIVE"}' in node.get("/metrics")[1], f"{node} counts it", 30)


def test_a_mirror_topic_that_is_deleted_here_is_forgotten(source, destination):
    admin = destination.admin()
    for topic in ("forgotten", "forgotten-later"):
        source.create(topic, 1)
        martlet(destination, "link", "mirror", "link", topic)
        wait_mirror(destination, topic)
    martlet(destination, "link", "failover", "link", "forgotten-later")
    for topic in ("forgotten", "forgotten-later"):
        admin.delete_topics([topic])[topic].result(30)
        wait_until(
            lambda: not [each for each in martlet_json(destination, "link", "mirrors") if each["topic"] == topic], f"{topic} is forgotten",
            20, 0.1)
    destination.create("forgotten", 1)
    assert produce(destination, "forgotten", ["an ordinary topic"]) == [0]


def test_promoting_loses_nothing_and_fences_the_source(source, destination):
    source.create("promoted", 3)
    for partition in range(3):
        produce(source, "promoted", range(200), partition=partition, **{"enable.idempotence": True})
    martlet(destination, "link", "mirror", "link", "promoted")
    wait_mirror(destination, "promoted")
    dry = martlet_json(destination, "link", "promote", "link", "promoted", "--dry-run")
    assert dry[0]["target"] == "PENDING_STOPPED"
    assert mirror(destination, "promoted")["state"] == "ACTIVE"
    martlet(destination, "link", "promote", "link", "promoted")
    assert mirror(destination, "promoted")["state"] == "STOPPED"
    with pytest.raises(KafkaException, match="INVALID_REQUEST|nvalid request"):
        produce(source, "promoted", ["too late"])
    for partition in range(3):
        # By producers that are idempotent too: their ids are not those of the source's.
        assert produce(destination, "promoted", ["first", "second"], partition, **{"enable.idempotence": True}) == [200, 201]
        records = consume(destination, "promoted", 202, partition)
        assert records == [(number, str(number)) for number in range(200)] + [(200, "first"), (201, "second")]
    martlet(destination, "link", "promote", "link", "promoted")
    assert mirror(destination, "promoted")["state"] == "STOPPED", "said again it changes nothing"
    martlet(source, "link", "unfence", "promoted")
    wait_until(lambda: takes_records(source, "promoted"), "the source takes records again", 20, 0.2)


def takes_records(cluster: Cluster, topic: str) -> bool:
    try:
        produce(cluster, topic, ["again"])
        return True
    except KafkaException:
        return False


def test_transactions_that_are_open_at_the_failover_are_aborted(source, destination):
    source.create("cut", 1)
    martlet(destination, "link", "mirror", "link", "cut")
    writer = Producer({"bootstrap.servers": source.bootstrap, "transactional.id": "t", **QUIET})
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce("cut", "committed", partition=0)
    writer.commit_transaction(30)
    writer.begin_transaction()
    writer.produce("cut", "undecided", partition=0)
    writer.flush(30)
    # Record, marker, record.
    wait_end(destination, "cut", 3)
    martlet(destination, "link", "failover", "link", "cut")
    assert produce(destination, "cut", ["new"]) == [4], "behind the marker that ends the transaction"
    assert consume(destination, "cut", 5) == [(0, "committed"), (4, "new")]
    writer.abort_transaction(30)


def test_bad_requests_say_what_is_wrong(source, destination):
    def refused(*arguments) -> str:
        done = martlet(destination, "link", *arguments, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    assert "bootstrap.servers leads back to this cluster" in refused("create", "self", "--bootstrap", destination.bootstrap)
    assert DESTINATION_ID in refused("create", "self", "--bootstrap", destination.bootstrap)
    assert "cannot be used" in refused("create", "nowhere", "--bootstrap", "127.0.0.1:1")
    assert "no setting of a link" in refused("create", "l", "--bootstrap", source.bootstrap, "--set", "no.such=1")
    assert "true or false" in refused("config", "link", "consumer.offset.sync.enable=maybe")
    assert "fixed" in refused("config", "link", "cluster.link.prefix=x.")
    assert "no link 'other'" in refused("mirror", "other", "t")
    assert "no-such-topic" in refused("mirror", "link", "no-such-topic")
    assert "no mirror topic" in refused("promote", "link", "no-such-topic")
    source.create("kept", 1)
    martlet(destination, "link", "mirror", "link", "kept")
    assert "promote or fail over" in refused("delete", "link")
    source.create("taken", 1)
    destination.create("taken", 1)
    assert "martlet link restore" in refused("mirror", "link", "taken")


def test_new_topics_are_mirrored_by_filter_under_a_prefix(source, destination):
    filters = '{"topicFilters":[{"name":"auto-","patternType":"PREFIXED"},{"name":"auto-not","filterType":"EXCLUDE"}]}'
    link(
        destination, source, "by-filter", cluster_link_prefix="eu.", auto_create_mirror_topics_enable="true",
        auto_create_mirror_topics_filters=filters, topic_config_sync_ms=500)
    source.create("auto-one", 1)
    source.create("auto-not", 1)
    produce(source, "auto-one", range(5))
    wait_mirror(destination, "eu.auto-one")
    wait_end(destination, "eu.auto-one", 5)
    assert not [each for each in martlet_json(destination, "link", "mirrors") if each["topic"] == "eu.auto-not"]
    martlet(destination, "link", "delete", "by-filter", "--force")
    wait_until(lambda: takes_records(destination, "eu.auto-one"), "the topic is writable", 20, 0.2)
