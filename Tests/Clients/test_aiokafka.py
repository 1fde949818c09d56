"""aiokafka: the asyncio client; records, idempotence, groups and administration."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from samples import COMPRESSIONS, SAMPLES, many


def asynchronous(test):
    """Runs an async test to its end, with a deadline; needs no plugin."""
    import functools

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 120))

    return run


async def take(consumer, count):
    async def collect():
        return [await consumer.getone() for _ in range(count)]

    return await asyncio.wait_for(collect(), 30)


async def until(condition, what, seconds=45):
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@asynchronous
async def test_records_come_back_unchanged(bootstrap, topic, compression):
    kind = None if compression == "none" else compression
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=kind, max_batch_size=200_000, linger_ms=20) as sender:
        sent = [await sender.send(topic, sample.value, sample.key, partition=0, headers=sample.headers) for sample in SAMPLES]
        assert [(await future).offset for future in sent] == list(range(len(SAMPLES)))
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        for sample, record in zip(SAMPLES, await take(consumer, len(SAMPLES)), strict=True):
            assert sample.same(record.key, record.value, record.headers)


@asynchronous
async def test_idempotent_producer_keeps_order(bootstrap, topic):
    values = many(2_000)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as sender:
        sent = [await sender.send(topic, value, partition=0) for value in values]
        assert [(await future).offset for future in sent] == list(range(len(values)))
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        assert [record.value for record in await take(consumer, len(values))] == values


@asynchronous
async def test_members_come_and_go(bootstrap, topic, name):
    def member():
        return AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=name, auto_offset_reset="earliest", heartbeat_interval_ms=300,
            session_timeout_ms=6000)

    first, second = member(), member()
    await first.start()
    await until(lambda: len(first.assignment()) == 3, "the first member has everything")
    await second.start()
    await until(lambda: len(first.assignment() | second.assignment()) == 3 and first.assignment() and second.assignment(), "two share")
    await second.stop()
    await until(lambda: len(first.assignment()) == 3, "the one left has everything")
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as sender:
        for number, value in enumerate(many(30)):
            await sender.send_and_wait(topic, value, partition=number % 3)
    assert sorted(record.value for record in await take(first, 30)) == sorted(many(30))
    await first.commit()
    await first.stop()
    third = member()
    await third.start()
    await until(lambda: len(third.assignment()) == 3, "the third member is in")
    committed = [await third.committed(TopicPartition(topic, number)) for number in range(3)]
    assert committed == [10, 10, 10]
    await third.stop()


@asynchronous
async def test_seek_and_times(bootstrap, topic):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as sender:
        for number in range(10):
            await sender.send_and_wait(topic, b"x", partition=0, timestamp_ms=1_700_000_000_000 + number * 1000)
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([partition])
        assert (await consumer.end_offsets([partition]))[partition] == 10
        assert (await consumer.offsets_for_times({partition: 1_700_000_004_500}))[partition].offset == 5
        await consumer.seek_to_beginning(partition)
        assert (await take(consumer, 1))[0].offset == 0
        consumer.seek(partition, 8)
        assert (await take(consumer, 1))[0].offset == 8


@asynchronous
async def test_administration(bootstrap, name):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 2, 1)])
        assert name in await admin.list_topics()
        [described] = await admin.describe_topics([name])
        assert len(described["partitions"]) == 2
        assert (await admin.describe_cluster())["brokers"]
        assert await admin.list_consumer_groups() is not None
        await admin.delete_topics([name])
        with pytest.raises((KafkaError, AssertionError)):
            assert name in await admin.list_topics()
    finally:
        await admin.close()
