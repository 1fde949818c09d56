"""Kafka Streams with its newest group protocol on a cluster of three Martlet nodes, of which the group's coordinator is killed while the
application counts: the threads keep their tasks, and every word is counted exactly once."""

import pytest

from clusters import Cluster
from commands import martlet
from nodes import wait_until
from streams_member import coordinator_address
from word_count import APPLICATION, INPUT, OUTPUT, TASKS, Application, Counts, Text, active, classes  # noqa: F401

SETTINGS = {
    "group.streams.min.heartbeat.interval.ms": "100", "group.streams.heartbeat.interval.ms": "300",
    "group.streams.initial.rebalance.delay.ms": "0", "group.streams.assignment.interval.ms": "0",
    "transaction.state.log.num.partitions": "4",
}


@pytest.fixture
def cluster():
    with Cluster(3, proxied=False, settings=SETTINGS) as cluster:
        # New clusters begin with a metadata.version of before it.
        martlet(cluster, "cluster", "features", "--set", "streams.version=1")
        yield cluster


def test_an_application_counts_on_when_its_coordinator_is_killed(cluster, classes, tmp_path):  # noqa: F811
    def running():
        return [node.address for node in cluster.brokers if node.is_running]

    cluster.create(INPUT, 3)
    cluster.create(OUTPUT, 1)
    text, counts = Text(cluster.bootstrap), Counts(cluster.bootstrap)
    applications = [Application(classes, cluster.bootstrap, tmp_path / name) for name in ("first", "second")]
    try:
        wait_until(lambda: active(applications) == sorted(TASKS), "each task runs once", 90)
        counts.become(text.write(300))
        shares = [active([each]) for each in applications]
        for _ in range(2):
            text.write(100)
            address = coordinator_address(running(), APPLICATION)
            node = next(node for node in cluster.brokers if node.address == address)
            node.kill()
            counts.become(text.write(300), 90)
            assert coordinator_address(running(), APPLICATION) != address
            assert [active([each]) for each in applications] == shares, "a coordinator's fail-over is no reason to rebalance"
            node.start().wait_ready()
            cluster.wait_whole()
        # The group that was read back is whole: an instance that goes leaves its tasks to the other.
        applications.pop().stop()
        wait_until(lambda: active(applications) == sorted(TASKS), "the other takes all", 60)
        counts.become(text.write(300))
        applications.pop().stop()
    finally:
        for each in applications:
            each.kill()
