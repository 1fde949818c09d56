"""Compacted topics with real clients: the newest value of each key stays, offsets stay, readers and groups go on, restarts change nothing."""

import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from broker import Broker, wait_until
from confluent import consumer, producer
from samples import COMPRESSIONS
from topics import admin, create

SETTINGS = {
    "log.cleaner.backoff.ms": "200", "log.cleaner.threads": "2", "log.cleaner.dedupe.buffer.size": "8388608",
    "log.retention.check.interval.ms": "300", "log.initial.task.delay.ms": "100", "log.segment.delete.delay.ms": "0",
    "offsets.topic.num.partitions": "1",
}
# Segments roll by the records' own timestamps, so that no test has to wait for them.
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "60000"}


def change(bootstrap: str, kind: ResourceType, name: str, **settings: str) -> None:
    """Sets settings while the broker runs, with underscores for dots."""
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    admin(bootstrap).incremental_alter_configs([resource])[resource].result(30)


class Clock:
    """Timestamps that grow by a tenth of a segment's age, within the last hour."""

    def __init__(self):
        self.now = int(time.time() * 1000) - 3_000_000

    def next(self) -> int:
        self.now += 100
        return self.now


def write(sender, topic: str, entries, clock: Clock, partition: int = 0) -> list:
    failed = []
    for key, value in entries:
        sender.produce(
            topic, key=key, value=value, partition=partition, timestamp=clock.next(),
            on_delivery=lambda error, message: failed.append(error) if error else None)
        sender.poll(0)
    assert sender.flush(60) == 0 and not failed, failed[:1]


def read(bootstrap: str, topic: str, isolation: str = "read_committed") -> list:
    """All records that are left. What is the last one is told by the end of the partition, since offsets have gaps."""
    reader = consumer(bootstrap, isolation_level=isolation, enable_partition_eof=True)
    try:
        reader.assign([TopicPartition(topic, 0, 0)])
        found, deadline = [], time.monotonic() + 60
        while time.monotonic() < deadline:
            message = reader.poll(1)
            if message is None:
                continue
            if message.error():
                return found
            found.append(message)
        raise AssertionError("the end of the partition was not reached")
    finally:
        reader.close()


def table(messages) -> dict:
    result = {}
    for message in messages:
        result[message.key()] = message.value()
    return {key: value for key, value in result.items() if value is not None}


