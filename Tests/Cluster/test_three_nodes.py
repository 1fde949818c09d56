"""Three nodes, three replicas, two of them in sync: what clients were told is kept while nodes come and go."""

import pytest

from broker import wait_until
from checker import check
from clusters import Cluster
from commands import martlet, martlet_json
from load import Reader, Writer, read_everything
from nemesis import Nemesis
from operations import OK, Recorder

PARTITIONS = 3


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as cluster:
        yield cluster


def test_replicas_are_in_different_racks_and_in_sync(cluster):
    cluster.create("placed", 6)
    cluster.wait_whole()
    for partition in cluster.partitions("placed").values():
        assert sorted(partition.replicas) == sorted(partition.isrs) == [1, 2, 3]
    assert {partition.leader for partition in cluster.partitions("placed").values()} == {1, 2, 3}


@pytest.mark.parametrize("fault", ["kill-leader", "kill-controller", "restart", "pause", "partition", "drop-connections"])
def test_nothing_acknowledged_is_lost(cluster, fault):
    topic = f"log-{fault}"
    recorder = Recorder()
    cluster.create(topic, PARTITIONS)
    writer = Writer("w", cluster.bootstrap, topic, PARTITIONS, recorder, rate=150)
    reader = Reader("r", cluster.bootstrap, topic, PARTITIONS, recorder)
    writer.start()
    reader.start()

    def go_on():
        before = writer.acknowledged
        wait_until(lambda: writer.acknowledged > before + 30, "the writer is acknowledged", 60)

    go_on()
    Nemesis(cluster, recorder, topic, seed=1, say=lambda _: None).strike(fault, 3)
    go_on()
    cluster.wait_whole()
    writer.finish()
    assert not writer.fatal
    assert all(operation.outcome == OK for operation in recorder.operations if operation.sends)
    read_everything(cluster.bootstrap, topic, PARTITIONS, recorder)
    reader.finish()
    verdict = check(recorder.operations)
    assert verdict.is_valid, str(verdict)


def test_health_tells_of_a_node_that_is_down(cluster):
    cluster.create("health", 3)
    cluster.wait_whole()
    assert martlet_json(cluster, "cluster", "health")["healthy"]
    node = cluster.node(3)
    node.kill()
    try:
        def is_noticed():
            found = martlet_json(cluster, "cluster", "health", check=False)
            return found if found["fencedBrokers"] == [3] and found["underReplicated"] else None

        found = wait_until(is_noticed, "broker 3 is fenced", 30, 0.2)
        assert all(trouble["reason"] == "broker 3 is down" for trouble in found["troubles"])
        assert martlet(cluster, "cluster", "health", check=False).returncode == 1
        states = {each["id"]: each["state"] for each in martlet_json(cluster, "broker", "list")}
        assert states == {1: "alive", 2: "alive", 3: "fenced"}
    finally:
        node.start()
    martlet(cluster, "cluster", "health", "--until-healthy", "--interval", "0.2")


def test_health_without_a_quorum_does_not_pretend(cluster):
    lost = [cluster.node(2), cluster.node(3)]
    for node in lost:
        node.kill()
    try:
        # A leader that is left alone gives up after a few seconds, not at once.
        wait_until(
            lambda: martlet_json(cluster, "cluster", "health", "--timeout", "3", check=False)["lacksController"],
            "the leader that is left alone gives up", 30, 0.2)
        done = martlet(cluster, "cluster", "health", "--timeout", "3", check=False)
        assert done.returncode == 1 and "The metadata quorum has no leader" in done.stdout, done.stdout + done.stderr
        done = martlet(cluster, "quorum", "status", "--timeout", "3", check=False)
        assert done.returncode == 1 and "a majority of its voters" in done.stderr, done.stderr
    finally:
        for node in lost:
            node.start()
    martlet(cluster, "cluster", "health", "--until-healthy", "--interval", "0.2")


def test_the_quorum_has_three_voters_and_one_leader(cluster):
    found = martlet_json(cluster, "quorum", "status")
    assert [voter["nodeId"] for voter in found["voters"]] == [1, 2, 3] and found["leaderId"] in (1, 2, 3)


def test_partitions_move_and_come_back(cluster):
    cluster.create("moving", 4, copies=2)
    cluster.wait_whole()
    martlet(cluster, "partition", "reassign", "moving", "--drain", "3")
    assert all(3 not in each["replicas"] for each in martlet_json(cluster, "partition", "list", "moving"))
    martlet(cluster, "partition", "reassign", "moving:0", "--replicas", "3,1")
    found = martlet_json(cluster, "partition", "list", "moving:0")[0]
    assert found["replicas"] == [3, 1]
    martlet(cluster, "partition", "elect", "moving:0")
    wait_until(lambda: martlet_json(cluster, "partition", "list", "moving:0")[0]["leader"] == 3, "3 leads", 20, 0.2)
