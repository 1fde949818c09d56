"""Transactions on one node: committed and aborted, fenced and timed out, with offsets of groups, across restarts and kills."""

import threading
import time

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

import topics
from broker import Broker, wait_until
from confluent import consumer, producer, send, take
from test_cli import martlet
from transactional import LIBRARIES, READ_COMMITTED, READ_UNCOMMITTED, Confluent, read_to_end

SETTINGS = {
    "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1", "group.initial.rebalance.delay.ms": "0",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


def last_stable_offset(bootstrap: str, topic: str) -> int:
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "isolation.level": READ_COMMITTED})
    try:
        return reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)[1]
    finally:
        reader.close()


def test_committed_is_seen_and_aborted_is_not(library, bootstrap, name):
    topics.create(bootstrap, name, partitions=2)
    transactional = library(bootstrap, name)
    expected = []
    for number in range(6):
        values = [f"{number}-{index}" for index in range(5)]
        transactional.begin()
        transactional.send(name, values, partition=0)
        transactional.send(name, [f"other {value}" for value in values], partition=1)
        if number % 2:
            transactional.abort()
        else:
            transactional.commit()
            expected += values
    # The answer to EndTxn comes when the decision is in the log; a moment later it is in the partitions.
    wait_until(lambda: len(read_to_end(bootstrap, name, partitions=2)) == 2 * len(expected), "what was committed is seen")
    assert read_to_end(bootstrap, name) == expected
    assert len(read_to_end(bootstrap, name, READ_UNCOMMITTED)) == 30
    transactional.close()


def test_an_open_transaction_holds_readers_back_and_its_end_wakes_them(library, bootstrap, name):
    topics.create(bootstrap, name, partitions=1)
    transactional = library(bootstrap, name)
    transactional.begin()
    transactional.send(name, ["one", "two"])
    send(producer(bootstrap), name, ["plain"])
    assert read_to_end(bootstrap, name) == []
    assert read_to_end(bootstrap, name, READ_UNCOMMITTED) == ["one", "two", "plain"]
    # A fetch that would wait for half a minute is answered when the transaction ends.
    reader = consumer(bootstrap, isolation_level=READ_COMMITTED, fetch_wait_max_ms=25_000, fetch_min_bytes=1, socket_timeout_ms=60_000)
    reader.assign([TopicPartition(name, 0, 0)])
    got = []
    polling = threading.Thread(target=lambda: got.extend(take(reader, 3, 40)))
    polling.start()
    wait_until(lambda: last_stable_offset(bootstrap, name) == 0, "the reader waits")
    began = time.monotonic()
    transactional.commit()
    polling.join(40)
    assert [message.value() for message in got] == [b"one", b"two", b"plain"]
    assert time.monotonic() - began < 10
    reader.close()
    transactional.close()


@pytest.mark.parametrize("newcomer", LIBRARIES)
def test_a_zombie_is_fenced(library, bootstrap, name, newcomer):
    topics.create(bootstrap, name, partitions=1)
    zombie = library(bootstrap, name)
    zombie.begin()
    zombie.send(name, ["from the zombie"])
    successor = LIBRARIES[newcomer](bootstrap, name)
    successor.begin()
    successor.send(name, ["from the successor"])
    successor.commit()
    with pytest.raises(Exception, match="(?i)fenced|epoch|txn|transaction"):
        zombie.commit()
    wait_until(lambda: read_to_end(bootstrap, name) == ["from the successor"], "only the successor's record counts")
    successor.close()


def test_offsets_belong_to_the_transaction(bootstrap, name):
    """Read, process, write: offsets of the group come into force with the commit, and not at all with an abort."""
    source, target = f"{name}-in", f"{name}-out"
    topics.create(bootstrap, source, partitions=1)
    topics.create(bootstrap, target, partitions=1)
    send(producer(bootstrap), source, [f"v{number}" for number in range(20)])
    transactional = Confluent(bootstrap, name)
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def committed():
        asked = [ConsumerGroupTopicPartitions(name, [TopicPartition(source, 0)])]
        [found] = admin.list_consumer_group_offsets(asked)[name].result(20).topic_partitions
        return found.offset

    reader = consumer(bootstrap, name, isolation_level=READ_COMMITTED)
    reader.subscribe([source])
    for number, is_committed in enumerate([True, False, True]):
        messages = take(reader, 5)
        first = messages[0].offset()
        transactional.begin()
        transactional.send(target, [f"processed {message.value().decode()}" for message in messages])
        ends = [TopicPartition(source, 0, messages[-1].offset() + 1)]
        transactional.producer.send_offsets_to_transaction(ends, reader.consumer_group_metadata(), 30)
        if is_committed:
            transactional.commit()
            wait_until(lambda: committed() == first + 5, "the offset is in force")
        else:
            transactional.abort()
            reader.seek(TopicPartition(source, 0, first))
            time_before = committed()
            assert time_before == first
    expected = [f"processed v{number}" for number in range(10)]
    wait_until(lambda: read_to_end(bootstrap, target) == expected, "exactly what was committed is there")
    assert committed() == 10
    reader.close()


