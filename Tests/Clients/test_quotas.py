"""Quotas: clients that take more than they may are told so and held back, and what they get is what the quota says."""

import json
import socket
import subprocess
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer
from kafka import KafkaConsumer, KafkaProducer
from kafka.protocol.admin import (
    AlterClientQuotasRequest, AlterClientQuotasResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
)
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from broker import Broker, binary, wait_until
from raw import RawConnection, framed
from topics import create

WINDOWS = 3
"""Few windows, so that a test need not use up a burst of ten seconds first: two seconds' worth may come at once."""
BURST = WINDOWS - 1
THROTTLING_QUOTA_EXCEEDED = 89


@pytest.fixture(scope="module")
def limited():
    settings = {"quota.window.num": str(WINDOWS), "controller.quota.window.num": str(WINDOWS), "num.network.threads": "2"}
    with Broker(settings) as broker:
        yield broker
        assert broker.is_running(), broker.log()[-4000:]


def quota(broker, *arguments, check=True):
    done = subprocess.run(
        [str(binary()), "quota", *map(str, arguments), "-b", broker.bootstrap], capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def quotas(broker, *arguments) -> dict:
    """By what they are for, as `user=alice`."""
    listed = json.loads(quota(broker, "list", *arguments, "--json").stdout)
    return {
        "+".join(f"{part['type']}={part['name']}" for part in entry["entity"]): {q["key"]: q["value"] for q in entry["quotas"]}
        for entry in listed
    }


def metric(broker, name: str, **labels) -> float | None:
    for line in broker.get("/metrics")[1].splitlines():
        if line.startswith(name + "{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return None


def within(seconds: float, amount: float, rate: float) -> None:
    """What came in that time is neither more than the quota lets through nor much less. A single request may overshoot."""
    least = (amount - rate * BURST) / rate
    assert seconds > least * 0.8, f"{amount} in {seconds} s is faster than {rate} a second"
    assert seconds < least * 1.5 + 5, f"{amount} in {seconds} s is slower than {rate} a second"


def test_a_producer_of_librdkafka_is_held_to_its_rate(limited, name):
    create(limited.bootstrap, name)
    rate, size, count = 200_000, 10_000, 150
    quota(limited, "set", "--client-id", name, f"producer_byte_rate={rate}")
    throttles = []
    producer = Producer({
        "bootstrap.servers": limited.bootstrap, "client.id": name, "linger.ms": 5, "batch.size": 40_000,
        "throttle_cb": lambda event: throttles.append(event.throttle_time), "delivery.timeout.ms": 60_000})
    started = time.monotonic()
    for _ in range(count):
        producer.produce(name, b"x" * size)
    assert producer.flush(60) == 0
    within(time.monotonic() - started, size * count, rate)
    assert max(throttles) > 0.05, throttles
    assert metric(limited, "kafka_server_quota_byte_rate", resource="Produce", clientId=name) > 0
    assert metric(limited, "kafka_server_quota_throttle_time", resource="Produce", clientId=name) > 0
    quota(limited, "delete", "--client-id", name)
    # Without it nothing holds the same client back.
    started = time.monotonic()
    for _ in range(count):
        producer.produce(name, b"x" * size)
    assert producer.flush(60) == 0
    assert time.monotonic() - started < 5


def test_a_consumer_of_librdkafka_is_held_to_its_rate(limited, name):
    create(limited.bootstrap, name)
    rate, size, count = 300_000, 10_000, 200
    producer = Producer({"bootstrap.servers": limited.bootstrap, "batch.size": 20_000})
    for _ in range(count):
        producer.produce(name, b"x" * size)
    assert producer.flush(60) == 0
    quota(limited, "set", "--client-id", name, f"consumer_byte_rate={rate}")
    throttles = []
    consumer = Consumer({
        "bootstrap.servers": limited.bootstrap, "client.id": name, "group.id": name, "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": 50_000, "throttle_cb": lambda event: throttles.append(event.throttle_time)})
    consumer.subscribe([name])
    got, started = 0, None
    deadline = time.monotonic() + 60
    while got < count and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            started = started or time.monotonic()
            got += 1
    elapsed = time.monotonic() - started
    consumer.close()
    assert got == count
    within(elapsed, size * count, rate)
    assert max(throttles) > 0.05, throttles
    quota(limited, "delete", "--client-id", name)


def test_clients_of_kafka_python_are_held_to_their_rates(limited, name):
    create(limited.bootstrap, name)
    quota(limited, "set", "--client-id", name, "producer_byte_rate=100000", "consumer_byte_rate=100000")
    producer = KafkaProducer(bootstrap_servers=limited.bootstrap, client_id=name)
    started = time.monotonic()
    for _ in range(50):
        producer.send(name, b"x" * 10_000).get(30)
    within(time.monotonic() - started, 500_000, 100_000)
    producer.close()
    consumer = KafkaConsumer(
        name, bootstrap_servers=limited.bootstrap, client_id=name, auto_offset_reset="earliest", group_id=None,
        max_partition_fetch_bytes=50_000, consumer_timeout_ms=20_000)
    started = time.monotonic()
    for _ in range(50):
        next(consumer)
    within(time.monotonic() - started, 500_000, 100_000)
    throttled = consumer.metrics()["consumer-fetch-manager-metrics"].get("fetch-throttle-time-max")
    consumer.close()
    assert throttled is None or throttled > 50
    quota(limited, "delete", "--client-id", name)


@pytest.mark.parametrize("batch", [20_000, 1_000_000])
def test_a_fetch_that_is_more_than_a_window_holds_still_comes(limited, name, batch):
    """An answer is cut to what may be taken at once, or a consumer with large fetches would wait for ever; what cannot be cut comes when
    nothing came before."""
    create(limited.bootstrap, name)
    producer = Producer({"bootstrap.servers": limited.bootstrap, "batch.size": batch, "linger.ms": 100})
    for _ in range(40):
        producer.produce(name, b"x" * 10_000)
    assert producer.flush(60) == 0
    quota(limited, "set", "--client-id", name, "consumer_byte_rate=60000")
    consumer = KafkaConsumer(
        name, bootstrap_servers=limited.bootstrap, client_id=name, auto_offset_reset="earliest", group_id=None,
        consumer_timeout_ms=40_000)
    got = sum(1 for _, _ in zip(range(40), consumer))
    consumer.close()
    assert got == 40
    quota(limited, "delete", "--client-id", name)


def test_users_share_what_their_clients_take(limited, name):
    """Two producers of one user, which is everybody's here, get one rate between them; a client's own quota is no part of it."""
    create(limited.bootstrap, name)
    rate, size, count = 200_000, 10_000, 60
    quota(limited, "set", "--user", "ANONYMOUS", f"producer_byte_rate={rate}")
    quota(limited, "set", "--user", "ANONYMOUS", "--client-id", f"{name}-free", "producer_byte_rate=1000000000")

    def send(client):
        producer = Producer({"bootstrap.servers": limited.bootstrap, "client.id": client, "batch.size": 20_000})
        for _ in range(count):
            producer.produce(name, b"x" * size)
        assert producer.flush(60) == 0

    try:
        started = time.monotonic()
        threads = [threading.Thread(target=send, args=(f"{name}-{i}",)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        within(time.monotonic() - started, 2 * size * count, rate)
        started = time.monotonic()
        send(f"{name}-free")
        assert time.monotonic() - started < 2
    finally:
        quota(limited, "delete", "--user", "ANONYMOUS")
        quota(limited, "delete", "--user", "ANONYMOUS", "--client-id", f"{name}-free")
    assert quotas(limited) == {}


def test_time_of_requests_is_a_quota(limited, name):
    """Metadata asked for as fast as it goes: with a tenth of a per cent of a thread the client is soon told to wait, and its next request
    waits in the socket."""
    quota(limited, "set", "--client-id", name, "request_percentage=0.1")
    with RawConnection(limited.port) as connection:
        throttle = 0
        for _ in range(500):
            started = time.monotonic()
            connection.send_bytes(framed(MetadataRequest(version=5, topics=None, allow_auto_topic_creation=False), 7, name))
            response = connection.receive(MetadataResponse, 5)
            if throttle:
                assert time.monotonic() - started > throttle / 1000 * 0.9
                break
            throttle = response.throttle_time_ms
        assert 0 < throttle <= 1000, "no throttle, or one longer than a window"
    assert metric(limited, "kafka_server_quota_request_time", resource="Request", clientId=name) > 0
    quota(limited, "delete", "--client-id", name)


def create_topics(connection, client: str, version: int, **topics):
    request = CreateTopicsRequest(
        version=version, timeout_ms=10_000, validate_only=False,
        topics=[(name, partitions, 1, [], []) for name, partitions in topics.items()])
    connection.send_bytes(framed(request, 7, client))
    return connection.receive(CreateTopicsResponse, version)


def test_newer_clients_are_refused_partitions_beyond_their_quota(limited, name):
    quota(limited, "set", "--client-id", name, "controller_mutation_rate=2")
    prefix = name.replace("-", "_")[:60]
    with RawConnection(limited.port) as connection:
        # The first uses up the burst of six and makes a debt, which is nobody's error; the second pays for it.
        first = create_topics(connection, name, 7, **{f"{prefix}_a": 8})
        assert [(topic.error_code, first.throttle_time_ms) for topic in first.topics] == [(0, 0)]
        started = time.monotonic()
        second = create_topics(connection, name, 7, **{f"{prefix}_b": 1})
        assert [topic.error_code for topic in second.topics] == [THROTTLING_QUOTA_EXCEEDED]
        assert 0 < second.throttle_time_ms <= 1100
        third = create_topics(connection, name, 7, **{f"{prefix}_b": 1})
        assert time.monotonic() - started >= second.throttle_time_ms / 1000 * 0.9
        assert [topic.error_code for topic in third.topics] == [0]
    assert metric(limited, "kafka_server_quota_mutation_rate", resource="ControllerMutation", clientId=name) > 0
    quota(limited, "delete", "--client-id", name)


def test_older_clients_get_their_partitions_and_wait(limited, name):
    quota(limited, "set", "--client-id", name, "controller_mutation_rate=2")
    prefix = name.replace("-", "_")[:60]
    with RawConnection(limited.port) as connection:
        first = create_topics(connection, name, 5, **{f"{prefix}_a": 8})
        assert [topic.error_code for topic in first.topics] == [0] and first.throttle_time_ms > 500
        started = time.monotonic()
        request = DeleteTopicsRequest(version=4, topic_names=[f"{prefix}_a"], timeout_ms=10_000)
        connection.send_bytes(framed(request, 7, name))
        deleted = connection.receive(DeleteTopicsResponse, 4)
        assert time.monotonic() - started > first.throttle_time_ms / 1000 * 0.8
        assert [topic.error_code for topic in deleted.responses] == [0] and deleted.throttle_time_ms > 2000
    quota(limited, "delete", "--client-id", name)


def connects(port: int, seconds: float, source: str = "127.0.0.1") -> int:
    """How many connections are served within that time, opened one after the other."""
    served = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0)) as connection:
                connection.sendall(framed(MetadataRequest(version=5, topics=[], allow_auto_topic_creation=False)))
                served += len(connection.recv(4)) == 4
        except OSError:
            pass
    return served


def test_an_address_may_connect_only_so_often(limited):
    quota(limited, "set", "--ip", "127.0.0.3", "connection_creation_rate=5")
    try:
        served = connects(limited.port, 5, source="127.0.0.3")
        # Five a second and two seconds' worth at once; those that are refused are held open for up to a second.
        assert 5 * BURST - 1 <= served <= 5 * (5 + BURST) + 1, served
        # Another one may have more at once.
        assert connects(limited.port, 1, source="127.0.0.4") > 5 * (1 + BURST) + 1
    finally:
        quota(limited, "delete", "--ip", "127.0.0.3")
    assert connects(limited.port, 1, source="127.0.0.3") > 5 * (1 + BURST) + 1


def test_a_broker_takes_only_so_many_new_connections(limited):
    def config(change):
        done = subprocess.run(
            [str(binary()), "config", "set", "--all-brokers", change, "-b", limited.bootstrap], capture_output=True, text=True,
            timeout=60)
        assert done.returncode == 0, done.stderr

    config("max.connection.creation.rate=10")
    try:
        wait_until(lambda: connects(limited.port, 3) <= 10 * (3 + BURST) + 2, "the rate holds", 20)
        assert connects(limited.port, 3) >= 10
    finally:
        # One that comes while the rate still holds waits a little.
        config("max.connection.creation.rate=2147483647")
    wait_until(lambda: connects(limited.port, 1) > 10 * (1 + BURST) + 2, "the rate holds no longer", 20)


def test_quotas_are_described_as_they_were_set(limited, name):
    assert quotas(limited) == {}
    quota(limited, "set", "--user", name, "producer_byte_rate=1024", "request_percentage=12.5")
    quota(limited, "set", "--user", name, "--default-client-id", "consumer_byte_rate=7")
    quota(limited, "set", "--default-ip", "connection_creation_rate=100000")
    assert quotas(limited) == {
        f"user={name}": {"producer_byte_rate": 1024, "request_percentage": 12.5},
        f"client-id=None+user={name}": {"consumer_byte_rate": 7},
        "ip=None": {"connection_creation_rate": 100_000},
    }
    assert list(quotas(limited, "--default-ip")) == ["ip=None"]
    assert "producer_byte_rate" in quota(limited, "list", "--user", name).stdout
    with RawConnection(limited.port) as connection:
        for version in (0, 1):
            found = connection.ask(
                DescribeClientQuotasRequest(version=version, components=[("user", 0, name)], strict=True), DescribeClientQuotasResponse)
            assert found.error_code == 0
            [entry] = found.entries
            assert {value.key: value.value for value in entry.values} == {"producer_byte_rate": 1024, "request_percentage": 12.5}
        wrong = connection.ask(DescribeClientQuotasRequest(version=1, components=[("planet", 2, None)], strict=False),
                               DescribeClientQuotasResponse)
        assert wrong.error_code == 35 and wrong.entries is None
        altered = connection.ask(
            AlterClientQuotasRequest(version=1, entries=[([("user", name)], [("nonsense", 1.0, False)])], validate_only=False),
            AlterClientQuotasResponse)
        assert [(entry.error_code, entry.entity[0].entity_name) for entry in altered.entries] == [(42, name)]
    refused = quota(limited, "set", "--ip", "nowhere", "connection_creation_rate=1", check=False)
    assert refused.returncode == 1 and "not a valid IP address" in refused.stderr
    assert quota(limited, "set", "producer_byte_rate=1", check=False).returncode == 64
    quota(limited, "delete", "--user", name)
    quota(limited, "delete", "--user", name, "--default-client-id", "consumer_byte_rate")
    quota(limited, "delete", "--default-ip")
    assert quotas(limited) == {}


def test_quotas_outlive_a_restart(name):
    with Broker({"quota.window.num": str(WINDOWS)}) as broker:
        quota(broker, "set", "--client-id", name, "producer_byte_rate=1024")
        assert broker.stop() == 0
        broker.start()
        assert quotas(broker) == {f"client-id={name}": {"producer_byte_rate": 1024}}


def test_requests_wait_while_the_memory_for_them_is_used(name):
    """queued.max.request.bytes: large requests of many connections are taken one after the other, and all of them in the end."""
    with Broker({"queued.max.request.bytes": "2000000", "socket.request.max.bytes": "1500000"}) as broker:
        create(broker.bootstrap, name)
        producers = [Producer({"bootstrap.servers": broker.bootstrap, "message.max.bytes": 1_000_000}) for _ in range(8)]
        for producer in producers:
            for _ in range(20):
                producer.produce(name, b"x" * 900_000)
        for producer in producers:
            assert producer.flush(60) == 0
