"""Transactions over three nodes: whatever is killed, what is committed is there exactly once, and what is aborted is not there."""

import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from clusters import Cluster
from commands import martlet, martlet_json
from load import QUIET
from nodes import wait_until
from transactional import READ_COMMITTED, READ_UNCOMMITTED, Confluent, read_to_end

PARTITIONS = 4
SETTINGS = {"transaction.state.log.num.partitions": "5", "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False, settings=SETTINGS) as cluster:
        yield cluster


@pytest.fixture
def topic(cluster) -> str:
    name = f"t{next(_numbers)}"
    cluster.create(name, PARTITIONS)
    cluster.wait_whole()
    return name


def coordinator(cluster, transactional_id: str):
    """The node that coordinates it."""
    return cluster.node(martlet_json(cluster, "transaction", "describe", transactional_id)[0]["coordinator"])


def revive(cluster, node) -> None:
    node.start()
    node.wait_ready(60)
    cluster.wait_whole(90)


class Supervised:
    """A pipeline process that is started again, under the same transactional id, whenever it has ended."""

    def __init__(self, *arguments: str, log: Path):
        self.path = log
        self.command = [sys.executable, str(Path(__file__).with_name("pipeline.py")), *arguments]
        self.log = open(log, "ab")
        self.starts = 0
        self.stopping = threading.Event()
        self.process = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.is_set():
            self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
            self.starts += 1
            self.process.wait()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()

    def stop(self):
        self.stopping.set()
        self.kill()
        self.thread.join(30)
        self.log.close()


def fill(cluster, topic: str, count: int, first: int = 0) -> None:
    writer = Producer({**QUIET, "bootstrap.servers": cluster.bootstrap, "enable.idempotence": True})
    errors = []
    for number in range(first, first + count):
        writer.produce(topic, value=str(number), partition=number % PARTITIONS, on_delivery=lambda error, _: errors.append(error) if error else None)
    assert writer.flush(60) == 0 and not errors, errors


def committed_offsets(cluster, group: str, topic: str) -> int:
    """By a consumer: librdkafka's admin client (2.16) dies of a null pointer when a broker answers OffsetFetch with NOT_COORDINATOR. -1 while
    the group's coordinator moves."""
    consumer = Consumer({**QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": group})
    try:
        found = consumer.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=20)
    except KafkaException:
        return -1
    finally:
        consumer.close()
    return sum(max(0, each.offset) for each in found)


@pytest.mark.parametrize("victim", ["nodes", "clients", "both"])
def test_read_process_write_is_exactly_once(cluster, topic, victim):
    source, target, group = topic, f"{topic}-out", f"{topic}-group"
    cluster.create(target, PARTITIONS)
    pipelines = [
        Supervised(cluster.bootstrap, source, target, group, f"{topic}-{number}", log=cluster.directory / f"pipeline-{topic}-{number}.log")
        for number in range(2)
    ]
    try:
        total = 0
        for round in range(6):
            fill(cluster, source, 300, total)
            total += 300
            wait_until(lambda: committed_offsets(cluster, group, source) > total - 300, "the pipelines make progress", 90)
            if victim in ("nodes", "both"):
                node = cluster.brokers[round % 3]
                node.kill()
                time.sleep(0.3 * round)
                revive(cluster, node)
            if victim in ("clients", "both"):
                pipelines[round % 2].kill()
        wait_until(lambda: committed_offsets(cluster, group, source) == total, "everything is processed", 120)
    except AssertionError as error:
        told = "\n".join(f"{each.path.name}, {each.starts} starts:\n{each.path.read_text()[-2000:]}" for each in pipelines)
        raise AssertionError(f"{error}\n{told}") from None
    finally:
        for pipeline in pipelines:
            pipeline.stop()
    expected = Counter(f"processed {number}" for number in range(total))
    wait_until(
        lambda: sum(expected.values()) <= len(read_to_end(cluster.bootstrap, target, partitions=PARTITIONS)), "all of it can be read", 60)
    found = Counter(read_to_end(cluster.bootstrap, target, partitions=PARTITIONS))
    assert found == expected, f"lost {list((expected - found).items())[:5]}, too many {list((found - expected).items())[:5]}"


@pytest.mark.parametrize("outcome", ["commit", "abort"])
@pytest.mark.parametrize("victim", ["coordinator", "leader"])
def test_a_kill_while_a_transaction_ends(cluster, topic, victim, outcome):
    """The decision was acknowledged: it holds in all partitions, whoever has to write the markers."""
    transactional_id = f"{topic}-{victim}"
    transactional = Confluent(cluster.bootstrap, transactional_id, socket_timeout_ms=10_000)
    values = []
    for number in range(4):
        transactional.begin()
        for partition in range(PARTITIONS):
            transactional.send(topic, [f"{number}-{partition}"], partition=partition)
        node = coordinator(cluster, transactional_id) if victim == "coordinator" else cluster.leader(topic, number)
        # Paused brokers cannot write markers: the decision is made while they are.
        if victim == "leader" and node is not coordinator(cluster, transactional_id):
            node.pause()
        transactional.commit() if outcome == "commit" else transactional.abort()
        node.kill()
        if outcome == "commit":
            values += [f"{number}-{partition}" for partition in range(PARTITIONS)]
        wait_until(
            lambda: sorted(read_to_end(cluster.bootstrap, topic, partitions=PARTITIONS)) == sorted(values),
            f"the {outcome} of transaction {number} is done everywhere", 60)
        revive(cluster, node)
    assert len(read_to_end(cluster.bootstrap, topic, READ_UNCOMMITTED, partitions=PARTITIONS)) >= 4 * PARTITIONS


def test_an_open_transaction_survives_its_coordinator(cluster, topic):
    transactional = Confluent(cluster.bootstrap, topic)
    transactional.begin()
    transactional.send(topic, ["before"])
    node = coordinator(cluster, topic)
    node.kill()
    transactional.send(topic, ["after"], partition=1)
    transactional.commit()
    revive(cluster, node)
    assert sorted(read_to_end(cluster.bootstrap, topic, partitions=PARTITIONS)) == ["after", "before"]


def test_followers_know_what_was_aborted(cluster, topic):
    """Every replica that comes to lead tells read_committed consumers the same."""
    transactional = Confluent(cluster.bootstrap, topic)
    expected = []
    for number in range(6):
        transactional.begin()
        transactional.send(topic, [f"{number}"])
        if number % 2:
            transactional.abort()
        else:
            transactional.commit()
            expected.append(f"{number}")
    wait_until(lambda: read_to_end(cluster.bootstrap, topic) == expected, "all transactions have ended")
    replicas = cluster.partitions(topic)[0].replicas
    for leader in replicas[1:] + replicas[:1]:
        order = [leader] + [replica for replica in replicas if replica != leader]
        martlet(cluster, "partition", "reassign", f"{topic}:0", "--replicas", ",".join(map(str, order)))
        martlet(cluster, "partition", "elect", topic)
        wait_until(lambda: cluster.partitions(topic)[0].leader == leader, f"{leader} leads", 30)
        assert read_to_end(cluster.bootstrap, topic) == expected


def test_zombies_and_timeouts(cluster, topic):
    zombie = Confluent(cluster.bootstrap, topic)
    zombie.begin()
    zombie.send(topic, ["zombie"])
    node = coordinator(cluster, topic)
    node.kill()
    successor = Confluent(cluster.bootstrap, topic)
    successor.begin()
    successor.send(topic, ["successor"])
    successor.commit()
    with pytest.raises(KafkaException):
        zombie.commit()
    revive(cluster, node)
    slow = Confluent(cluster.bootstrap, f"{topic}-slow", transaction_timeout_ms=2_000)
    slow.begin()
    slow.send(topic, ["too late"], partition=2)
    wait_until(
        lambda: martlet_json(cluster, "transaction", "describe", f"{topic}-slow")[0]["state"] == "CompleteAbort", "it was aborted", 30)
    assert sorted(read_to_end(cluster.bootstrap, topic, partitions=PARTITIONS)) == ["successor"]


def test_deleted_topics_do_not_hold_up_a_transaction(cluster, topic):
    doomed = f"{topic}-doomed"
    cluster.create(doomed, 1)
    transactional = Confluent(cluster.bootstrap, topic)
    transactional.begin()
    transactional.send(topic, ["kept"])
    transactional.send(doomed, ["gone"])
    admin = cluster.admin()
    admin.delete_topics([doomed], operation_timeout=30)[doomed].result(60)
    transactional.commit()
    transactional.begin()
    transactional.send(topic, ["next"])
    transactional.commit()
    wait_until(lambda: read_to_end(cluster.bootstrap, topic) == ["kept", "next"], "both are committed")
