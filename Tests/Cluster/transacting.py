"""Producers that write transactions to several mirrored topics, readers that watch the mirrors, and what has to be true in the end."""

import threading
from collections import defaultdict

from confluent_kafka import Consumer, KafkaException, TopicPartition

from transactional import Confluent, read_to_end
from workload import Worker


class Transacting(Worker):
    """One transaction after the other, each with a record in every topic; remembers how each was ended, as far as it was told."""

    def __init__(self, cluster, topics, transactional_id: str):
        super().__init__()
        self.cluster, self.topics, self.name = cluster, topics, transactional_id
        self.committed: list[str] = []
        self.begun = 0
        self.source_is_gone = threading.Event()

    def work(self):
        while not self.stopping.is_set():
            try:
                self._run(Confluent(self.cluster.bootstrap, self.name, socket_timeout_ms=5_000))
            except (KafkaException, AssertionError):
                if self.source_is_gone.is_set():
                    return

    def _run(self, transactional):
        while not self.stopping.is_set():
            value = f"{self.name}:{self.begun}"
            self.begun += 1
            transactional.begin()
            for topic in self.topics:
                transactional.send(topic, [value])
            if self.begun % 5 == 0:
                transactional.abort()
                continue
            transactional.commit()
            self.committed.append(value)


class Watching(Worker):
    """Reads what is committed in the mirrors, from any of their brokers, while these are killed."""

    def __init__(self, cluster, topics):
        super().__init__()
        self.seen: dict[str, list[str]] = defaultdict(list)
        self.consumer = Consumer({
            "bootstrap.servers": cluster.bootstrap, "group.id": "watching", "isolation.level": "read_committed", "enable.auto.commit": False,
            "auto.offset.reset": "error", "log_level": 0})
        self.consumer.assign([TopicPartition(topic, 0, 0) for topic in topics])

    def work(self):
        while not self.stopping.is_set():
            message = self.consumer.poll(0.1)
            if message is not None and not message.error():
                self.seen[message.topic()].append(message.value().decode())
        self.consumer.close()


def judge(bootstrap: str, topics, watching: Watching) -> None:
    """What each transaction wrote is shown by all topics or by none, once; nothing that was shown before is gone."""
    shown = defaultdict(set)
    for topic in topics:
        values = read_to_end(bootstrap, topic)
        assert len(values) == len(set(values)), f"{topic} has records twice"
        seen = watching.seen[topic]
        assert seen == values[:len(seen)], f"{topic} has shown before the failover what is not there any more"
        for value in values:
            shown[value].add(topic)
    half = {value: sorted(where) for value, where in shown.items() if len(where) != len(topics)}
    assert not half, f"half of a transaction is shown: {dict(list(half.items())[:5])}"
    aborted = [value for value in shown if int(value.split(":")[1]) % 5 == 4]
    assert not aborted, f"aborted, and shown: {aborted[:5]}"
    assert len(shown) > 20, "too few for the test to say anything"
    assert all(watching.seen[topic] for topic in topics), "the reader has seen nothing"
