"""What a node shows of its groups, transactions and share groups, under Kafka's names, while real clients use them."""

import re

import kafka
import pytest
from confluent_kafka import AcknowledgeType, TopicPartition
from kafka.protocol.consumer import OffsetCommitRequest, OffsetCommitResponse

import topics
from broker import Broker, wait_until
from confluent import consumer, join, producer, send
from raw import RawConnection
from samples import many
from sharing import SETTINGS as SHARE_SETTINGS
from sharing import configure, sharer, take
from transactional import Confluent

SETTINGS = {
    **SHARE_SETTINGS, "group.initial.rebalance.delay.ms": "0", "group.consumer.assignment.interval.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "100", "group.consumer.heartbeat.interval.ms": "300",
    "offsets.topic.num.partitions": "3", "transaction.state.log.num.partitions": "4", "offsets.retention.check.interval.ms": "200",
}
GROUPS = "kafka_server_group_coordinator_metrics_"
TRANSACTIONS = "kafka_server_transaction_coordinator_metrics_"
SHARES = "kafka_server_share_coordinator_metrics_"


@pytest.fixture(scope="module")
def broker():
    with Broker(SETTINGS, features=("share.version=1",)) as broker:
        yield broker
        assert broker.is_running(), f"the broker died during the tests:\n{broker.log()[-4000:]}"


class Numbers:
    """One scrape: samples by name and labels as they are written."""

    def __init__(self, broker: Broker):
        status, text = broker.get("/metrics")
        assert status == 200
        self.samples = {}
        families = set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                family = line.split()[2]
                assert family not in families, f"{family} is there twice"
                families.add(family)
            elif match := re.fullmatch(r"([a-z_0-9]+(?:\{.*\})?) (\S+)", line):
                assert match[1] not in self.samples, f"{match[1]} is there twice"
                self.samples[match[1]] = float(match[2])

    def __getitem__(self, name: str) -> float:
        return self.samples[name]


def become(broker: Broker, numbers: dict[str, float]) -> Numbers:
    """Waits until the samples are as expected; names are given without the prefix of groups."""
    found = {}

    def look():
        scraped = Numbers(broker)
        found.update({name: scraped[GROUPS + name] for name in numbers})
        return scraped if found == numbers else None

    try:
        return wait_until(look, "the metrics are right")
    except AssertionError as error:
        raise AssertionError(f"{error}: {found} instead of {numbers}") from None


def test_groups_of_both_protocols_are_counted_by_state(broker):
    topic = topics.create(broker.bootstrap, "counted", 3)
    send(producer(broker.bootstrap), topic, many(30))
    before = Numbers(broker)
    classic = consumer(broker.bootstrap, "classic-group")
    classic.subscribe([topic])
    join(classic, 3)
    modern = consumer(broker.bootstrap, "modern-group", group_protocol="consumer")
    modern.subscribe([topic])
    join(modern, 3)
    numbers = become(broker, {
        'group_count{protocol="classic"}': 1, 'classic_group_count{state="Stable"}': 1, 'classic_group_count{state="Empty"}': 0,
        'group_count{protocol="consumer"}': 1, 'consumer_group_count{state="Stable"}': 1, 'consumer_group_count{state="Empty"}': 0})
    assert numbers[GROUPS + "group_completed_rebalance_count"] > before[GROUPS + "group_completed_rebalance_count"]
    assert numbers[GROUPS + "group_completed_rebalance_rate"] > 0
    assert numbers[GROUPS + "consumer_group_rebalance_count"] > before[GROUPS + "consumer_group_rebalance_count"]
    assert numbers[GROUPS + "consumer_group_rebalance_rate"] > 0
    assert numbers[GROUPS + 'num_partitions{state="active"}'] == 3
    assert numbers[GROUPS + 'num_partitions{state="failed"}'] == numbers[GROUPS + 'num_partitions{state="loading"}'] == 0
    assert 0 <= numbers[GROUPS + "partition_load_time_avg"] <= numbers[GROUPS + "partition_load_time_max"] < 30_000
    former = "kafka_coordinator_group_groupmetadatamanager_num"
    assert numbers[former + "groups"] == numbers[former + "groupsstable"] == 1 and numbers[former + "groupsempty"] == 0

    classic.commit(offsets=[TopicPartition(topic, number, 5) for number in range(3)], asynchronous=False)
    modern.commit(offsets=[TopicPartition(topic, number, 7) for number in range(2)], asynchronous=False)
    classic.close()
    modern.close()
    numbers = become(broker, {
        'classic_group_count{state="Stable"}': 0, 'classic_group_count{state="Empty"}': 1,
        'consumer_group_count{state="Stable"}': 0, 'consumer_group_count{state="Empty"}': 1,
        "offset_count": before[GROUPS + "offset_count"] + 5, "offset_commit_count": before[GROUPS + "offset_commit_count"] + 5})
    assert numbers[GROUPS + "offset_commit_rate"] > 0
    assert numbers[former + "offsets"] == numbers[GROUPS + "offset_count"]
    admin = topics.admin(broker.bootstrap)
    admin.delete_consumer_groups(["classic-group"])["classic-group"].result(30)
    become(broker, {'group_count{protocol="classic"}': 0, "offset_count": before[GROUPS + "offset_count"] + 2})


