"""Controllers of both programs in one quorum: either leads, the other follows, takes over and comes back, with static and dynamic
voters; voters are added and removed by either leader."""

import itertools
import json
import re
import time

import pytest

from contents import Contents, fill
from kafka_nodes import KAFKA, MARTLET, kafka_tool, wait_until
from mixed_clusters import MixedCluster

# A leader that stops names the others as its successors, those that are as far as each other by their numbers: with the odd one in
# the middle each program follows the other.
SHAPES = {
    "two-kafka-static": ([KAFKA, MARTLET, KAFKA], False),
    "two-martlet-static": ([MARTLET, KAFKA, MARTLET], False),
    "two-kafka-dynamic": ([KAFKA, MARTLET, KAFKA], True),
    "two-martlet-dynamic": ([MARTLET, KAFKA, MARTLET], True),
}
# Snapshots are written soon, and the log behind them goes soon, so that whoever was away needs one.
SMALL_METADATA = {
    "metadata.log.max.record.bytes.between.snapshots": "5000", "metadata.max.retention.bytes": "10000",
    # Segments by time: small ones would not take a large batch, and Apache Kafka ends over that.
    "metadata.log.segment.ms": "500", "metadata.max.idle.interval.ms": "200",
}


@pytest.fixture(scope="module", params=SHAPES)
def cluster(request):
    programs, dynamic = SHAPES[request.param]
    with MixedCluster(*programs, dynamic=dynamic, settings=SMALL_METADATA) as cluster:
        yield cluster


def status(cluster) -> dict:
    return json.loads(cluster.martlet("quorum", "status", "--json"))


def led_by(cluster, program: str, how: str) -> None:
    """Makes leaders of the other program go until one of this program leads; all run again in the end."""
    def one_round():
        leader = cluster.controller()
        if leader.program == program:
            return True
        # A node of Kafka that still follows refuses its pre-vote to others, so the last one of them would mostly win: when killed, all
        # of them go, and come back as those who know of no leader.
        gone = [leader] if how == "stopped" else [node for node in cluster.nodes if node.program != program]
        for node in gone:
            if how == "stopped":
                assert node.stop() == 0, node.log()[-2000:]
            else:
                node.kill()
        if len(gone) == 1:
            wait_until(lambda: cluster.controller() is not leader, "another leads", 60, pause=0.2)
        for node in gone:
            node.start()
        for node in gone:
            node.wait_ready()
        whole(cluster)
        return cluster.controller().program == program

    wait_until(one_round, f"a {program} leads", 180, pause=0)


def whole(cluster) -> None:
    """Everybody has all of the metadata log and all brokers are in sync."""
    cluster.wait_whole(120)

    def is_level():
        found = status(cluster)
        return found["leaderId"] >= 0 and all(
            found["highWatermark"] - voter["logEndOffset"] < 50 for voter in found["voters"])

    wait_until(is_level, "every voter has the log", 60, pause=0.2)


_count = 0


def change_something(cluster) -> None:
    global _count
    _count += 1
    topic = f"change-{_count}"
    cluster.create(topic, 2)
    fill(cluster, topic, "some", 6)


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("program", [MARTLET, KAFKA])
def test_either_takes_over_from_the_other(cluster, program, how):
    led_by(cluster, KAFKA if program == MARTLET else MARTLET, how)
    change_something(cluster)
    led_by(cluster, program, how)
    change_something(cluster)
    whole(cluster)


def test_both_tell_the_same_quorum(cluster):
    for program in (KAFKA, MARTLET):
        led_by(cluster, program, "stopped")
        leader = cluster.controller()
        described = kafka_tool("metadata-quorum", "--bootstrap-server", cluster.bootstrap, "describe", "--status")
        assert int(re.search(r"LeaderId:\s+(\d+)", described)[1]) == leader.number
        assert all(f'"id": {number}' in described for number in (1, 2, 3)), described
        lags = kafka_tool("metadata-quorum", "--bootstrap-server", cluster.bootstrap, "describe", "--replication")
        assert lags.count("Follower") == 2 and lags.count("Leader") >= 1, lags
        found = status(cluster)
        assert found["leaderId"] == leader.number and [voter["nodeId"] for voter in found["voters"]] == [1, 2, 3]


@pytest.mark.parametrize("program", [MARTLET, KAFKA])
def test_who_was_away_gets_a_snapshot_from_the_other(cluster, program):
    """What the node of the one program lacks is gone from the log of the leader, which is the other's."""
    led_by(cluster, KAFKA if program == MARTLET else MARTLET, "stopped")
    leader = cluster.controller()
    away = next(node for node in cluster.nodes if node.program == program)
    change_something(cluster)
    end = quorum_end(cluster, away)
    assert away.stop() == 0

    def is_cut():
        # 15 kB of partitions: a new segment and a snapshot each time, until the log can be cut.
        if (count := next(numbers)) < 8:
            cluster.create(f"many-{program}-{count}", 40, copies=2)
        time.sleep(0.5)
        assert cluster.controller() is leader
        return log_start(leader) > end

    numbers = itertools.count()
    # Kafka looks once a minute whether it can cut its log.
    wait_until(is_cut, "the leader's log begins behind the end of the other's", 150, pause=0)
    topics = [f"change-{_count}"]
    before = Contents(cluster, topics, [])
    away.start().wait_ready()
    whole(cluster)
    assert log_start(away) > end
    assert not before.differences(Contents(cluster, topics, []))
    led_by(cluster, program, "stopped")
    assert not before.differences(Contents(cluster, topics, []))


def log_start(node) -> int:
    return min(int(file.name.split(".")[0]) for file in (node.data / "__cluster_metadata-0").glob("*.log"))


def quorum_end(cluster, node) -> int:
    return next(voter["logEndOffset"] for voter in status(cluster)["voters"] if voter["nodeId"] == node.number)
