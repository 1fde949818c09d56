"""Transactional producers of the three client libraries behind one face, and what read_committed consumers see."""

import asyncio

import aiokafka
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from kafka import KafkaProducer

from broker import wait_until

READ_COMMITTED, READ_UNCOMMITTED = "read_committed", "read_uncommitted"


class Confluent:
    def __init__(self, bootstrap: str, transactional_id: str, **settings):
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "transactional.id": transactional_id, "transaction.timeout.ms": 60_000,
            **{key.replace("_", "."): value for key, value in settings.items()},
        })
        self.producer.init_transactions(30)

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic: str, values, partition: int = 0):
        for value in values:
            self.producer.produce(topic, value=value, partition=partition)
        assert self.producer.flush(30) == 0

    def commit(self):
        self.producer.commit_transaction(30)

    def abort(self):
        self.producer.abort_transaction(30)

    def close(self):
        self.producer.purge()


class KafkaPython:
    def __init__(self, bootstrap: str, transactional_id: str, **settings):
        self.producer = KafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=transactional_id, transaction_timeout_ms=60_000, acks="all", **settings)
        self.producer.init_transactions()

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic: str, values, partition: int = 0):
        sent = [self.producer.send(topic, value=value.encode(), partition=partition) for value in values]
        self.producer.flush(30)
        for future in sent:
            future.get(30)

    def commit(self):
        self.producer.commit_transaction()

    def abort(self):
        self.producer.abort_transaction()

    def close(self):
        self.producer.close(timeout=10)


class Aiokafka:
    def __init__(self, bootstrap: str, transactional_id: str, **settings):
        self.loop = asyncio.new_event_loop()

        async def start():
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=bootstrap, transactional_id=transactional_id, transaction_timeout_ms=60_000, **settings)
            await producer.start()
            return producer

        self.producer = self._run(start())

    def _run(self, work):
        return self.loop.run_until_complete(asyncio.wait_for(work, 40))

    def begin(self):
        self._run(self.producer.begin_transaction())

    def send(self, topic: str, values, partition: int = 0):
        for value in values:
            self._run(self.producer.send_and_wait(topic, value.encode(), partition=partition))

    def commit(self):
        self._run(self.producer.commit_transaction())

    def abort(self):
        self._run(self.producer.abort_transaction())

    def close(self):
        self._run(self.producer.stop())
        self.loop.close()


LIBRARIES = {"confluent": Confluent, "kafka-python": KafkaPython, "aiokafka": Aiokafka}


def read_to_end(bootstrap: str, topic: str, isolation: str = READ_COMMITTED, partitions: int = 1, seconds: float = 30) -> list[str]:
    """The values in order, up to where this isolation lets one read now."""
    reader = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "unused", "isolation.level": isolation, "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })
    values, ended = [], set()
    try:
        reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])

        def all_ended():
            for message in reader.consume(500, timeout=0.2):
                error = message.error()
                if error is None:
                    values.append(message.value().decode())
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise AssertionError(str(error))
            return len(ended) == partitions

        wait_until(all_ended, f"the ends of {topic} are reached; {len(values)} values so far", seconds, pause=0)
        return values
    finally:
        reader.close()
