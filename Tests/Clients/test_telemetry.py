"""Client telemetry (KIP-714): librdkafka pushes its metrics by itself, and the broker's Prometheus endpoint shows them."""

from confluent_kafka import Producer
from kafka.protocol.admin import IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse

from broker import wait_until
from raw import RawConnection, advertised
from topics import create

CLIENT_METRICS = 16
SET, DELETE = 0, 1


def subscribe(broker, name: str, operation: int = SET, **settings) -> int:
    """Sets or deletes a subscription's settings; returns the error."""
    with RawConnection(broker.port) as connection:
        changes = [(key.replace("_", "."), operation, value) for key, value in settings.items()]
        response = connection.ask(
            IncrementalAlterConfigsRequest(version=1, resources=[(CLIENT_METRICS, name, changes)], validate_only=False),
            IncrementalAlterConfigsResponse)
        return response.responses[0].error_code


def pushed(broker, client: str) -> list[str]:
    return [line for line in broker.get("/metrics")[1].splitlines() if line.startswith("kafka_client_") and f'client_id="{client}"' in line]


def test_librdkafka_pushes_what_it_is_asked_for(broker, name):
    assert {71, 72} <= set(advertised(broker.port))
    create(broker.bootstrap, name)
    assert subscribe(broker, name, metrics="org.apache.kafka.producer", interval_ms="200", match=f"client_id={name}.*") == 0
    producer = Producer({"bootstrap.servers": broker.bootstrap, "client.id": f"{name}-a"})
    other = Producer({"bootstrap.servers": broker.bootstrap, "client.id": "somebody-else"})
    for sender in (producer, other):
        sender.produce(name, b"x")
        assert sender.flush(30) == 0

    def shown():
        producer.produce(name, b"x")
        producer.flush(10)
        return pushed(broker, f"{name}-a")

    lines = wait_until(shown, "metrics are pushed", 30, pause=0.2)
    assert any('client_software_name="' in line and "librdkafka" in line for line in lines), lines[:3]
    assert all(line.startswith("kafka_client_producer_") for line in lines), lines[:3]
    families = {line.split("{")[0] for line in lines}
    text = broker.get("/metrics")[1]
    assert all(f"# TYPE {family} " in text for family in families)
    assert pushed(broker, "somebody-else") == []
    # A client that is gone is not shown any more.
    del producer
    wait_until(lambda: not pushed(broker, f"{name}-a"), "the client is forgotten", 30)
    assert subscribe(broker, name, DELETE, metrics=None, interval_ms=None, match=None) == 0


def test_subscriptions_are_checked(broker, name):
    assert subscribe(broker, name, match="planet=earth") != 0
    assert subscribe(broker, name, match="client_id=(") != 0
    assert subscribe(broker, name, interval_ms="5") != 0
    assert subscribe(broker, name, match="client_id=a.*,client_software_name=apache-kafka-java") == 0
    assert subscribe(broker, name, DELETE, match=None) == 0
