"""Links to sources that speak the versions of old Kafka: topics by name, no topic ids, no last fetched epochs. A proxy before a node of ours lowers
what it offers, so these versions are on the wire."""

import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from commands import martlet
from links import batches, destination_cluster, link, mirror, source_cluster, wait_end, wait_mirror
from load import QUIET
from nodes import wait_until
from old_kafka import KAFKA_2_1, KAFKA_3_0, OldKafka
from test_links import consume, produce

FETCH, METADATA, LIST_OFFSETS, API_VERSIONS = 1, 3, 2, 18


@pytest.fixture(scope="module", params=[KAFKA_2_1, KAFKA_3_0], ids=["2.1", "3.0"])
def old(request):
    proxy = OldKafka(request.param)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def source(old):
    cluster = source_cluster(1, settings={"auto.create.topics.enable": "false"})
    old.stand_before(cluster.node(1))
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(1) as cluster:
        link(cluster, source, "old", topic_config_sync_ms=500, consumer_offset_sync_enable="true", consumer_offset_sync_ms=1000)
        yield cluster


def test_mirrors_hold_the_same_batches(old, source, destination):
    source.create("a", 2)
    produce(source, "a", range(500))
    produce(source, "a", range(100), partition=1, **{"compression.type": "lz4"})
    martlet(destination, "link", "mirror", "old", "a")
    wait_mirror(destination, "a")
    wait_end(destination, "a", 500)
    wait_end(destination, "a", 100, partition=1)
    produce(source, "a", range(500, 800))
    wait_end(destination, "a", 800)
    for partition in (0, 1):
        assert batches(destination.node(1), "a", partition) == batches(source.node(1), "a", partition)
    assert [int(value) for _, value in consume(destination, "a", 800)] == list(range(800))
    # The versions of old were used, and nothing newer was tried but the exchange of versions.
    assert old.asked[FETCH] == old.versions[FETCH] and old.asked[METADATA] == old.versions[METADATA]
    assert {api for api, _ in old.refused} <= {API_VERSIONS}


def test_partitions_settings_and_offsets_follow(source, destination):
    source.create("b", 1)
    produce(source, "b", range(50))
    martlet(destination, "link", "mirror", "old", "b")
    wait_mirror(destination, "b")
    reader = Consumer({"bootstrap.servers": source.bootstrap, "group.id": "g", "enable.auto.commit": False, **QUIET})
    reader.commit(offsets=[TopicPartition("b", 0, 30)], asynchronous=False)
    reader.close()

    def committed():
        there = Consumer({"bootstrap.servers": destination.bootstrap, "group.id": "g", **QUIET})
        try:
            return there.committed([TopicPartition("b", 0)], timeout=10)[0].offset
        finally:
            there.close()

    wait_until(lambda: committed() == 30, "the committed offset has followed", 30, 0.3)


def test_a_mirror_goes_on_after_its_broker_and_its_source_were_started_anew(source, destination):
    source.create("c", 1)
    produce(source, "c", range(100))
    martlet(destination, "link", "mirror", "old", "c")
    wait_mirror(destination, "c")
    wait_end(destination, "c", 100)
    # A new leader epoch at the source: what comes next is compared with the last batch first.
    for cluster in (source, destination):
        cluster.node(1).stop()
        cluster.node(1).start().wait_ready()
    produce(source, "c", range(100, 200))
    wait_end(destination, "c", 200, seconds=60)
    assert batches(destination.node(1), "c") == batches(source.node(1), "c")


def test_what_a_promoted_mirror_has(source, destination):
    source.create("p", 1)
    produce(source, "p", range(100))
    martlet(destination, "link", "mirror", "old", "p")
    wait_mirror(destination, "p")
    martlet(destination, "link", "failover", "old", "p")
    produce(destination, "p", ["here"])
    assert len(consume(destination, "p", 101)) == 101


def test_a_topic_that_was_created_anew_is_recognised(source, destination):
    source.create("d", 1)
    produce(source, "d", range(100))
    martlet(destination, "link", "mirror", "old", "d")
    wait_mirror(destination, "d")
    wait_end(destination, "d", 100)
    # While nobody looks, so that it is not simply seen to be gone.
    martlet(destination, "link", "pause", "old", "d")
    wait_mirror(destination, "d", "PAUSED", lag=None)
    martlet(source, "topic", "delete", "d", "--yes")
    wait_until(lambda: creates_anew(source, "d"), "the topic is made anew", 30, 0.2)
    produce(source, "d", [f"another {number}" for number in range(150)])
    martlet(destination, "link", "resume", "old", "d", check=False)
    wait_mirror(destination, "d", "FAILED", lag=None)
    assert "created anew" in mirror(destination, "d")["reason"]
    # What was mirrored is still there.
    assert len(consume(destination, "d", 100)) == 100


def creates_anew(source, topic):
    return martlet(source, "topic", "create", topic, "--partitions", "1", check=False).returncode == 0
