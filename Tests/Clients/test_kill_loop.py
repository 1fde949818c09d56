"""kill -9 under load, again and again: every acknowledged record is there, once for idempotent producers, in order; confirmed
offsets and topics too. KILL_ROUNDS rounds (a few by default, `make soak` makes it 50), KILL_SEED for the moments of the kills."""

import os
import random
import time

import pytest
from confluent_kafka import TopicPartition

from broker import Broker, wait_until
from confluent import consumer, read_all
from history import History
from topics import create, names
from workload import Committer, Reader, Writer

ROUNDS = int(os.environ.get("KILL_ROUNDS", "4"))
SEED = int(os.environ.get("KILL_SEED", "1"))
PARTITIONS = 3

KINDS = {
    "idempotent": {"enable.idempotence": True},
    "idempotent-lz4": {"enable.idempotence": True, "compression.type": "lz4"},
    "plain": {"enable.idempotence": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_acknowledged_is_lost(kind):
    moments = random.Random(SEED)
    history = History()
    restarts = []
    with Broker() as broker:
        create(broker.bootstrap, "log", PARTITIONS)
        writers = [
            Writer(broker.bootstrap, "log", number % PARTITIONS, f"w{number}", history, KINDS[kind]) for number in range(2 * PARTITIONS)
        ]
        reader, committer = Reader(broker.bootstrap, "log", PARTITIONS, history), Committer(broker.bootstrap, "log")
        for worker in [*writers, reader, committer]:
            worker.start()
        created = set()
        for number in range(ROUNDS):
            before = history.acknowledged_count()
            wait_until(lambda: history.acknowledged_count() > before + 500, f"records are acknowledged in round {number}", 60)
            created.add(create(broker.bootstrap, f"created-in-round-{number}"))
            time.sleep(moments.uniform(0.05, 0.8))
            broker.kill()
            started = time.monotonic()
            broker.start()
            restarts.append(time.monotonic() - started)
        after = history.acknowledged_count()
        wait_until(lambda: history.acknowledged_count() > after + 500, "records are acknowledged after the last kill", 60)
        for worker in [*writers, committer]:
            worker.finish()
        final = read_log(broker.bootstrap)
        wait_until(lambda: sum(map(len, history.polled.values())) >= sum(map(len, final.values())), "the reader has caught up", 60)
        reader.finish()

        anomalies = history.anomalies(final, idempotent=kind != "plain")
        assert not anomalies, f"{len(anomalies)} anomalies, the first: " + "\n".join(anomalies[:10])
        assert created <= names(broker.bootstrap), "a topic whose creation was confirmed is gone"
        asker = consumer(broker.bootstrap, "committer")
        [committed] = asker.committed([TopicPartition("log", 0)], timeout=30)
        asker.close()
        assert committer.confirmed <= committed.offset <= committer.tried
        print(
            f"\n{kind}: {ROUNDS} kills, {history.acknowledged_count()} records acknowledged, {len(history.failed)} failed, "
            f"{sum(map(len, final.values()))} in the log, restart {min(restarts):.2f}-{max(restarts):.2f} s")


def read_log(bootstrap) -> dict[int, list[tuple[int, bytes]]]:
    log = {partition: [] for partition in range(PARTITIONS)}
    for message in read_all(bootstrap, "log", PARTITIONS):
        log[message.partition()].append((message.offset(), message.value()))
    return log
