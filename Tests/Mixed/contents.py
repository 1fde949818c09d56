"""What is in a cluster as clients see it, to be compared before and after another program serves it; and clients that fill it."""

from confluent_kafka import (
    OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition,
)
from confluent_kafka.admin import ConfigEntry, ConfigResource, OffsetSpec, AlterConfigOpType

from broker import wait_until
from load import QUIET

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def read(bootstrap: str, places: list[tuple[str, int]], isolation: str = "read_committed", seconds: float = 60) -> dict:
    """Every record of some partitions: offset, key, value, headers and timestamp."""
    consumer = Consumer({
        **QUIET, "bootstrap.servers": bootstrap, "group.id": "contents", "enable.auto.commit": False, "auto.offset.reset": "error",
        "isolation.level": isolation, "enable.partition.eof": True,
    })
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in places])
    records, at_end = {place: [] for place in places}, set()

    def read_some():
        for message in consumer.consume(1000, timeout=0.2):
            place = message.topic(), message.partition()
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, str(message.error())
                at_end.add(place)
            else:
                records[place].append((message.offset(), message.key(), message.value(), message.headers(), message.timestamp()))
        return len(at_end) == len(places)

    try:
        wait_until(read_some, f"the ends of {places}", seconds, pause=0)
    finally:
        consumer.close()
    return records


class Contents:
    """Records, ends, commits and configurations of some topics and groups."""

    def __init__(self, cluster, topics: list[str], groups: list[str]):
        admin = cluster.admin()
        bootstrap = cluster.bootstrap
        self.partitions = {topic: sorted(cluster.partitions(topic)) for topic in topics}
        places = [TopicPartition(topic, partition) for topic in topics for partition in self.partitions[topic]]
        self.records = {
            (*place, isolation): records for isolation in ("read_committed", "read_uncommitted")
            for place, records in read(bootstrap, [(place.topic, place.partition) for place in places], isolation).items()
        }
        self.offsets = {}
        for name, spec in [("earliest", OffsetSpec.earliest()), ("latest", OffsetSpec.latest()), ("max", OffsetSpec.max_timestamp())]:
            for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
                for place, future in admin.list_offsets(dict.fromkeys(places, spec), isolation_level=isolation).items():
                    found = future.result(30)
                    self.offsets[name, isolation.name, place.topic, place.partition] = (found.offset, found.timestamp)
        self.commits = {}
        for group in groups:
            [future] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
            for place in future.result(30).topic_partitions:
                self.commits[group, place.topic, place.partition] = (place.offset, place.metadata)
        self.configurations = {}
        for topic in topics:
            [future] = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
            self.configurations[topic] = {
                name: entry.value for name, entry in future.result(30).items() if entry.source == 1}

    def differences(self, other: "Contents") -> list[str]:
        found = []
        for name in vars(self):
            mine, others = getattr(self, name), getattr(other, name)
            for key in sorted({*mine, *others}, key=str):
                if mine.get(key) != others.get(key):
                    found.append(f"{name} {key}: {_brief(mine.get(key), others.get(key))}")
        return found


def _brief(before, after) -> str:
    if isinstance(before, list) and isinstance(after, list):
        changed = next((pair for pair in zip(before, after) if pair[0] != pair[1]), None)
        return f"{len(before)} before, {len(after)} after, first difference {changed}"
    return f"{before} before, {after} after"


def fill(cluster, topic: str, label: str, count: int = 60) -> None:
    """Records in every codec, from idempotent producers, with headers; some by key, some in large batches."""
    # The broker that is asked may not have heard of it yet.
    partitions = wait_until(lambda: len(cluster.partitions(topic)), f"{topic} is known")
    for codec in CODECS:
        producer = Producer({
            **QUIET, "bootstrap.servers": cluster.bootstrap, "compression.type": codec, "linger.ms": 20, "enable.idempotence": True,
        })
        failures = []
        for number in range(count):
            producer.produce(
                topic, key=f"{label}-{number}", value=f"{label}:{codec}:{number}" * 5, partition=number % partitions,
                headers=[("label", label.encode()), ("nothing", None)],
                on_delivery=lambda error, _: failures.append(str(error)) if error else None)
        assert producer.flush(60) == 0 and not failures, failures[:3]


def transact(cluster, topic: str, label: str, commits: bool, count: int = 10) -> None:
    producer = Producer({**QUIET, "bootstrap.servers": cluster.bootstrap, "transactional.id": f"transaction-{label}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, key=f"{label}-{number}", value=f"{label}:transaction:{number}", partition=0)
    producer.flush(30)
    if commits:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def commit(cluster, group: str, topic: str, offsets: dict[int, int], metadata: str = "") -> None:
    consumer = Consumer({**QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": group, "enable.auto.commit": False})
    places = [TopicPartition(topic, partition, offset, metadata) for partition, offset in offsets.items()]

    def done() -> list[TopicPartition] | None:
        try:
            return consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            # Of the first group of a cluster: whose coordinator it is may not be known yet, not even to the coordinator.
            assert error.args[0].code() in (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS), error
            return None

    committed = wait_until(done, f"the offsets of {group} are taken", 30, 0.2)
    assert all(each.error is None for each in committed), committed
    consumer.close()


def consume_in_group(cluster, group: str, topic: str, count: int, protocol: str = "classic", seconds: float = 60) -> int:
    """Joins, reads at least that many, commits and leaves."""
    consumer = Consumer({
        **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })
    consumer.subscribe([topic])
    seen = []

    def poll():
        seen.extend(message for message in consumer.consume(500, timeout=0.5) if not message.error())
        return len(seen) >= count

    wait_until(poll, f"{group} has read {count} records of {topic}", seconds, pause=0)
    consumer.commit(asynchronous=False)
    consumer.close()
    return len(seen)


def set_configuration(cluster, topic: str, **values: str) -> None:
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin = cluster.admin()
    admin.incremental_alter_configs([resource])[resource].result(30)
