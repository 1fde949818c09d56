"""What a transaction costs: 100 records each, beside the same records of an idempotent producer that waits for every hundred."""

import time

from confluent_kafka import Producer

from clusters import Cluster
from figures import Figures
from load import QUIET

TOPIC, PARTITIONS, RECORDS, TRANSACTIONS = "transactions", 6, 100, 300


def rounds_of(producer: Producer, begin, end) -> tuple[float, list[float]]:
    """Rounds per second, and the milliseconds of each."""
    value, times = b"x" * 100, []
    started = time.monotonic()
    for _ in range(TRANSACTIONS):
        before = time.monotonic()
        begin()
        for number in range(RECORDS):
            producer.produce(TOPIC, value, partition=number % PARTITIONS)
        end()
        times.append((time.monotonic() - before) * 1000)
    return TRANSACTIONS / (time.monotonic() - started), times


def transactions(options, figures: Figures):
    """Transactions of 100 records over six partitions, one after the other, and plain idempotent writes of the same."""
    for size in (1, 3):
        rates: dict[str, list[float]] = {"transactions": [], "plain": []}
        times: dict[str, list[float]] = {"transactions": [], "plain": []}
        with Cluster(size, proxied=False) as cluster:
            cluster.create(TOPIC, PARTITIONS)
            settings = {**QUIET, "bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0}
            transactional = Producer({**settings, "transactional.id": "bench"})
            transactional.init_transactions(60)
            plain = Producer(settings)
            steps = {
                "transactions": (transactional, transactional.begin_transaction, lambda: transactional.commit_transaction(60)),
                "plain": (plain, lambda: None, lambda: plain.flush(60)),
            }
            for step in steps.values():
                rounds_of(*step)
            for _ in range(options.rounds):
                for name, step in steps.items():
                    rate, each = rounds_of(*step)
                    rates[name].append(rate)
                    times[name] += each
        for name in steps:
            ordered = sorted(times[name])
            figures.add(f"{size} node(s), {name}: of 100 records", rates[name], "/s")
            figures.add(f"{size} node(s), {name}: latency p50", [ordered[len(ordered) // 2]], "ms")
            figures.add(f"{size} node(s), {name}: latency p99", [ordered[len(ordered) * 99 // 100]], "ms")
