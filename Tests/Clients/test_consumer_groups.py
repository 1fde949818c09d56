"""confluent-kafka with `group.protocol=consumer` (KIP-848): members come, go and are lost, subscribe by expression, are static, and change
over from the classic protocol and back without stopping."""

import re
import signal
import subprocess
import sys
import time

import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupType, TopicPartition

import topics
from broker import Broker, wait_until
from confluent import consumer, producer, send, take
from samples import many
from test_cli import martlet
from test_confluent_groups import Member as ClassicMember
from test_confluent_groups import share_fairly

SETTINGS = {
    "group.consumer.min.heartbeat.interval.ms": "100", "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.min.session.timeout.ms": "1000", "group.consumer.session.timeout.ms": "6000",
    "group.consumer.assignment.interval.ms": "0", "group.initial.rebalance.delay.ms": "0",
}
CONSUMER = {"session_timeout_ms": None, "heartbeat_interval_ms": None, "group_protocol": "consumer"}


@pytest.fixture(scope="module")
def broker():
    with Broker(SETTINGS) as broker:
        yield broker
        assert broker.is_running(), f"the broker died during the tests:\n{broker.log()[-4000:]}"


class Member(ClassicMember):
    """A consumer of the newer protocol: the broker decides over timeouts and assignors."""

    def __init__(self, bootstrap, group, topic, **settings):
        super().__init__(bootstrap, group, topic, **{**CONSUMER, **settings})


@pytest.fixture(autouse=True)
def without_unset(monkeypatch):
    """`Member` takes back settings that classic members have and librdkafka refuses for the newer protocol."""
    import test_confluent_groups

    monkeypatch.setattr(
        test_confluent_groups, "consumer",
        lambda bootstrap, group, **settings: consumer(
            bootstrap, group, **{key: value for key, value in settings.items() if value is not None}))


def stop_all(members):
    for member in members:
        member.stop()


def described(bootstrap, group):
    return topics.admin(bootstrap).describe_consumer_groups([group])[group].result(30)


def test_members_come_and_go(bootstrap, name):
    topics.create(bootstrap, name, partitions=6)
    members = []
    try:
        for count in (1, 2, 3):
            members.append(Member(bootstrap, name, name))
            wait_until(lambda: share_fairly(members, 6), f"{count} members share six partitions", 45)
        send(producer(bootstrap), name, many(600))
        wait_until(lambda: sum(len(member.values) for member in members) >= 600, "every record was read")
        members.pop().stop()
        wait_until(lambda: share_fairly(members, 6), "the two left share six partitions", 45)
        send(producer(bootstrap), name, many(600))
        wait_until(lambda: sum(len(member.values) for member in members) >= 600, "records go on being read")
    finally:
        stop_all(members)


@pytest.mark.parametrize("assignor", ["uniform", "range"])
def test_an_assignor_of_the_members_choice(bootstrap, name, assignor):
    topics.create(bootstrap, name, partitions=4)
    members = []
    try:
        for _ in range(2):
            members.append(Member(bootstrap, name, name, group_remote_assignor=assignor))
        wait_until(lambda: share_fairly(members, 4), "two members share four partitions", 45)
        if assignor == "range":
            assert sorted(map(sorted, (member.assigned for member in members))) == [[0, 1], [2, 3]]
    finally:
        stop_all(members)


