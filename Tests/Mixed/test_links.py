"""A link from an Apache Kafka cluster: its topics are mirrored batch by batch, and taken over."""

import pytest

from commands import martlet
from contents import Contents, commit, fill, read, transact
from kafka_nodes import KAFKA, MARTLET, wait_until
from links import DESTINATION_ID, SOURCE_ID, batches, link, mirror, wait_mirror
from mixed_clusters import MixedCluster


@pytest.fixture(scope="module")
def source():
    with MixedCluster(KAFKA, KAFKA, roles=["broker,controller", "broker"], cluster_id=SOURCE_ID) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with MixedCluster(MARTLET, cluster_id=DESTINATION_ID) as cluster:
        link(cluster, source, topic_config_sync_ms=500, consumer_offset_sync_enable="true", consumer_offset_sync_ms=1000)
        yield cluster


def ends(cluster, topic: str) -> dict[int, int]:
    return {partition: len(records) for (_, partition), records in read(
        cluster.bootstrap, [(topic, partition) for partition in cluster.partitions(topic)], "read_uncommitted").items()}


def test_what_kafka_holds_is_mirrored_to_the_byte(source, destination):
    source.create("all", 3, **{"retention.ms": "86400000"})
    fill(source, "all", "first")
    transact(source, "all", "kept", commits=True)
    transact(source, "all", "void", commits=False)
    martlet(destination, "link", "mirror", "link", "all")
    wait_mirror(destination, "all")
    for partition in range(3):
        leader = source.leader("all", partition)
        wait_until(lambda: batches(destination.node(1), "all", partition) == batches(leader, "all", partition), "the logs are the same", 30)
    expected, found = Contents(source, ["all"], []), Contents(destination, ["all"], [])
    assert expected.differences(found) == []


def test_a_kafka_broker_that_leads_dies_and_the_mirror_follows_the_next(source, destination):
    source.create("moves", 1, 2)
    fill(source, "moves", "before")
    martlet(destination, "link", "mirror", "link", "moves")
    wait_mirror(destination, "moves")
    broker = source.node(2)
    broker.stop()
    fill(source, "moves", "meanwhile")
    broker.start().wait_ready()
    source.wait_whole()
    leader = source.leader("moves", 0)
    wait_until(lambda: batches(destination.node(1), "moves") == batches(leader, "moves"), "the logs are the same", 60)
    assert mirror(destination, "moves")["state"] == "ACTIVE"


def test_groups_go_on_after_a_promotion(source, destination):
    source.create("read", 1)
    fill(source, "read", "theirs")
    [end] = ends(source, "read").values()
    commit(source, "readers", "read", {0: end // 2}, "half")
    martlet(destination, "link", "mirror", "link", "read")
    wait_mirror(destination, "read")
    martlet(destination, "link", "promote", "link", "read")
    assert mirror(destination, "read")["state"] == "STOPPED"
    expected, found = Contents(source, ["read"], ["readers"]), Contents(destination, ["read"], ["readers"])
    assert expected.commits == found.commits and expected.commits
    fill(destination, "read", "ours")
    assert ends(destination, "read")[0] > end
