"""`kafka-share-groups` and `kafka-streams-groups`: what they print, where the groups are after they have changed something, and what they
refuse. Tests/Mixed compares them with Apache Kafka's, as far as that has the same."""

import re

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

import topics
from broker import Broker, wait_until
from confluent import producer, send
from kafka_tools import tool
from samples import many
from sharing import SETTINGS, accept, configure, sharer, take
from streams_member import StreamsMember


@pytest.fixture(scope="module")
def node():
    settings = {**SETTINGS, "group.streams.initial.rebalance.delay.ms": "0", "group.streams.assignment.interval.ms": "0"}
    with Broker(settings, features=("share.version=1", "streams.version=1")) as node:
        yield node
        assert node.is_running(), f"the broker died during the tests:\n{node.log()[-4000:]}"


@pytest.fixture
def share(node):
    return lambda *arguments, **options: tool("share-groups", *arguments, bootstrap=node.bootstrap, **options)


@pytest.fixture
def streams(node):
    return lambda *arguments, **options: tool("streams-groups", *arguments, bootstrap=node.bootstrap, **options)


def offsets(share, group: str) -> dict[int, int]:
    rows = [line.split() for line in share("--describe", "--group", group).lines[2:]]
    return {int(partition): int(offset) for _, _, partition, offset in rows if offset != "-"}


def test_share_groups_are_listed_described_and_deleted(node, share, name):
    topic = topics.create(node.bootstrap, name, 2)
    send(producer(node.bootstrap), topic, many(20))
    group = f"{name}-group"
    configure(node.bootstrap, group, share_auto_offset_reset="earliest")
    with sharer(node.bootstrap, group, topic, share_acknowledgement_mode="explicit") as reader:
        first = take(reader, 20)
        accept(reader, first)
        # All of them may have been in one partition.
        wait_until(lambda: set(offsets(share, group)) == {0, 1}, "the group has begun to read both")
        # What is stored with these acknowledgements is where the group was before them.
        send(producer(node.bootstrap), topic, many(10), partition=0)
        accept(reader, take(reader, 10))
        assert group in share("--list").lines
        listed = share("--list", "--state", "stable").lines
        assert listed[0].split() == ["GROUP", "STATE"] and [group, "Stable"] in [line.split() for line in listed]
        members = share("--describe", "--group", group, "--members", "--verbose").lines[1:]
        assert members[0].split() == ["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "MEMBER-EPOCH", "ASSIGNMENT"]
        assert members[1].split()[0] == group and members[1].split()[-3] == "2" and members[1].split()[-1] == f"{topic}:0,1"
        state = share("--describe", "--group", group, "--state", "--verbose").lines[1:]
        assert state[0].split() == ["GROUP", "COORDINATOR", "(ID)", "STATE", "GROUP-EPOCH", "ASSIGNMENT-EPOCH", "#MEMBERS"]
        assert state[1].split()[:4] == [group, f"127.0.0.1:{node.port}", "(1)", "Stable"] and state[1].split()[-1] == "1"
        assert share("--delete", "--group", group) == (
            f"\nError: Deletion of some share groups failed:\n* Group '{group}' could not be deleted due to: "
            f"org.apache.kafka.common.errors.GroupNotEmptyException: Share group '{group}' is not EMPTY.\n")
        busy = share("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute", status=1)
        assert busy.errors == f"Share group '{group}' is not empty.\n"
    wait_until(lambda: share("--describe", "--group", group, "--state").lines[2].split()[3] == "Empty", "the member has left")
    described = share("--describe", "--group", group, "--verbose")
    assert described.lines[1].split() == ["GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "START-OFFSET"]
    assert described.lines[2].split()[:4] == [group, topic, "0", "0"]
    assert offsets(share, group) == {0: sum(message.partition() == 0 for message in first), 1: 0}
    assert share("--describe", "--group", group, "--members").errors == f"\nShare group '{group}' has no active members.\n"
    assert share("--delete", "--group", group) == f"Deletion of requested share groups ('{group}') was successful.\n"
    assert share("--delete", "--group", group).lines[2] == (
        f"* Group '{group}' could not be deleted due to: java.lang.IllegalArgumentException: Group '{group}' is not a share group.")
    gone = share("--describe", "--group", group).lines
    assert gone[1].startswith("Error: Executing share group command failed due to org.apache.kafka.common.errors.GroupIdNotFoundException: ")


def test_share_groups_begin_where_they_are_told_to(node, share, name, tmp_path):
    topic = topics.create(node.bootstrap, name, 1)
    values = many(20)
    send(producer(node.bootstrap), topic, values)
    group = f"{name}-group"

    def reset(*arguments, **options):
        return share("--reset-offsets", "--group", group, "--topic", topic, *arguments, **options)

    # A group that nobody has joined yet can be told where to begin.
    assert reset("--to-offset", 5, "--execute").lines[1:] == [
        f"{'GROUP':<{max(15, len(group))}} {'TOPIC':<{max(15, len(topic))}} PARTITION  NEW-OFFSET",
        f"{group:<15} {topic:<15} 0          5"]
    assert offsets(share, group) == {0: 5}
    assert reset("--to-earliest", "--dry-run").lines[2].split()[-1] == "0"
    assert offsets(share, group) == {0: 5}, "a dry run changes nothing"
    for scenario, expected in ((["--to-latest"], 20), (["--to-earliest"], 0), (["--to-offset", 99], 20), (["--to-current"], 20),
                               (["--to-datetime", "2020-01-01T00:00:00.000"], 0)):
        assert reset(*scenario, "--execute").lines[2].split()[-1] == str(expected), scenario
        assert offsets(share, group) == {0: expected}, scenario
    plan = tmp_path / "plan.csv"
    plan.write_text(f"{topic},0,12\n")
    assert share("--reset-offsets", "--group", group, "--from-file", plan, "--execute", "--export") == f"{topic},0,12\n\n"
    assert share("--reset-offsets", "--group", group, "--all-topics", "--to-current", "--dry-run").lines[2].split() == [
        group, topic, "0", "12"]
    with sharer(node.bootstrap, group, topic) as reader:
        assert [message.value() for message in take(reader, 8)] == values[12:]
    assert reset("--to-earliest", status=1).errors.startswith("Option [reset-offsets] takes the option: [execute] or [dry-run]")
    assert reset("--dry-run", status=1).errors.startswith("Option [reset-offsets] takes one of these options: [from-file], [to-current]")
    deleted = share("--delete-offsets", "--group", group, "--topic", topic).lines
    assert deleted[1].split() == ["TOPIC", "STATUS"] and deleted[2].split() == [topic, "Successful"]
    assert offsets(share, group) == {}
    unknown = share("--delete-offsets", "--group", group, "--topic", f"{topic}-x").lines
    assert unknown[-1].startswith(f"{topic}-x") and "Error: " in unknown[-1]


def join(node, group: str, topic: str) -> StreamsMember:
    """A thread of a Streams application with three tasks."""
    member = StreamsMember([node.bootstrap], group, [topic], [f"{group}-store-changelog"])
    wait_until(lambda: member.beat() == 0 and member.partitions == {0, 1, 2}, "the member has every task")
    assert member.beat() == 0
    return member


def commit(node, group: str, topic: str, offset: int) -> None:
    partitions = [TopicPartition(topic, number, offset) for number in range(3)]
    topics.admin(node.bootstrap).alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)])[group].result(30)