def test_listed_and_described(bootstrap, name):
    topics.create(bootstrap, name, partitions=3)
    member = Member(bootstrap, name, name, client_id="teller")
    try:
        wait_until(lambda: member.assigned == {0, 1, 2}, "the member has everything", 45)
        group = described(bootstrap, name)
        assert group.state == ConsumerGroupState.STABLE
        assert group.type == ConsumerGroupType.CONSUMER
        assert [each.client_id for each in group.members] == ["teller"]
        assert {each.partition for each in group.members[0].assignment.topic_partitions} == {0, 1, 2}
        listed = topics.admin(bootstrap).list_consumer_groups(types={ConsumerGroupType.CONSUMER}).result(30)
        assert name in {each.group_id for each in listed.valid}
        listed = topics.admin(bootstrap).list_consumer_groups(types={ConsumerGroupType.CLASSIC}).result(30)
        assert name not in {each.group_id for each in listed.valid}
        with pytest.raises(Exception, match="(?i)non.?empty|not empty"):
            topics.admin(bootstrap).delete_consumer_groups([name])[name].result(30)
    finally:
        member.stop()
    wait_until(lambda: described(bootstrap, name).state == ConsumerGroupState.EMPTY, "the group is empty")
    topics.admin(bootstrap).delete_consumer_groups([name])[name].result(30)
    listed = topics.admin(bootstrap).list_consumer_groups().result(30)
    assert name not in {each.group_id for each in listed.valid}


def test_offsets_are_kept(bootstrap, name):
    topics.create(bootstrap, name)
    send(producer(bootstrap), name, many(100))
    reader = consumer(bootstrap, name, group_protocol="consumer")
    reader.subscribe([name])
    first = take(reader, 40)[:40]
    reader.commit(offsets=[TopicPartition(name, 0, 40)], asynchronous=False)
    reader.close()
    reader = consumer(bootstrap, name, group_protocol="consumer")
    reader.subscribe([name])
    rest = take(reader, 60)
    reader.close()
    assert [message.value() for message in first + rest] == many(100)


def test_an_expression_follows_new_topics(bootstrap, name):
    topics.create(bootstrap, f"{name}-a", partitions=1)
    reader = consumer(bootstrap, name, group_protocol="consumer", topic_metadata_refresh_interval_ms=500)
    reader.subscribe([f"^{re.escape(name)}-[ab]$"])
    send(producer(bootstrap), f"{name}-a", [b"one"])
    assert [message.value() for message in take(reader, 1)] == [b"one"]
    topics.create(bootstrap, f"{name}-c", partitions=1)
    topics.create(bootstrap, f"{name}-b", partitions=1)
    send(producer(bootstrap), f"{name}-c", [b"never"])
    send(producer(bootstrap), f"{name}-b", [b"two"])
    # Expressions are looked up at most every ten seconds.
    assert [message.value() for message in take(reader, 1, 60)] == [b"two"]
    reader.close()


def test_a_static_member_that_is_back_in_time_keeps_its_share(bootstrap, name):
    topics.create(bootstrap, name, partitions=4)
    members = [Member(bootstrap, name, name, group_instance_id=f"instance-{number}") for number in range(2)]
    try:
        wait_until(lambda: share_fairly(members, 4), "two static members share", 45)
        share, other = set(members[0].assigned), members[1]
        revocations = other.revocations
        members.pop(0).stop()
        members.insert(0, Member(bootstrap, name, name, group_instance_id="instance-0"))
        wait_until(lambda: members[0].assigned == share, "the member that came back has its share", 45)
        assert other.revocations == revocations, "the other member was left in peace"
    finally:
        stop_all(members)


LOST = """
import sys, time
from confluent_kafka import Consumer
reader = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "group.protocol": "consumer"})
reader.subscribe([sys.argv[2]])
while True:
    reader.poll(0.1)
    if reader.assignment():
        print("assigned", flush=True)
"""


