"""A group whose coordinator is killed: members go on with what they had, and what was committed stays committed."""

import time

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from clusters import Cluster
from commands import martlet_json
from load import QUIET, Worker, Writer
from nodes import Node, wait_until
from operations import OK, Recorder

PARTITIONS = 6
GROUP = "workers"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False) as cluster:
        yield cluster


class Member(Worker):
    """Takes records and commits them at once; writes down what it got, what was confirmed, and how often it was assigned anew."""

    def __init__(self, cluster: Cluster, topic: str, number: int):
        super().__init__()
        self.values: list[str] = []
        self.confirmed: dict[int, int] = {}
        self.assignments = 0
        self.share: set[int] = set()
        self.consumer = Consumer({
            **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": GROUP, "client.id": f"member-{number}",
            "enable.auto.commit": False, "auto.offset.reset": "earliest",
        })
        self.consumer.subscribe([topic], on_assign=self._assigned)

    def _assigned(self, _, partitions):
        self.assignments += 1
        # Asked for by another thread, an assignment would have to wait for the poll that is under way.
        self.share = {each.partition for each in partitions}

    def work(self):
        while not self.stopping.is_set():
            messages = [message for message in self.consumer.consume(200, timeout=0.05) if not message.error()]
            if not messages:
                continue
            self.values += [message.value().decode() for message in messages]
            ends = {}
            for message in messages:
                ends[message.partition()] = message.offset() + 1
            try:
                wanted = [TopicPartition(messages[0].topic(), partition, end) for partition, end in ends.items()]
                for done in self.consumer.commit(offsets=wanted, asynchronous=False):
                    if done.error is None:
                        self.confirmed[done.partition] = done.offset
            except KafkaException:
                pass
        self.consumer.close()


class OffsetWatcher(Worker):
    """Asks for the group's offsets: they never go back, nor behind what a member was told before the question."""

    def __init__(self, cluster: Cluster, topic: str, members: list[Member]):
        super().__init__()
        self.topic, self.members = topic, members
        self.answers = 0
        self.consumer = Consumer({**QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": GROUP, "client.id": "watcher"})

    def work(self):
        seen = dict.fromkeys(range(PARTITIONS), -1)
        while not self.stopping.wait(0.05):
            least = dict(seen)
            for member in self.members:
                for partition, offset in list(member.confirmed.items()):
                    least[partition] = max(least[partition], offset)
            try:
                found = self.consumer.committed([TopicPartition(self.topic, partition) for partition in range(PARTITIONS)], timeout=5)
            except KafkaException:
                continue
            for each in found:
                if each.error is None:
                    seen[each.partition] = max(each.offset, -1)
                    assert seen[each.partition] >= least[each.partition], (each, least)
            self.answers += 1
        self.consumer.close()


def coordinator(cluster: Cluster, group: str) -> Node:
    return cluster.node(martlet_json(cluster, "group", "describe", group)[0]["coordinator"])


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
    watcher = OffsetWatcher(cluster, topic, members)
    watcher.start()

    def all_commit():
        before = [dict(member.confirmed) for member in members]
        wait_until(
            lambda: all(
                sum(offset > old.get(partition, -1) for partition, offset in member.confirmed.items()) >= 2
                for member, old in zip(members, before)),
            "every member has committed anew in each of its partitions", 30)

    all_commit()
    assigned = [member.assignments for member in members]
    pauses = []
    for _ in range(4):
        node = coordinator(cluster, GROUP)
        began = time.monotonic()
        node.kill()
        all_commit()
        pauses.append(time.monotonic() - began)
        answers = watcher.answers
        wait_until(lambda: watcher.error or watcher.answers > answers + 1, "the group's offsets are read from the next coordinator", 30)
        node.start().wait_ready()
        cluster.wait_whole()
    print(f"all members committed again after {[f'{pause:.2f}' for pause in pauses]} s; {watcher.answers} looks at the offsets")
    assert [member.assignments for member in members] == assigned, "a coordinator's fail-over is no reason to rebalance"
    writer.finish()
    sent = {operation.sends[0][2] for operation in recorder.operations}
    assert all(operation.outcome == OK for operation in recorder.operations)
    wait_until(lambda: sum(len(member.values) for member in members) >= len(sent), "members have read everything", 60)
    watcher.finish()
    for member in members:
        member.finish()
    taken = [value for member in members for value in member.values]
    assert set(taken) == sent and len(taken) == len(sent), "without a rebalance each record is taken once"
    ends = {each.partition: each.offset for each in Consumer({
        **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": GROUP,
    }).committed([TopicPartition(topic, partition) for partition in range(PARTITIONS)], timeout=20)}
    confirmed = {partition: max(member.confirmed.get(partition, 0) for member in members) for partition in range(PARTITIONS)}
    assert ends == confirmed


def test_a_member_that_goes_with_the_coordinator_is_missed(cluster):
    """The group's timers start anew at the next coordinator: a member that died meanwhile still loses its partitions."""
    topic = "pair"
    cluster.create(topic, 2)
    settings = {
        **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": "pair", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
    }
    first, second = Consumer(settings), Consumer(settings)
    for consumer in (first, second):
        consumer.subscribe([topic])

    def have(counts):
        for consumer in (first, second):
            consumer.poll(0.05)
        return [len(consumer.assignment()) for consumer in (first, second)] == counts

    wait_until(lambda: have([1, 1]), "both have one", 30)
    node = coordinator(cluster, "pair")
    node.kill()
    # Not polled any more it stops to be alive only by max.poll.interval; its heartbeats are what counts, so it is closed without a word.
    second.unsubscribe()
    del second
    wait_until(lambda: first.poll(0.05) is None and len(first.assignment()) == 2, "the other one has both", 40)
    node.start().wait_ready()
    first.close()
    cluster.wait_whole()
