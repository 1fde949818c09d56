"""A streams group (KIP-1071) whose coordinator is killed, in a cluster of three: the next one reads the group from __consumer_offsets, and
members go on with the tasks and epochs that they had. The real Kafka Streams does the same in Tests/Mixed."""

import time

import pytest

from clusters import Cluster
from commands import martlet, martlet_json
from nodes import Node, wait_until
from streams_member import StreamsMember, coordinator_address

SETTINGS = {
    "group.streams.min.heartbeat.interval.ms": "100", "group.streams.heartbeat.interval.ms": "300",
    "group.streams.min.session.timeout.ms": "1000", "group.streams.session.timeout.ms": "5000",
    "group.streams.initial.rebalance.delay.ms": "0", "group.streams.assignment.interval.ms": "0",
}
PARTITIONS = 6


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False, settings=SETTINGS) as cluster:
        martlet(cluster, "cluster", "features", "--set", "streams.version=1")
        yield cluster


def running(cluster: Cluster):
    return lambda: [node.address for node in cluster.brokers if node.is_running]


def coordinator(cluster: Cluster, group: str) -> Node:
    address = wait_until(lambda: coordinator_address(running(cluster)(), group), "the group has a coordinator")
    return next(node for node in cluster.brokers if node.address == address)


def settle(members: list[StreamsMember]) -> None:
    """Lets all members report until every task has one of them and nothing is to be said any more."""

    def settled():
        for member in members:
            assert member.beat() == 0, member.errors
        shares = [member.partitions for member in members]
        return (
            sorted(each for share in shares for each in share) == list(range(PARTITIONS)) and not any(member.must_tell for member in members)
            and len({member.epoch for member in members}) == 1)

    wait_until(settled, "every task has a member", 30)


def test_members_keep_their_tasks_when_the_coordinator_is_killed(cluster):
    group = "counting"
    cluster.create("lines", PARTITIONS)
    members = [StreamsMember(running(cluster), group, ["lines"], ["counting-store-changelog"]) for _ in range(2)]
    settle(members)
    assert [len(member.partitions) for member in members] == [3, 3]
    assert len(cluster.partitions("counting-store-changelog")) == PARTITIONS, "the topics of the topology have been created"
    for _ in range(3):
        shares = [member.partitions for member in members]
        epochs = [member.epoch for member in members]
        assignments = [member.assignments for member in members]
        node = coordinator(cluster, group)
        began = time.monotonic()
        node.kill()
        for member in members:
            assert member.beat() == 0, member.errors
        print(f"the next coordinator answered {time.monotonic() - began:.2f} s after the kill")
        assert coordinator(cluster, group) is not node
        assert [member.partitions for member in members] == shares
        assert [member.epoch for member in members] == epochs, "a coordinator's fail-over is no reason to rebalance"
        assert [member.assignments for member in members] == assignments, "nobody was told tasks anew"
        described = martlet_json(cluster, "group", "describe", group)[0]
        assert described["state"] == "Stable" and len(described["members"]) == 2, described

        # What the next coordinator has read is enough to go on with: whoever comes gets a share, whoever goes gives it back.
        newcomer = StreamsMember(running(cluster), group, ["lines"], ["counting-store-changelog"])
        settle([*members, newcomer])
        assert [len(member.partitions) for member in [*members, newcomer]] == [2, 2, 2]
        for member, share in zip(members, shares):
            assert member.partitions < share, "tasks stay where they are"
        newcomer.leave()
        settle(members)
        assert [len(member.partitions) for member in members] == [3, 3]
        node.start().wait_ready()
        cluster.wait_whole()
    for member in members:
        member.leave()
    wait_until(lambda: martlet_json(cluster, "group", "describe", group)[0]["state"] == "Empty", "the group is empty")


def test_a_member_that_dies_with_the_coordinator_is_missed(cluster):
    """Sessions begin anew at the next coordinator: who does not come back loses its tasks when its session is over."""
    group = "missed"
    cluster.create("words", PARTITIONS)
    members = [StreamsMember(running(cluster), group, ["words"]) for _ in range(2)]
    settle(members)
    node = coordinator(cluster, group)
    node.kill()
    began = time.monotonic()
    settle(members[:1])
    assert time.monotonic() - began > 4, "its session was not over yet"
    assert members[0].partitions == set(range(PARTITIONS))
    # UNKNOWN_MEMBER_ID
    assert members[1].beat() == 25
    members[0].leave()
    node.start().wait_ready()
    cluster.wait_whole()


def test_a_cluster_that_was_killed_finds_its_group_again(cluster):
    """No process is left that knows the group: what comes back is what is in the log."""
    group = "restarted"
    cluster.create("sentences", PARTITIONS)
    members = [StreamsMember(running(cluster), group, ["sentences"], ["restarted-store-changelog"]) for _ in range(3)]
    settle(members)
    before = [(member.partitions, member.epoch) for member in members]
    for node in cluster.nodes:
        node.kill()
    cluster.start_nodes()
    cluster.wait_whole()
    for member in members:
        assert member.beat() == 0, member.errors
    assert [(member.partitions, member.epoch) for member in members] == before
    metrics = coordinator(cluster, group).get("/metrics")[1]
    assert 'kafka_server_group_coordinator_metrics_streams_group_count{state="Stable"} 1\n' in metrics
    settle(members)
    for member in members:
        member.leave()
