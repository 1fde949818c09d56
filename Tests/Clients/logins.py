"""What every client that has logged in has to be able to do: write and read."""

import asyncio

from confluent_kafka import Consumer, Producer
from kafka import KafkaConsumer, KafkaProducer

from confluent import send, take


def confluent_round(address: str, topic: str, login: dict) -> None:
    settings = {"bootstrap.servers": address, **login}
    values = [b"%d" % number for number in range(100)]
    send(Producer(settings), topic, values)
    reader = Consumer({**settings, "group.id": topic, "auto.offset.reset": "earliest"})
    reader.subscribe([topic])
    assert [message.value() for message in take(reader, 100)] == values
    reader.close()


def kafka_python_round(address: str, topic: str, mechanism: str, **login) -> None:
    settings = {"bootstrap_servers": address, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, **login}
    sender = KafkaProducer(**settings)
    sender.send(topic, b"one").get(30)
    sender.close()
    reader = KafkaConsumer(topic, auto_offset_reset="earliest", consumer_timeout_ms=20_000, **settings)
    assert next(reader).value == b"one"
    reader.close()


def aiokafka_round(address: str, topic: str, mechanism: str, **login) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    settings = {"bootstrap_servers": address, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, **login}

    async def run() -> bytes:
        sender = AIOKafkaProducer(**settings)
        await sender.start()
        await sender.send_and_wait(topic, b"one")
        await sender.stop()
        reader = AIOKafkaConsumer(topic, auto_offset_reset="earliest", **settings)
        await reader.start()
        try:
            return (await asyncio.wait_for(reader.getone(), 30)).value
        finally:
            await reader.stop()

    assert asyncio.run(run()) == b"one"