def test_a_member_that_is_killed_loses_its_share(broker, bootstrap, name):
    topics.create(bootstrap, name, partitions=4)
    lost = subprocess.Popen([sys.executable, "-c", LOST, bootstrap, name], stdout=subprocess.PIPE)
    member = None
    try:
        assert lost.stdout.readline() == b"assigned\n"
        member = Member(bootstrap, name, name)
        wait_until(lambda: len(member.assigned) == 2, "the other member has half", 45)
        lost.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: len(member.assigned) == 4, "the member that is left has everything", 45)
        assert time.monotonic() - killed > 3, "a killed member keeps its share until its session ends"
        status, text = broker.get(f"/groups/history?group={name}")
        assert status == 200
        assert "session timed out" in text and "member joined" in text
        # The same as people are shown it, oldest first.
        table = martlet("group", "history", name, "--admin", f"127.0.0.1:{broker.admin_port}").stdout.splitlines()
        assert table[0].split() == ["TIME", "TYPE", "EPOCH", "REASON", "CLIENT", "HOST", "MEMBER", "DETAIL"]
        rows = [re.split(r"  +", line) for line in table[1:]]
        assert [row[3] for row in rows] == ["member joined", "member joined", "session timed out"]
        assert [row[1] for row in rows] == ["consumer"] * 3 and [int(row[2]) for row in rows] == sorted(int(row[2]) for row in rows)
        assert all(row[5] == "/127.0.0.1" for row in rows)
    finally:
        lost.kill()
        if member:
            member.stop()


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_group_changes_over_and_back(bootstrap, name, strategy):
    topics.create(bootstrap, name, partitions=6)
    sender = producer(bootstrap)

    def classic():
        return ClassicMember(bootstrap, name, name, partition_assignment_strategy=strategy)

    def reads_on(members):
        before = sum(len(member.values) for member in members)
        send(sender, name, many(300))
        wait_until(lambda: sum(len(member.values) for member in members) - before >= 300, "records go on being read", 45)

    def kind():
        return described(bootstrap, name).type

    members = [classic(), classic()]
    try:
        wait_until(lambda: share_fairly(members, 6), "two classic members share", 45)
        assert kind() == ConsumerGroupType.CLASSIC
        # One after the other is replaced by one of the newer protocol: the first makes a consumer group of it.
        members.append(Member(bootstrap, name, name))
        wait_until(lambda: share_fairly(members, 6), "members of both protocols share", 60)
        assert kind() == ConsumerGroupType.CONSUMER
        reads_on(members)
        for _ in range(2):
            members.pop(0).stop()
            members.append(Member(bootstrap, name, name))
            wait_until(lambda: share_fairly(members, 6), "everything is taken again", 60)
        reads_on(members)
        # And back: the last of the newer protocol to go makes a classic group of it.
        members.append(classic())
        wait_until(lambda: share_fairly(members, 6), "a classic member joins the consumer group", 60)
        while len(members) > 1:
            members.pop(0).stop()
        wait_until(lambda: share_fairly(members, 6), "the classic member has everything", 60)
        assert kind() == ConsumerGroupType.CLASSIC
        reads_on(members)
    finally:
        stop_all(members)


def test_a_restarted_coordinator_goes_on_with_the_members(name):
    with Broker(SETTINGS) as broker:
        topics.create(broker.bootstrap, name, partitions=4)
        members = [Member(broker.bootstrap, name, name) for _ in range(2)]
        try:
            wait_until(lambda: share_fairly(members, 4), "two members share", 45)
            before = [set(member.assigned) for member in members]
            broker.kill()
            broker.start()
            send(producer(broker.bootstrap), name, many(200))
            wait_until(lambda: sum(len(member.values) for member in members) >= 200, "records are read after the restart", 45)
            assert [member.assigned for member in members] == before, "nobody lost anything"
            assert described(broker.bootstrap, name).state == ConsumerGroupState.STABLE
        finally:
            stop_all(members)


def test_without_the_feature_the_newer_protocol_is_refused(name):
    with Broker({**SETTINGS, "group.coordinator.rebalance.protocols": "classic"}) as broker:
        topics.create(broker.bootstrap, name)
        reader = consumer(broker.bootstrap, name, group_protocol="consumer")
        errors = []
        try:
            reader.subscribe([name])
            deadline = time.monotonic() + 20
            while not errors and time.monotonic() < deadline:
                message = reader.poll(0.2)
                if message is not None and message.error():
                    errors.append(message.error())
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            reader.close()
        assert errors, "the member was told that its protocol is not served"