def metric(broker: Broker, name: str) -> dict[str, float]:
    status, text = broker.get("/metrics")
    assert status == 200
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)}


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_the_newest_value_of_each_key_stays(ending):
    with Broker(SETTINGS) as broker:
        expected = {}
        for codec in COMPRESSIONS:
            create(broker.bootstrap, codec, 1, COMPACTED)
            clock, sender = Clock(), producer(broker.bootstrap, compression_type=codec, linger_ms=20, enable_idempotence=True)
            entries = [(f"k{number % 20}".encode(), f"{number}".encode()) for number in range(1000)] + [(b"k3", None)]
            write(sender, codec, entries, clock)
            write(sender, codec, [(b"k%d" % number, b"tail") for number in range(15)], clock)
            expected[codec] = table(read(broker.bootstrap, codec))
            assert len(expected[codec]) == 20
        offsets = {}
        for codec in COMPRESSIONS:
            wait_until(lambda: len(read(broker.bootstrap, codec)) < 120, f"{codec} is compacted", 60, pause=0.5)
        for _ in range(2):
            for codec in COMPRESSIONS:
                messages = read(broker.bootstrap, codec)
                assert table(messages) == expected[codec]
                assert [message.offset() for message in messages] == sorted({message.offset() for message in messages})
                assert messages[-1].offset() == 1015
                offsets.setdefault(codec, messages[-1].offset())
            checkpoint = (broker.data / "cleaner-offset-checkpoint").read_text().splitlines()
            assert {line.split()[0] for line in checkpoint[2:]} >= set(COMPRESSIONS)
            broker.stop() if ending == "stop" else broker.kill()
            broker.start()
        # Time finds what is left, and a position in a gap goes on behind it.
        reader = consumer(broker.bootstrap)
        messages = read(broker.bootstrap, "none")
        middle = messages[len(messages) // 2]
        [found] = reader.offsets_for_times([TopicPartition("none", 0, middle.timestamp()[1])], timeout=30)
        assert found.offset == middle.offset()
        gap = next(left.offset() + 1 for left, right in zip(messages, messages[1:]) if right.offset() > left.offset() + 1)
        reader.assign([TopicPartition("none", 0, gap)])
        assert wait_until(lambda: reader.poll(1), "a record behind the gap").offset() > gap
        reader.close()
        assert broker.stop() == 0


def test_records_without_a_key_are_refused():
    with Broker(SETTINGS) as broker:
        create(broker.bootstrap, "table", 1, COMPACTED)
        failed = []
        sender = producer(broker.bootstrap)
        sender.produce("table", value=b"x", on_delivery=lambda error, _: failed.append(error))
        sender.flush(30)
        assert [error.name() for error in failed] == ["INVALID_RECORD"] or [error.code() for error in failed] == [87], failed
        assert broker.stop() == 0


def test_tombstones_go_and_old_records_too_with_delete():
    with Broker(SETTINGS) as broker:
        create(broker.bootstrap, "table", 1, {**COMPACTED, "delete.retention.ms": "1"})
        create(broker.bootstrap, "both", 1, {**COMPACTED, "cleanup.policy": "compact,delete", "retention.ms": "600000"})
        sender = producer(broker.bootstrap)
        for topic in ("table", "both"):
            clock = Clock()
            write(sender, topic, [(b"k%d" % (number % 10), b"x") for number in range(100)], clock)
            write(sender, topic, [(b"k5", None)], clock)
        # Each write closes segments, so that the cleaner comes by again and sees the horizon passed.
        clock = Clock()
        clock.now += 100_000

        def gone():
            write(sender, "table", [(b"other%d" % number, b"y") for number in range(12)], clock)
            return b"k5" not in {message.key() for message in read(broker.bootstrap, "table")}

        wait_until(gone, "the tombstone is gone", 60, pause=0.5)
        assert {key for key in table(read(broker.bootstrap, "table")) if key.startswith(b"k")} == {
            b"k%d" % number for number in range(10) if number != 5}

        def removed():
            now = Clock()
            now.now = int(time.time() * 1000) - 5000
            write(sender, "both", [(b"new%d" % number, b"y") for number in range(12)], now)
            return not [message for message in read(broker.bootstrap, "both") if message.key().startswith(b"k")]

        wait_until(removed, "compact,delete deletes what is older than retention.ms", 60, pause=0.5)
        assert broker.stop() == 0


def test_committed_offsets_stay_small():
    with Broker({**SETTINGS, "log.cleaner.min.cleanable.ratio": "0.01"}) as broker:
        create(broker.bootstrap, "topic", 1)
        member = consumer(broker.bootstrap, "group")
        for number in range(3000):
            member.commit(offsets=[TopicPartition("topic", 0, number, f"{number:0200}")], asynchronous=False)
        # Rolled by the clock, since nothing is appended any more.
        change(broker.bootstrap, ResourceType.TOPIC, "__consumer_offsets", max_compaction_lag_ms="500")
        log = broker.data / "__consumer_offsets-0"
        wait_until(lambda: sum(path.stat().st_size for path in log.glob("*.log")) < 50_000, "the offsets are compacted", 60)
        member.close()
        for ending in ("stop", "kill"):
            broker.stop() if ending == "stop" else broker.kill()
            broker.start()
            member = consumer(broker.bootstrap, "group")
            [committed] = member.committed([TopicPartition("topic", 0)], timeout=30)
            assert committed.offset == 2999
            member.close()
        assert broker.stop() == 0


def test_offsets_expire_and_leave_nothing():
    with Broker({**SETTINGS, "offsets.retention.check.interval.ms": "200", "offsets.retention.minutes": "1"}) as broker:
        create(broker.bootstrap, "topic", 1)
        member = consumer(broker.bootstrap, "group")
        member.commit(offsets=[TopicPartition("topic", 0, 7)], asynchronous=False)

        def committed():
            return member.committed([TopicPartition("topic", 0)], timeout=30)[0].offset

        assert committed() == 7
        wait_until(lambda: committed() < 0, "the offset has expired after a minute", 100, pause=1)
        member.close()
        broker.stop()
        broker.start()
        member = consumer(broker.bootstrap, "group")
        assert committed() < 0
        member.close()
        assert broker.stop() == 0


def test_a_damaged_log_is_set_aside_and_others_are_cleaned():
    with Broker(SETTINGS) as broker:
        names = ["damaged", "sound"]
        for name in names:
            create(broker.bootstrap, name, 1, {**COMPACTED, "min.compaction.lag.ms": "3600000000"})
            write(producer(broker.bootstrap, batch_num_messages=10), name, [(b"k%d" % (number % 10), b"x" * 100) for number in range(200)], Clock())
        segment = sorted((broker.data / "damaged-0").glob("*.log"))[1]
        with open(segment, "r+b") as file:
            file.seek(80)
            file.write(b"\xff\xff\xff")
        for name in names:
            change(broker.bootstrap, ResourceType.TOPIC, name, min_compaction_lag_ms="0")
        wait_until(lambda: len(read(broker.bootstrap, "sound")) < 50, "the other log is cleaned", 60, pause=0.5)
        wait_until(
            lambda: sum(metric(broker, "kafka_log_logcleanermanager_uncleanable_partitions_count").values()) == 1, "the metric says so", 30)
        assert sum(metric(broker, "kafka_log_logcleanermanager_uncleanable_bytes").values()) > 10_000
        assert "damaged-0" in broker.log() and "set aside" in broker.log()
        assert not list((broker.data / "damaged-0").glob("*.cleaned"))
        assert broker.stop() == 0


def test_the_cleaner_is_measured_and_settings_take_effect_while_it_runs():
    with Broker({**SETTINGS, "log.cleaner.io.max.bytes.per.second": "200000"}) as broker:
        create(broker.bootstrap, "table", 1, COMPACTED)
        clock, sender = Clock(), producer(broker.bootstrap, batch_num_messages=10)
        entries = [(b"k%d" % (number % 10), b"x" * 1000) for number in range(500)]
        began = time.monotonic()
        write(sender, "table", entries, clock)
        wait_until(lambda: len(read(broker.bootstrap, "table")) < 50, "the table is compacted", 60, pause=0.3)
        assert time.monotonic() - began > 3, "half a megabyte is read twice, which takes 5 s at that rate"
        change(broker.bootstrap, ResourceType.BROKER, "1", log_cleaner_io_max_bytes_per_second="5000")
        write(sender, "table", entries, clock)
        change(
            broker.bootstrap, ResourceType.BROKER, "1", log_cleaner_io_max_bytes_per_second="1000000000", log_cleaner_threads="1")
        wait_until(lambda: len(read(broker.bootstrap, "table")) < 50, "faster than the 200 s of the rate before", 60, pause=0.3)
        assert 0 < metric(broker, "kafka_log_logcleaner_cleaner_recopy_percent")["kafka_log_logcleaner_cleaner_recopy_percent"] < 50
        assert set(metric(broker, "kafka_log_logcleaner_")) == {
            f"kafka_log_logcleaner_{name}" for name in (
                "max_buffer_utilization_percent", "cleaner_recopy_percent", "max_clean_time_secs", "max_compaction_delay_secs",
                "deadthreadcount")}
        assert metric(broker, "kafka_log_logcleanermanager_time_since_last_run_ms").popitem()[1] < 10_000
        assert broker.stop() == 0