def test_offsets_of_an_open_transaction_are_unstable(bootstrap, name):
    topics.create(bootstrap, name, partitions=1)
    transactional = Confluent(bootstrap, name)
    reader = consumer(bootstrap, name)
    reader.subscribe([name])
    send(producer(bootstrap), name, ["a"])
    take(reader, 1)
    transactional.begin()
    transactional.producer.send_offsets_to_transaction([TopicPartition(name, 0, 1)], reader.consumer_group_metadata(), 30)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    asked = [ConsumerGroupTopicPartitions(name, [TopicPartition(name, 0)])]
    [stable] = admin.list_consumer_group_offsets(asked, require_stable=True, request_timeout=3)[name].result(20).topic_partitions
    assert stable.error is not None and "stable" in stable.error.str().lower()
    [plain] = admin.list_consumer_group_offsets(asked)[name].result(20).topic_partitions
    assert plain.error is None and plain.offset < 0
    transactional.commit()

    def offset():
        [found] = admin.list_consumer_group_offsets(asked, require_stable=True)[name].result(20).topic_partitions
        return found.offset if found.error is None else None

    wait_until(lambda: offset() == 1, "the offset is stable and in force")
    reader.close()


def test_restarts_and_kills():
    with Broker(SETTINGS) as broker:
        topics.create(broker.bootstrap, "t", partitions=1)
        expected = []
        for number, end in enumerate(["stop", "kill", "kill", "stop"]):
            transactional = Confluent(broker.bootstrap, "restarting")
            transactional.begin()
            transactional.send("t", [f"committed {number}"])
            transactional.commit()
            expected.append(f"committed {number}")
            transactional.begin()
            transactional.send("t", [f"open {number}"])
            assert broker.stop() == 0 if end == "stop" else broker.kill() is None
            broker.start()
            assert read_to_end(broker.bootstrap, "t") == expected
            assert len(read_to_end(broker.bootstrap, "t", READ_UNCOMMITTED)) == 2 * len(expected)
            # The producer outlives its broker: the transaction goes on.
            if number == 3:
                transactional.send("t", ["after the restart"])
                transactional.commit()
                wait_until(
                    lambda: read_to_end(broker.bootstrap, "t") == expected + ["open 3", "after the restart"],
                    "the transaction was committed after the restart")


def test_a_transaction_that_takes_too_long_is_aborted():
    with Broker(SETTINGS) as broker:
        topics.create(broker.bootstrap, "t", partitions=1)
        slow = Confluent(broker.bootstrap, "slow", transaction_timeout_ms=1_000)
        slow.begin()
        slow.send("t", ["too late"])
        send(producer(broker.bootstrap), "t", ["behind it"])
        wait_until(lambda: read_to_end(broker.bootstrap, "t") == ["behind it"], "the transaction was aborted", 20)
        with pytest.raises(KafkaException):
            slow.commit()
        again = Confluent(broker.bootstrap, "slow")
        again.begin()
        again.send("t", ["in time"])
        again.commit()
        wait_until(lambda: read_to_end(broker.bootstrap, "t") == ["behind it", "in time"], "the next transaction was committed")


def test_idle_transactional_ids_are_forgotten():
    settings = {
        **SETTINGS, "transactional.id.expiration.ms": "1500", "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
    }
    with Broker(settings) as broker:
        topics.create(broker.bootstrap, "t", partitions=1)
        idle = Confluent(broker.bootstrap, "idle")
        idle.begin()
        idle.send("t", ["v"])
        idle.commit()
        wait_until(lambda: "idle" not in martlet("transaction", "list", bootstrap=broker.bootstrap).stdout, "the id is forgotten", 20)
        again = Confluent(broker.bootstrap, "idle")
        again.begin()
        again.send("t", ["w"])
        again.commit()
        wait_until(lambda: read_to_end(broker.bootstrap, "t") == ["v", "w"], "a new producer of that name works")
