"""confluent-kafka in groups: members come and go, eager and cooperative, with static ids; offsets are kept."""

import threading

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

import topics
from broker import wait_until
from confluent import consumer, join, producer, send, take
from samples import many

FAST = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 300}


class Member:
    """A consumer polling in a thread of its own, so that several can be in one group."""

    def __init__(self, bootstrap, group, topic, **settings):
        self.values, self.assigned, self.revocations = [], set(), 0
        self._stopping = threading.Event()
        self.consumer = consumer(bootstrap, group, **{**FAST, **settings})
        self.consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _on_assign(self, _, partitions):
        self.assigned |= {partition.partition for partition in partitions}

    def _on_revoke(self, _, partitions):
        self.revocations += 1
        self.assigned -= {partition.partition for partition in partitions}

    def _run(self):
        while not self._stopping.is_set():
            for message in self.consumer.consume(100, timeout=0.1):
                if not message.error():
                    self.values.append(message.value())
        self.consumer.close()

    def stop(self):
        self._stopping.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def share_fairly(members, partitions):
    """All partitions are taken, each by one member, and no member has nothing."""
    taken = [partition for member in members for partition in member.assigned]
    return sorted(taken) == list(range(partitions)) and all(member.assigned for member in members)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_come_and_go(bootstrap, name, strategy):
    topics.create(bootstrap, name, partitions=6)
    members = []
    try:
        for count in (1, 2, 3):
            members.append(Member(bootstrap, name, name, partition_assignment_strategy=strategy))
            wait_until(lambda: share_fairly(members, 6), f"{count} members share six partitions", 45)
        send(producer(bootstrap), name, many(600))
        wait_until(lambda: sum(len(member.values) for member in members) >= 600, "every record was read")
        members.pop().stop()
        wait_until(lambda: share_fairly(members, 6), "the two left share six partitions", 45)
        send(producer(bootstrap), name, many(600))
        wait_until(lambda: sum(len(member.values) for member in members) >= 600, "records go on being read")
    finally:
        for member in members:
            member.stop()


def test_cooperative_members_keep_what_stays_theirs(bootstrap, name):
    topics.create(bootstrap, name, partitions=4)
    first = Member(bootstrap, name, name, partition_assignment_strategy="cooperative-sticky")
    second = None
    try:
        wait_until(lambda: first.assigned == {0, 1, 2, 3}, "the first member has everything", 45)
        second = Member(bootstrap, name, name, partition_assignment_strategy="cooperative-sticky")
        wait_until(lambda: share_fairly([first, second], 4), "two members share", 45)
        assert len(first.assigned) == 2
    finally:
        first.stop()
        if second:
            second.stop()


def test_a_static_member_comes_back_without_a_rebalance(bootstrap, name):
    topics.create(bootstrap, name, partitions=2)
    static = {"session_timeout_ms": 20_000}
    stays = Member(bootstrap, name, name, group_instance_id="stays", **static)
    leaves = Member(bootstrap, name, name, group_instance_id="leaves", **static)
    try:
        wait_until(lambda: share_fairly([stays, leaves], 2), "two static members share", 45)
        before, kept = stays.revocations, set(leaves.assigned)
        leaves.stop()
        leaves = Member(bootstrap, name, name, group_instance_id="leaves", **static)
        wait_until(lambda: leaves.assigned == kept, "the member that came back has its partition again", 20)
        assert stays.revocations == before
    finally:
        stays.stop()
        leaves.stop()


def test_a_member_that_vanishes_is_replaced(bootstrap, name):
    """A consumer that no longer polls loses its partitions to the one that does."""
    topics.create(bootstrap, name, partitions=2)
    silent = consumer(bootstrap, name, session_timeout_ms=6000, heartbeat_interval_ms=300, max_poll_interval_ms=6000)
    silent.subscribe([name])
    join(silent, 2)
    other = Member(bootstrap, name, name)
    try:
        # It never polls again, so it leaves when its poll interval is over.
        wait_until(lambda: other.assigned == {0, 1}, "the other one has everything", 60)
    finally:
        other.stop()
        silent.close()


def test_committed_offsets_are_where_the_next_member_starts(bootstrap, topic):
    send(producer(bootstrap), topic, many(100), partition=0)
    reader = consumer(bootstrap, topic)
    reader.subscribe([topic])
    messages = take(reader, 40)
    reader.commit(offsets=[TopicPartition(topic, 0, messages[-1].offset() + 1, metadata="forty")], asynchronous=False)
    [committed] = reader.committed([TopicPartition(topic, 0)], timeout=10)
    assert committed.offset == 40
    reader.close()
    reader = consumer(bootstrap, topic)
    reader.subscribe([topic])
    assert take(reader, 1)[0].offset() == 40
    reader.close()


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_where_a_new_group_starts(bootstrap, topic, name, reset):
    send(producer(bootstrap), topic, [b"old"], partition=0)
    reader = consumer(bootstrap, name, auto_offset_reset=reset)
    reader.subscribe([topic])
    polled = join(reader, 3)
    if reset == "latest":
        assert polled == []

        def write_and_poll():
            # The member finds the end some time after it has joined, so one record may still be before it.
            send(producer(bootstrap), topic, [b"new"], partition=0)
            return reader.poll(1.0)

        assert wait_until(write_and_poll, "a new record is read").value() == b"new"
    else:
        assert (polled or take(reader, 1))[0].value() == b"old"
    reader.close()


def test_group_administration(bootstrap, topic, name):
    send(producer(bootstrap), topic, many(30), partition=0)
    admin = topics.admin(bootstrap)
    member = Member(bootstrap, name, topic, client_id="the-client")
    try:
        wait_until(lambda: member.assigned == {0, 1, 2}, "the member is in", 45)
        described = admin.describe_consumer_groups([name])[name].result(30)
        assert described.state.name == "STABLE"
        [seen] = described.members
        assert seen.client_id == "the-client"
        assert {partition.partition for partition in seen.assignment.topic_partitions} == {0, 1, 2}
        assert name in {group.group_id for group in admin.list_consumer_groups().result(30).valid}
        with pytest.raises(Exception, match="(?i)not empty|NON_EMPTY"):
            admin.delete_consumer_groups([name])[name].result(30)
    finally:
        member.stop()
    wait_until(lambda: admin.describe_consumer_groups([name])[name].result(30).state.name == "EMPTY", "the group is empty")

    wanted = ConsumerGroupTopicPartitions(name, [TopicPartition(topic, 0, 12), TopicPartition(topic, 1, 0)])
    admin.alter_consumer_group_offsets([wanted])[name].result(30)
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(30)
    assert {(entry.partition, entry.offset) for entry in listed.topic_partitions} >= {(0, 12), (1, 0)}
    reader = consumer(bootstrap, name)
    reader.subscribe([topic])
    assert take(reader, 1)[0].offset() == 12
    reader.close()
    wait_until(lambda: admin.describe_consumer_groups([name])[name].result(30).state.name == "EMPTY", "the group is empty again")
    admin.delete_consumer_groups([name])[name].result(30)
    assert name not in {group.group_id for group in admin.list_consumer_groups().result(30).valid}
