"""`martlet doctor` says of a running cluster of Apache Kafka what Martlet would not serve."""

import json

import pytest
from confluent_kafka import Consumer

from contents import consume_in_group, fill, transact
from kafka_nodes import KAFKA, MARTLET, kafka_release, kafka_tool
from load import QUIET
from mixed_clusters import MixedCluster


@pytest.fixture(scope="module")
def cluster():
    with MixedCluster(KAFKA) as cluster:
        yield cluster


def findings(cluster) -> dict[str, dict]:
    told = json.loads(cluster.martlet("doctor", "--json", check=False))
    return {each["code"]: each for each in told["findings"] if each["code"].startswith("migrate-")}


def test_a_plain_cluster_can_move(cluster):
    cluster.create("plain", 1)
    fill(cluster, "plain", "some", 5)
    consume_in_group(cluster, "classic", "plain", 25)
    found = findings(cluster)
    assert not [each for each in found.values() if each["severity"] == "error"], found
    assert cluster.martlet("doctor")


def test_what_is_in_use_and_served_is_no_problem(cluster):
    cluster.create("table", 1, **{"cleanup.policy": "compact"})
    transact(cluster, "plain", "open", commits=True)
    # On by default from 4.0 on.
    assert consumes_with_new_protocol(cluster) or kafka_release().startswith("3."), "the new group protocol is not on"
    alter = ["--bootstrap-server", cluster.bootstrap, "--alter", "--add-config"]
    kafka_tool("configs", *alter, "producer_byte_rate=1000", "--entity-type", "clients", "--entity-name", "noisy")
    kafka_tool("configs", *alter, "SCRAM-SHA-256=[iterations=8192,password=secret]", "--entity-type", "users", "--entity-name", "alice")
    found = findings(cluster)
    # Martlet serves all of it.
    for code in ("migrate-quotas", "migrate-groups", "migrate-compaction", "migrate-transactions"):
        assert code not in found, found


def consumes_with_new_protocol(cluster) -> bool:
    consumer = Consumer({
        **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": "modern", "group.protocol": "consumer", "auto.offset.reset": "earliest"})
    consumer.subscribe(["plain"])
    seen = consumer.consume(1, timeout=20)
    consumer.commit(asynchronous=False) if seen and not seen[0].error() else None
    consumer.close()
    return bool(seen) and not seen[0].error()


def test_martlet_alone_is_not_measured_against_itself():
    with MixedCluster(MARTLET) as cluster:
        assert not findings(cluster)
        told = json.loads(cluster.martlet("doctor", "--json", "--for-migration", check=False))
        assert any("finalised feature" in each for each in told["ok"])
