"""Controllers of both programs in one quorum: either leads, the other follows, takes over and comes back, with static and dynamic
voters; voters are added and removed by either leader."""

import json
import re

import pytest

from contents import Contents, fill
from kafka_nodes import KAFKA, MARTLET, kafka_tool, wait_until
from mixed_clusters import MixedCluster

SHAPES = {
    "two-kafka-static": ([KAFKA, KAFKA, MARTLET], False),
    "two-martlet-static": ([MARTLET, MARTLET, KAFKA], False),
    "two-kafka-dynamic": ([KAFKA, KAFKA, MARTLET], True),
    "two-martlet-dynamic": ([MARTLET, MARTLET, KAFKA], True),
}
# Snapshots are written soon, and the log behind them goes soon, so that whoever was away needs one.
SMALL_METADATA = {
    "metadata.log.max.record.bytes.between.snapshots": "20000", "metadata.max.retention.bytes": "1000",
    "metadata.log.segment.bytes": "8388608", "metadata.max.idle.interval.ms": "200",
}


@pytest.fixture(scope="module", params=SHAPES)
def cluster(request):
    programs, dynamic = SHAPES[request.param]
    with MixedCluster(*programs, dynamic=dynamic, settings=SMALL_METADATA) as cluster:
        yield cluster


def status(cluster) -> dict:
    return json.loads(cluster.martlet("quorum", "status", "--json"))


def led_by(cluster, program: str, how: str) -> None:
    """Stops or kills leaders until one of that program leads; all run again in the end."""
    def one_round():
        leader = cluster.controller()
        if leader.program == program:
            return True
        if how == "stopped":
            assert leader.stop() == 0, leader.log()[-2000:]
        else:
            leader.kill()
        wait_until(lambda: cluster.controller() is not leader, "another leads", 60, pause=0.2)
        leader.start().wait_ready()
        whole(cluster)
        return cluster.controller().program == program

    wait_until(one_round, f"a {program} leads", 240, pause=0)
    assert cluster.controller().program == program


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
    """The log's beginning is gone from the leader when the node of the other program comes back with nothing."""
    led_by(cluster, KAFKA if program == MARTLET else MARTLET, "stopped")
    leader = cluster.controller()
    away = next(node for node in cluster.nodes if node.program == program)
    assert away.stop() == 0

    def log_start():
        return [int(file.name.split(".")[0]) for file in (leader.data / "__cluster_metadata-0").glob("*.log")]

    def grow():
        change_something(cluster)
        return min(log_start()) > 0 or list((leader.data / "__cluster_metadata-0").glob("*-*.checkpoint"))

    wait_until(grow, "the leader has a snapshot", 60, pause=0)
    before = Contents(cluster, ["change-1", f"change-{_count}"], [])
    away.start().wait_ready()
    whole(cluster)
    assert not before.differences(Contents(cluster, ["change-1", f"change-{_count}"], []))
