"""A group of the newer protocol (KIP-848) whose coordinator is killed, in a cluster of three."""

import time

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from clusters import Cluster
from commands import martlet_json
from load import QUIET, Worker, Writer
from nodes import wait_until
from operations import OK, Recorder

PARTITIONS = 6
GROUP = "workers"
SETTINGS = {
    "group.consumer.min.heartbeat.interval.ms": "100", "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.assignment.interval.ms": "0",
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False, settings=SETTINGS) as cluster:
        yield cluster


class Member(Worker):
    """Takes records and commits them at once."""

    def __init__(self, cluster: Cluster, topic: str, number: int):
        super().__init__()
        self.values: list[str] = []
        self.revocations = 0
        self.share: set[int] = set()
        self.consumer = Consumer({
            **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": GROUP, "client.id": f"member-{number}",
            "group.protocol": "consumer", "enable.auto.commit": False, "auto.offset.reset": "earliest",
        })
        self.consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)

    def _assigned(self, _, partitions):
        self.share |= {each.partition for each in partitions}

    def _revoked(self, _, partitions):
        self.revocations += 1
        self.share -= {each.partition for each in partitions}

    def work(self):
        while not self.stopping.is_set():
            messages = [message for message in self.consumer.consume(200, timeout=0.05) if not message.error()]
            if not messages:
                continue
            self.values += [message.value().decode() for message in messages]
            ends = {message.partition(): message.offset() + 1 for message in messages}
            try:
                self.consumer.commit(
                    offsets=[TopicPartition(messages[0].topic(), partition, end) for partition, end in ends.items()], asynchronous=False)
            except KafkaException:
                pass
        self.consumer.close()


def test_members_go_on_without_their_coordinator(cluster):
    topic = "jobs"
    cluster.create(topic, PARTITIONS)
    recorder = Recorder()
    writer = Writer("w", cluster.bootstrap, topic, PARTITIONS, recorder, rate=300)
    writer.start()
    members = [Member(cluster, topic, number) for number in range(3)]
    for member in members:
        member.start()
    wait_until(lambda: all(len(member.share) == 2 for member in members), "each member has its share", 30)
    shares = [set(member.share) for member in members]
    revocations = [member.revocations for member in members]
    for _ in range(3):
        before = [len(member.values) for member in members]
        described = martlet_json(cluster, "group", "describe", GROUP)[0]
        assert described["state"] == "Stable"
        node = cluster.node(described["coordinator"])
        began = time.monotonic()
        node.kill()
        wait_until(
            lambda: all(len(member.values) > count for member, count in zip(members, before)), "every member reads on", 30)
        print(f"all members read on {time.monotonic() - began:.2f} s after the kill")
        node.start().wait_ready()
        cluster.wait_whole()
    assert [member.share for member in members] == shares, "a coordinator's fail-over takes nothing from anybody"
    assert [member.revocations for member in members] == revocations
    writer.finish()
    sent = {operation.sends[0][2] for operation in recorder.operations}
    assert all(operation.outcome == OK for operation in recorder.operations)
    wait_until(lambda: len({value for member in members for value in member.values}) >= len(sent), "members have read everything", 60)
    # One member dies without a word while its coordinator does: the next one misses it.
    node = cluster.node(martlet_json(cluster, "group", "describe", GROUP)[0]["coordinator"])
    node.kill()
    members.pop().finish()
    wait_until(lambda: sorted(len(member.share) for member in members) == [3, 3], "the two left share everything", 60)
    node.start().wait_ready()
    for member in members:
        member.finish()
    assert {value for member in members for value in member.values} <= sent