def test_streams_groups(node, streams, name):
    topic = topics.create(node.bootstrap, name, 3)
    send(producer(node.bootstrap), topic, many(30), partition=0)
    group = f"{name}-group"
    one = join(node, group, topic)
    assert group in streams("--list").lines
    assert [group, "Stable"] in [line.split() for line in streams("--list", "--state").lines]
    lag = [line.split() for line in streams("--describe", "--group", group).lines]
    assert lag == [["GROUP", "TOPIC", "PARTITION", "OFFSET-LAG"], [group, topic, "0", "30"], [group, topic, "1", "0"], [group, topic, "2", "0"]]
    members = streams("--describe", "--group", group, "--members").lines
    assert members[0].split() == ["GROUP", "MEMBER", "PROCESS", "CLIENT-ID", "ASSIGNMENTS"]
    assert members[1].split()[:3] == [group, one.id, one.id] and members[1].endswith("ACTIVE: 0:[0,1,2]; ")
    verbose = streams("--describe", "--group", group, "--members", "--verbose").lines[1]
    assert re.search(r"streams +\d+ .*ACTIVE: 0:\[0,1,2\]; TARGET-ACTIVE: 0:\[0,1,2\]; $", verbose), verbose
    state = streams("--describe", "--group", group, "--state", "--verbose").lines[1].split()
    assert state[:4] == [group, f"127.0.0.1:{node.port}", "(1)", "Stable"] and state[-1] == "1"
    assert streams("--reset-offsets", "--group", group, "--input-topic", topic, "--to-earliest", "--execute").lines[1] == (
        f"Error: Assignments can only be reset if the group '{group}' is inactive, but the current state is Stable.")
    one.leave()
    commit(node, group, topic, 4)

    def reset(*arguments, **options):
        return streams("--reset-offsets", "--group", group, *arguments, **options)

    def committed() -> list[int]:
        found = topics.admin(node.bootstrap).list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
        return [each.offset for each in sorted(found.topic_partitions, key=lambda each: each.partition)]

    dry = reset("--all-input-topics", "--to-latest", "--dry-run").lines[1:]
    assert dry == [
        f"{'GROUP':<30} {'TOPIC':<30} PARTITION  NEW-OFFSET     ",
        *(f"{group:<30} {topic:<30} {number}          {30 if number == 0 else 0:<15}" for number in range(3))]
    assert committed() == [4, 4, 4]
    reset("--input-topic", f"{topic}:0", "--shift-by", 10, "--execute")
    assert committed() == [14, 4, 4]
    changelog = f"{group}-store-changelog"
    assert changelog in topics.names(node.bootstrap)
    assert reset("--input-topic", f"{topic}-x", "--to-earliest", "--dry-run").lines[1].startswith("Error: ")
    reset("--all-input-topics", "--to-earliest", "--execute", "--delete-all-internal-topics")
    assert committed() == [0, 0, 0]
    wait_until(lambda: changelog not in topics.names(node.bootstrap), "the internal topic is gone")
    deleted = streams("--delete-offsets", "--group", group, "--input-topic", f"{topic}:0").lines
    assert deleted[0] == f"Request succeeded for deleting offsets from group {group}."
    assert deleted[-1].split() == [topic, "0", "Successful"] and committed() == [0, 0]
    assert streams("--delete", "--group", group) == f"Deletion of requested streams groups ('{group}') was successful.\n"
    assert streams("--delete", "--group", group).lines[2].endswith(f"Group '{group}' does not exist or is not a streams group.")


def test_internal_topics_go_with_the_group_when_that_is_asked_for(node, streams, name):
    topic = topics.create(node.bootstrap, name, 3)
    for group, more in ((f"{name}-kept", []), (f"{name}-gone", ["--delete-all-internal-topics"])):
        join(node, group, topic).leave()
        streams("--delete", "--group", group, *more)
    names = set(topics.names(node.bootstrap))
    assert f"{name}-kept-store-changelog" in names and topic in names
    wait_until(lambda: f"{name}-gone-store-changelog" not in topics.names(node.bootstrap), "the internal topic is gone")
