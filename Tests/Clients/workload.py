"""Writers, a reader and a committer that go on while the broker under them is killed and started again."""

import sys
import threading
import traceback
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from history import History

RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20}


class Worker(threading.Thread):
    """A thread that works until told to stop; what it raises fails the test in `finish`."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.error: BaseException | None = None

    def run(self):
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def work(self):
        raise NotImplementedError

    def finish(self, seconds: float = 120):
        self.stopping.set()
        self.join(seconds)
        if self.is_alive():
            stack = "".join(traceback.format_stack(sys._current_frames()[self.ident]))
            raise AssertionError(f"{type(self).__name__} did not end within {seconds} s; it is here:\n{stack}")
        if self.error:
            raise self.error


class Writer(Worker):
    """Sends `name:0`, `name:1`, … to one partition; a paced flood, so that the kill hits requests in flight."""

    def __init__(self, bootstrap: str, topic: str, partition: int, name: str, history: History, settings: dict):
        super().__init__()
        self.topic, self.partition, self.name_bytes, self.history = topic, partition, name.encode(), history
        self.sent = 0
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "linger.ms": 2, "acks": "all", "message.timeout.ms": 120_000, "socket.timeout.ms": 10_000,
            "queue.buffering.max.messages": 20_000, **RECONNECT, **settings,
        })

    def work(self):
        while not self.stopping.is_set():
            for _ in range(50):
                value = b"%s:%d" % (self.name_bytes, self.sent)
                try:
                    self.producer.produce(self.topic, value=value, partition=self.partition, on_delivery=self._delivered)
                    self.sent += 1
                except BufferError:
                    self.producer.poll(0.05)
                    break
            self.producer.poll(0.005)
        left = self.producer.flush(90)
        assert left == 0, f"{left} records were neither acknowledged nor failed"

    def _delivered(self, error, message):
        if error:
            self.history.failed.add(message.value())
        else:
            self.history.acknowledge(message.partition(), message.offset(), message.value())


class Reader(Worker):
    """Follows all partitions, assigned by hand, so that it must see every offset once and in order."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, history: History):
        super().__init__()
        self.history = history
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "auto.offset.reset": "error",
            **RECONNECT,
        })
        self.consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])

    def work(self):
        while not self.stopping.is_set():
            for message in self.consumer.consume(1000, timeout=0.1):
                if message.error():
                    assert message.error().retriable() or message.error().code() < 0, str(message.error())
                else:
                    self.history.poll(message.partition(), message.offset(), message.value())
        self.consumer.close()


class Committer(Worker):
    """Commits rising offsets of a group; remembers the last one that was confirmed."""

    def __init__(self, bootstrap: str, topic: str):
        super().__init__()
        self.topic, self.confirmed, self.tried = topic, 0, 0
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "committer", "enable.auto.commit": False, **RECONNECT})

    def work(self):
        while not self.stopping.is_set():
            self.tried += 1
            try:
                [done] = self.consumer.commit(offsets=[TopicPartition(self.topic, 0, self.tried)], asynchronous=False)
                if done.error is None:
                    self.confirmed = self.tried
            except KafkaException:
                time.sleep(0.05)
        self.consumer.close()