def test_offsets_that_expire_and_that_are_deleted_are_counted(broker):
    topic = topics.create(broker.bootstrap, "kept-for-a-moment", 1)
    before = Numbers(broker)
    with RawConnection(broker.port) as connection:
        partition = OffsetCommitRequest.OffsetCommitRequestTopic.OffsetCommitRequestPartition(
            partition_index=0, committed_offset=1, committed_metadata="")
        request = OffsetCommitRequest(
            version=2, group_id="short", generation_id_or_member_epoch=-1, member_id="", retention_time_ms=1,
            topics=[OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[partition])])
        response = connection.ask(request, OffsetCommitResponse)
        assert response.topics[0].partitions[0].error_code == 0
    become(broker, {
        "offset_expiration_count": before[GROUPS + "offset_expiration_count"] + 1,
        "offset_commit_count": before[GROUPS + "offset_commit_count"] + 1, "offset_count": before[GROUPS + "offset_count"]})

    writer = consumer(broker.bootstrap, "long")
    writer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    writer.close()
    admin = kafka.KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.delete_group_offsets("long", [kafka.TopicPartition(topic, 0)])
    finally:
        admin.close()
    numbers = become(broker, {
        "offset_deletion_count": before[GROUPS + "offset_deletion_count"] + 1, "offset_count": before[GROUPS + "offset_count"]})
    assert numbers[GROUPS + "offset_deletion_rate"] > 0


def test_transactions_are_counted_by_how_they_end(broker):
    topic = topics.create(broker.bootstrap, "in-transactions", 2)
    before = Numbers(broker)
    transactional = Confluent(broker.bootstrap, "counted-transactions")
    ids = 'martlet_transactional_ids{state="%s"}'
    verified = "kafka_server_addpartitionstotxnmanager_verificationtimems_count"
    for number in range(3):
        transactional.begin()
        transactional.send(topic, ["value"])
        assert Numbers(broker)[ids % "Ongoing"] == 1
        transactional.abort() if number == 2 else transactional.commit()

    def ended():
        numbers = Numbers(broker)
        return numbers if numbers[ids % "CompleteAbort"] == 1 and numbers[ids % "Ongoing"] == 0 else None

    numbers = wait_until(ended, "the last transaction has been aborted")
    grown = {outcome: numbers[f'martlet_transactions_total{{outcome="{outcome}"}}'] - before[f'martlet_transactions_total{{outcome="{outcome}"}}']
             for outcome in ("commit", "abort")}
    assert grown == {"commit": 2, "abort": 1}
    assert numbers[verified] >= before[verified] + 3, "every transaction's first records are verified"
    assert numbers["kafka_server_addpartitionstotxnmanager_verificationfailurerate_count"] == 0
    assert numbers[TRANSACTIONS + 'num_partitions{state="active"}'] == 4
    assert 0 <= numbers[TRANSACTIONS + "partition_load_time_avg"] < 30_000
    markers = "kafka_coordinator_transaction_transactionmarkerchannelmanager_"
    assert numbers[markers + "unknowndestinationqueuesize"] == numbers[markers + "logappendretryqueuesize"] == 0
    transactional.close()


def test_share_groups_are_counted_with_what_they_read(broker):
    topic = topics.create(broker.bootstrap, "counted-shares", 1)
    configure(broker.bootstrap, "counted", share_auto_offset_reset="earliest", share_record_lock_duration_ms=2_000)
    send(producer(broker.bootstrap), topic, many(30))
    before = Numbers(broker)
    acknowledgements = 'kafka_server_sharegroupmetrics_recordacknowledgements_total{ackType="%s"}'
    labels = f'{{group="counted",topic="{topic}",partition="0"}}'
    partition = "kafka_server_sharepartitionmetrics_"
    with sharer(broker.bootstrap, "counted", topic, share_acknowledgement_mode="explicit") as reader:
        messages = take(reader, 30)
        numbers = Numbers(broker)
        assert numbers[partition + "inflightmessagecount" + labels] == 30
        assert numbers[partition + "inflightbatchcount" + labels] >= 1
        assert numbers["kafka_server_sharesessioncache_sharesessionscount"] == 1
        assert numbers["kafka_server_sharesessioncache_sharepartitionscount"] == 1
        assert numbers[GROUPS + 'group_count{protocol="share"}'] == numbers[GROUPS + 'share_group_count{state="Stable"}'] == 1
        assert numbers[GROUPS + "share_group_rebalance_count"] >= 1
        assert numbers["kafka_server_sharegroupmetrics_partitionloadtimems_count"] >= 1
        for index, message in enumerate(messages[:20]):
            kind = AcknowledgeType.RELEASE if index < 3 else AcknowledgeType.REJECT if index < 5 else AcknowledgeType.ACCEPT
            reader.acknowledge(message, kind)
        assert all(error is None for error in reader.commit_sync(30.0).values())
        numbers = Numbers(broker)
        grown = {kind: numbers[acknowledgements % kind] - before[acknowledgements % kind] for kind in ("Accept", "Release", "Reject", "Renew")}
        assert grown == {"Accept": 15, "Release": 3, "Reject": 2, "Renew": 0}
        assert numbers[SHARES + "write_total"] > before[SHARES + "write_total"] and numbers[SHARES + "write_rate"] > 0
        assert 0 < numbers[SHARES + "write_latency_avg"] <= numbers[SHARES + "write_latency_max"]
        assert numbers[SHARES + 'num_partitions{state="active"}'] == 5
        # The last ten are not acknowledged: their time is over after two seconds.
        wait_until(
            lambda: Numbers(broker)[partition + "acquisitionlocktimeout_total" + labels] == 10, "the locks of ten records have ended")
    wait_until(lambda: Numbers(broker)["kafka_server_sharesessioncache_sharesessionscount"] == 0, "the session is over")
    assert Numbers(broker)[GROUPS + 'share_group_count{state="Empty"}'] == 1
