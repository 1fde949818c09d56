"""What TLS and access control cost: CPU seconds per GB with and without TLS, microseconds per request with 100,000 entries and without."""

import random
import statistics
import sys
import time
from pathlib import Path

from . import load, native
from .process import cpu_seconds
from .report import Result

sys.path[:0] = [str(native.ROOT / "Tests/Clients"), str(native.ROOT / "Tests/Cluster")]

TOPIC, PARTITIONS = "bench", 4
ENTRIES = 100_000
QUIET = {"log_level": 0, "enable.metrics.push": False}
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


def tls(_: Path, rounds: int = 5, size: int = 600_000_000) -> list[Result]:
    """One producer, then one consumer of librdkafka, over each kind of listener in turn."""
    from secured import SecuredBroker, certificates

    broker = SecuredBroker({})
    certs = certificates(broker.directory)
    store = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(certs / "node.pem")}
    costs: dict[tuple[str, str], list[float]] = {}
    with SecuredBroker({"TLS": ("SSL", store)}) as broker:
        clients = {
            "plaintext": {"bootstrap.servers": broker.address("PLAINTEXT")},
            "TLS": {"bootstrap.servers": broker.address("TLS", "localhost"), "security.protocol": "SSL",
                    "ssl.ca.location": str(certs / "ca.pem")},
        }
        for number in range(rounds + 1):
            for kind, client in clients.items():
                topic = f"{kind}-{number}"
                create(broker, topic)
                measured = {"produce": produce(broker, topic, client, size), "consume": consume(broker, topic, client, size)}
                # The first round only warms up.
                for what, cost in measured.items():
                    if number:
                        costs.setdefault((what, kind), []).append(cost)
                delete(broker, topic)
    results = []
    for what in ("produce", "consume"):
        plain, secured = costs[what, "plaintext"], costs[what, "TLS"]
        for kind in ("plaintext", "TLS"):
            results.append(Result(f"{kind.lower()}-{what}", statistics.median(costs[what, kind]), "CPU s/GB", None, costs[what, kind]))
        ratios = [one / other for one, other in zip(secured, plain)]
        results.append(Result(f"tls-{what}-ratio", statistics.median(ratios), "x", None, ratios, f"TLS to plaintext, {what}"))
    return results


def authorization(_: Path, rounds: int = 5, requests: int = 200_000) -> list[Result]:
    """Small produce requests, one record each: nodes without an authorizer, and with entries about as many topics and principals."""
    from broker import Broker

    costs: dict[int, list[float]] = {0: [], ENTRIES: []}
    # Whoever has no entry may do everything, so that the loads of both are the same requests of the same client.
    settings = {"authorizer.class.name": AUTHORIZER, "allow.everyone.if.no.acl.found": "true"}
    with Broker() as without, Broker(settings) as with_entries:
        nodes = {0: without, ENTRIES: with_entries}
        for broker in nodes.values():
            create(broker, TOPIC)
        add_entries(with_entries, ENTRIES)
        for number in range(rounds + 1):
            for count, broker in nodes.items():
                measured = load.run(
                    Loaded(broker), "produce", topic=TOPIC, partitions=PARTITIONS, connections=64, depth=1, records=1, value_bytes=100,
                    requests=requests)
                if number:
                    costs[count].append(measured["cpu_seconds"] / measured["requests"] * 1e6)
    differences = [more - less for less, more in zip(costs[0], costs[ENTRIES])]
    return [
        Result("authorization-none", statistics.median(costs[0]), "us/request", None, costs[0], "no authorizer"),
        Result("authorization-100000", statistics.median(costs[ENTRIES]), "us/request", None, costs[ENTRIES], "100,000 entries"),
        Result("authorization-cost", statistics.median(differences), "us/request", 2, differences, "what the entries cost"),
    ]


class Loaded:
    """A broker of the tests as the load generator wants it."""

    name = "martlet"

    def __init__(self, broker):
        self.port, self.pid, self.last_words = broker.port, broker.pid, broker.log


def create(broker, topic: str) -> None:
    from confluent_kafka.admin import NewTopic

    client = admin(broker)
    [future] = client.create_topics([NewTopic(topic, PARTITIONS, 1)]).values()
    future.result(30)


def delete(broker, topic: str) -> None:
    client = admin(broker)
    [future] = client.delete_topics([topic]).values()
    future.result(30)


def admin(broker):
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": broker.bootstrap, **QUIET})


def add_entries(broker, count: int) -> None:
    """Literal and prefixed entries about 1,000 principals; one in a hundred denies. The last one is about the topic that is written to."""
    from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

    def entry(number: int):
        kind = ResourcePatternType.PREFIXED if number % 4 == 0 else ResourcePatternType.LITERAL
        permission = AclPermissionType.DENY if number % 100 == 99 else AclPermissionType.ALLOW
        return AclBinding(
            ResourceType.TOPIC, f"team-{number % 5000}-topic-{number}", kind, f"User:app-{number % 1000}", "*", AclOperation.WRITE, permission)

    entries = [entry(number) for number in range(count - 1)]
    entries.append(AclBinding(
        ResourceType.TOPIC, TOPIC, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", AclOperation.WRITE, AclPermissionType.ALLOW))
    client = admin(broker)
    for start in range(0, len(entries), 2000):
        for future in client.create_acls(entries[start:start + 2000], request_timeout=60).values():
            future.result(60)


def produce(broker, topic: str, client: dict, size: int) -> float:
    from confluent_kafka import Producer

    producer = Producer({
        **client, **QUIET, "acks": 1, "linger.ms": 5, "batch.size": 131_072, "compression.type": "none", "queue.buffering.max.messages": 200_000})
    value, before = random.Random(1).randbytes(1024), cpu_seconds(broker.pid)
    for number in range(size // len(value)):
        while True:
            try:
                producer.produce(topic, value, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(120) == 0
    return (cpu_seconds(broker.pid) - before) / size * 1e9


def consume(broker, topic: str, client: dict, size: int) -> float:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**client, **QUIET, "group.id": "bench", "enable.auto.commit": False, "fetch.message.max.bytes": 1 << 20})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    before, left, deadline = cpu_seconds(broker.pid), size // 1024, time.monotonic() + 120
    while left > 0 and time.monotonic() < deadline:
        left -= len(consumer.consume(10_000, 1))
    cost = (cpu_seconds(broker.pid) - before) / size * 1e9
    consumer.close()
    assert left <= 0, f"{left} records did not come"
    return cost
