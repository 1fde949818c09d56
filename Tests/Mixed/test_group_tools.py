"""`kafka-share-groups` and `kafka-streams-groups` of Apache Kafka and of `bin/`, against one node of Martlet: the same output and the same
status. What only looks is asked about the same groups; what changes something has a group for each program."""

import re

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

import topics
from broker import Broker, wait_until
from confluent import producer, send
from kafka_nodes import KAFKA_DIRECTORY
from samples import many
from sharing import SETTINGS as SHARE_SETTINGS
from sharing import accept, configure, sharer, take
from streams_member import StreamsMember
from test_kafka_tools import OURS, SERVER, THEIRS, plain, run

SETTINGS = {
    **SHARE_SETTINGS, "offsets.topic.num.partitions": "2", "group.streams.initial.rebalance.delay.ms": "0",
    "group.streams.assignment.interval.ms": "0",
}


@pytest.fixture(scope="module")
def node():
    with Broker(SETTINGS, features=("share.version=1", "streams.version=1")) as node:
        topics.create(node.bootstrap, "tools-in", 3)
        send(producer(node.bootstrap), "tools-in", many(30))
        yield node


def compared(node: Broker, name: str, text: str, before=lambda: None) -> tuple[int, list[str]]:
    """Both programs' status and output, which are the same; `before` makes anew what they change."""
    found = {}
    for program in (THEIRS, OURS):
        before()
        status, output = run(program, node, name, [*text.split(), *SERVER], None)
        # The words of an error are each program's own; its class is what scripts look for.
        output = re.sub(r"(org\.apache\.kafka\.common\.errors\.\w+): .*", r"\1", output)
        found[program] = status, plain(output, program, node)
    assert found[OURS] == found[THEIRS], text
    return found[OURS]


def shared(node: Broker, group: str) -> None:
    """Lets a share group have read what there is, and leave."""
    configure(node.bootstrap, group, share_auto_offset_reset="earliest")
    with sharer(node.bootstrap, group, "tools-in", share_acknowledgement_mode="explicit") as reader:
        accept(reader, take(reader, 30))


SHARE_LOOKS = [
    "--list", "--list --state", "--list --state Empty", "--list --state empty,stable", "--list --state x", "--list --describe",
    "--describe", "--describe --group tools-busy", "--describe --group tools-busy --verbose", "--describe --group tools-busy --offsets",
    "--describe --group tools-busy --members", "--describe --group tools-busy --members --verbose",
    "--describe --group tools-busy --state", "--describe --group tools-busy --state --verbose",
    "--describe --group tools-idle", "--describe --group tools-idle --members", "--describe --group tools-idle --state",
    "--describe --all-groups", "--describe --all-groups --state", "--describe --group tools-nobody",
    "--describe --group tools-busy --members --state", "--describe --group tools-busy --state x",
    "--delete", "--delete --group tools-nobody", "--delete --group tools-busy", "--delete --group tools-busy --topic tools-in",
    "--delete-offsets --group tools-busy", "--delete-offsets --group tools-busy --topic tools-in",
    "--delete-offsets --group tools-nobody --topic tools-in", "--delete-offsets --group tools-idle --topic tools-none",
    "--reset-offsets --group tools-idle --to-earliest", "--reset-offsets --to-earliest --dry-run",
]


def test_share_groups(node):
    shared(node, "tools-idle")
    with sharer(node.bootstrap, "tools-busy", "tools-in") as reader:
        wait_until(lambda: not reader.poll(0.5) and "tools-in:0,1,2" in "".join(
            run(OURS, node, "share-groups", ["--describe", "--group", "tools-busy", "--members", *SERVER], None)[1]), "the member has all")
        for text in SHARE_LOOKS:
            compared(node, "share-groups", text)
    for program in (THEIRS, OURS):
        shared(node, f"{program}-one")
    assert compared(node, "share-groups", "--delete-offsets --group NAME-one --topic tools-in")[1][1].endswith("Successful")
    compared(node, "share-groups", "--describe --group NAME-one")
    compared(node, "share-groups", "--delete --group NAME-one")
    compared(node, "share-groups", "--delete --group NAME-one")


STREAMS_LOOKS = [
    "--list", "--list --state", "--list --state Stable", "--list --state x", "--describe --group tools-count",
    "--describe --group tools-count --offsets --verbose", "--describe --group tools-count --members",
    "--describe --group tools-count --members --verbose", "--describe --group tools-count --state",
    "--describe --group tools-count --state --verbose", "--describe --group tools-count --state --members",
    "--describe --group tools-count --state x", "--delete", "--delete --group tools-nobody", "--delete --group tools-count",
    "--delete-offsets --group tools-count", "--delete-offsets --group tools-count --input-topic tools-in",
    "--delete-offsets --group tools-count --all-input-topics",
]


def test_streams_groups(node):
    if not any((KAFKA_DIRECTORY / "bin" / name).exists() for name in ("kafka-streams-groups.sh", "kafka-streams-groups")):
        pytest.skip("this Apache Kafka has no tool for streams groups")
    member = StreamsMember([node.bootstrap], "tools-count", ["tools-in"], ["tools-count-store-changelog"])
    wait_until(lambda: member.beat() == 0 and member.partitions == {0, 1, 2}, "the member has all tasks")
    member.beat()
    for text in STREAMS_LOOKS:
        assert member.beat() == 0
        compared(node, "streams-groups", text)
    member.leave()

    def commit():
        offsets = [TopicPartition("tools-in", number, 2) for number in range(3)]
        topics.admin(node.bootstrap).alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions("tools-count", offsets)])["tools-count"].result(30)

    commit()
    for text in ("", "--members", "--state", "--state --verbose"):
        compared(node, "streams-groups", f"--describe --group tools-count {text}")
    compared(node, "streams-groups", "--list --state")
    compared(node, "streams-groups", "--delete-offsets --group tools-count --input-topic tools-in:0", commit)
    assert len(compared(node, "streams-groups", "--delete-offsets --group tools-count --all-input-topics", commit)[1]) == 5
