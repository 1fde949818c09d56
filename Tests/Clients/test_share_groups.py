"""Share groups (KIP-932) with librdkafka's share consumer: records are shared out and acknowledged one by one, come again when they are
released, not acknowledged in time or left behind by a consumer that died, and what is done stays done over restarts of the broker."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from confluent_kafka import AcknowledgeType, ShareConsumer

import topics
from broker import Broker, wait_until
from confluent import producer, send
from samples import many
from sharing import SETTINGS, configure, poll, sharer, take


@pytest.fixture(scope="module")
def broker():
    with Broker(SETTINGS, features=("share.version=1",)) as broker:
        yield broker
        assert broker.is_running(), f"the broker died during the tests:\n{broker.log()[-4000:]}"


def test_records_are_shared_by_all_members_and_none_comes_twice(broker):
    topic = topics.create(broker.bootstrap, "share-all", 2)
    configure(broker.bootstrap, "all", share_auto_offset_reset="earliest")
    values = many(2_000)
    send(producer(broker.bootstrap), topic, values)
    first, second = sharer(broker.bootstrap, "all", topic), sharer(broker.bootstrap, "all", topic)
    seen: list[bytes] = []
    by = {"first": 0, "second": 0}

    def everything():
        for name, consumer in (("first", first), ("second", second)):
            messages = poll(consumer)
            by[name] += len(messages)
            seen.extend(message.value() for message in messages)
        return len(seen) >= len(values)

    wait_until(everything, "all records are read", 60)
    assert sorted(seen) == sorted(values)
    assert all(by.values()), f"one member got nothing: {by}"
    first.close()
    second.close()


def test_what_is_accepted_stays_accepted_when_the_broker_starts_again():
    with Broker(SETTINGS, features=("share.version=1",)) as broker:
        topic = topics.create(broker.bootstrap, "share-restart")
        configure(broker.bootstrap, "restart", share_auto_offset_reset="earliest")
        send(producer(broker.bootstrap), topic, many(100))
        with sharer(broker.bootstrap, "restart", topic, share_acknowledgement_mode="explicit") as consumer:
            messages = take(consumer, 100)
            for message in messages:
                consumer.acknowledge(
                    message, AcknowledgeType.RELEASE if message.offset() % 10 == 3 else AcknowledgeType.ACCEPT)
            assert all(error is None for error in consumer.commit_sync(30.0).values())
        broker.kill()
        broker.start()
        with sharer(broker.bootstrap, "restart", topic) as consumer:
            again = take(consumer, 10)
            assert sorted(message.offset() for message in again) == [3 + 10 * number for number in range(10)]
            assert not poll(consumer, 3)


def test_a_record_that_is_released_comes_again_until_its_deliveries_are_over(broker):
    topic = topics.create(broker.bootstrap, "share-release")
    configure(broker.bootstrap, "release", share_auto_offset_reset="earliest", share_delivery_count_limit=3)
    send(producer(broker.bootstrap), topic, [b"poison"])
    with sharer(broker.bootstrap, "release", topic, share_acknowledgement_mode="explicit") as consumer:
        for _ in range(3):
            [message] = take(consumer, 1)
            assert message.value() == b"poison"
            consumer.acknowledge(message, AcknowledgeType.RELEASE)
            consumer.commit_sync(30.0)
        send(producer(broker.bootstrap), topic, [b"next"])
        [message] = take(consumer, 1)
        assert message.value() == b"next"
        consumer.acknowledge(message, AcknowledgeType.REJECT)
        consumer.commit_sync(30.0)
        assert not poll(consumer, 2)


def test_a_lock_ends_with_time(broker):
    topic = topics.create(broker.bootstrap, "share-lock")
    configure(broker.bootstrap, "lock", share_auto_offset_reset="earliest", share_record_lock_duration_ms=2_000)
    send(producer(broker.bootstrap), topic, [b"slow"])
    slow = sharer(broker.bootstrap, "lock", topic, share_acknowledgement_mode="explicit")
    [message] = take(slow, 1)
    with sharer(broker.bootstrap, "lock", topic) as other:
        began = time.monotonic()
        [again] = take(other, 1)
        assert again.value() == b"slow"
        assert time.monotonic() - began < 15
    slow.close()


DIES = textwrap.dedent("""
    import sys, time
    from confluent_kafka import ShareConsumer
    consumer = ShareConsumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "share.acknowledgement.mode": "explicit"})
    consumer.subscribe([sys.argv[3]])
    while not list(consumer.poll(0.5)):
        pass
    print("has it", flush=True)
    time.sleep(600)
""")


def test_what_a_dead_consumer_had_comes_to_another_at_once(broker):
    topic = topics.create(broker.bootstrap, "share-dead")
    configure(broker.bootstrap, "dead", share_auto_offset_reset="earliest", share_record_lock_duration_ms=60_000)
    send(producer(broker.bootstrap), topic, [b"left behind"])
    victim = subprocess.Popen([sys.executable, "-c", DIES, broker.bootstrap, "dead", topic], stdout=subprocess.PIPE, text=True)
    try:
        assert victim.stdout.readline() == "has it\n"
        with sharer(broker.bootstrap, "dead", topic) as other:
            assert not poll(other, 2)
            os.kill(victim.pid, signal.SIGKILL)
            [message] = take(other, 1, seconds=20)
            assert message.value() == b"left behind"
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.parametrize("level, expected", [("read_committed", [b"good"]), ("read_uncommitted", [b"bad", b"good"])])
def test_isolation(broker, level, expected):
    topic = topics.create(broker.bootstrap, f"share-{level.replace('_', '-')}")
    configure(broker.bootstrap, level, share_auto_offset_reset="earliest", share_isolation_level=level)
    sender = producer(broker.bootstrap, transactional_id=f"share-{level}")
    sender.init_transactions(30)
    sender.begin_transaction()
    send(sender, topic, [b"bad"])
    sender.abort_transaction(30)
    sender.begin_transaction()
    send(sender, topic, [b"good"])
    sender.commit_transaction(30)
    with sharer(broker.bootstrap, level, topic) as consumer:
        assert [message.value() for message in take(consumer, len(expected))] == expected
        assert not poll(consumer, 2)


def test_a_group_begins_at_the_end_unless_it_says_otherwise(broker):
    topic = topics.create(broker.bootstrap, "share-latest")
    send(producer(broker.bootstrap), topic, [b"before"])
    with sharer(broker.bootstrap, "latest", topic) as consumer:
        sender = producer(broker.bootstrap)
        seen: list[bytes] = []

        def has_begun():
            send(sender, topic, [b"after"])
            seen.extend(message.value() for message in poll(consumer))
            return seen

        wait_until(has_begun, "a record that came later", 40)
        assert set(seen) == {b"after"}
