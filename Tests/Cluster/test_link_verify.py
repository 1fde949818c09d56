"""`martlet link verify`: mirrors are compared with their sources by reading both, and what differs is named."""

import json
import os
import pty
import subprocess

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from broker import binary
from clusters import Cluster
from commands import martlet
from links import destination_cluster, link, wait_end, wait_mirror
from load import QUIET
from nodes import wait_until

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture(scope="module")
def destination(source):
    # Not compacted here, so that the two sides of a compacted topic never hold the same batches.
    with destination_cluster(1, settings={"log.cleaner.enable": "false", "min.insync.replicas": "1"}) as cluster:
        link(cluster, source, "link", topic_config_sync_ms=500)
        yield cluster


def produce(cluster, topic, records, partition=0, single=False, **settings):
    """Records are values, or pairs of key and value; `single` makes a batch of each."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 20, **QUIET, **settings})
    for record in records:
        key, value = record if isinstance(record, tuple) else (None, record)
        producer.produce(topic, value=value, key=key, partition=partition)
        if single:
            assert producer.flush(30) == 0
    assert producer.flush(30) == 0


def mirrored(source, destination, topic, ends, **config):
    """A mirror of a topic that is there, with everything."""
    martlet(destination, "link", "mirror", "link", topic)
    for partition, end in enumerate(ends):
        wait_end(destination, topic, end, partition)
    wait_mirror(destination, topic)


def verify(destination, *arguments, status=0):
    done = martlet(destination, "link", "verify", "link", *arguments, check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def verdict(destination, *arguments, status=0):
    """The one topic's result, by partition."""
    result = json.loads(verify(destination, *arguments, "--json", status=status))
    assert result["same"] == (status == 0)
    [topic] = result["topics"]
    return topic["partitions"]


def checksum(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def batches_of(content: bytes) -> list[bytes]:
    found, position = [], 0
    while position + 61 <= len(content):
        size = int.from_bytes(content[position + 8:position + 12], "big") + 12
        if size <= 12:
            break
        found.append(content[position:position + size])
        position += size
    return found


def sealed(batch: bytes) -> bytes:
    """With the length and the checksum that it has to have."""
    batch = batch[:8] + (len(batch) - 12).to_bytes(4, "big") + batch[12:]
    return batch[:17] + checksum(batch[21:]).to_bytes(4, "big") + batch[21:]


def alter(cluster, topic, change, partition=0):
    """Stops the only node, changes the batches of a partition on its disk, and starts it again."""
    [node] = cluster.nodes
    assert node.stop() in (0, 143)
    directory = node.data / f"{topic}-{partition}"
    for segment in directory.glob("*.log"):
        batches = batches_of(segment.read_bytes())
        if batches:
            segment.write_bytes(b"".join(change(batches)))
    for index in [*directory.glob("*.index"), *directory.glob("*.timeindex")]:
        index.unlink()
    node.start().wait_ready()
    cluster.wait_whole()


def test_what_is_the_same_is_called_the_same(source, destination):
    source.create("same", 3)
    for number, codec in enumerate(CODECS):
        produce(source, "same", [f"{codec} {each} " + "x" * 100 for each in range(2000)], partition=number % 2, **{"compression.type": codec, "batch.num.messages": 50})
    transactional = Producer({"bootstrap.servers": source.bootstrap, "transactional.id": "one", **QUIET})
    transactional.init_transactions(30)
    for each in range(20):
        transactional.begin_transaction()
        transactional.produce("same", f"in a transaction {each}", partition=2)
        transactional.flush(30)
        (transactional.abort_transaction if each % 3 == 0 else transactional.commit_transaction)(30)
    mirrored(source, destination, "same", [6000, 4000, 40])

    partitions = verdict(destination, "same")
    assert [each["records"] for each in partitions] == [6000, 4000, 40]
    assert [(each["from"], each["to"]) for each in partitions] == [(0, 6000), (0, 4000), (0, 40)]
    assert all(each["compared"] == "batches" and each["batches"] > 0 and each["first"] is None for each in partitions)
    # Record by record the transactions that were given up do not count, nor do markers.
    assert [each["records"] for each in verdict(destination, "same", "--records")] == [6000, 4000, 13]
    text = verify(destination, "same")
    assert "same" in text and "10040" in text

    part = verdict(destination, "same", "--from", "1000", "--to", "2000")
    assert [(each["from"], each["to"]) for each in part[:2]] == [(1000, 2000)] * 2
    assert 1000 <= part[0]["records"] < 6000
    seeded = [verdict(destination, "same", "--sample", "20%", "--seed", "7") for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert 0 < seeded[0][0]["records"] < 6000
    assert "--seed 7" in verify(destination, "same", "--sample", "20%", "--seed", "7")


def test_a_person_sees_how_far_it_is(source, destination):
    ours, theirs = pty.openpty()
    command = [str(binary()), "link", "verify", "link", "same", "-b", destination.bootstrap]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=60)
    assert done.returncode == 0
    assert b"MB read" in os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)


def test_again_and_again_until_something_differs(source, destination):
    source.create("watched", 1)
    produce(source, "watched", range_of(10))
    produce(source, "watched", ["the last"])
    mirrored(source, destination, "watched", [11])
    command = [str(binary()), "link", "verify", "link", "watched", "--every", "0.2", "--rate", "1000000", "-b", destination.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            assert "RESULT" in process.stdout.readline()
            assert process.stdout.readline().split() == ["watched", "1", "11", str(stored_bytes(source, "watched")), "batches", "same"]
        alter(destination, "watched", lambda batches: [sealed(batches[0][:-2] + b"x" + batches[0][-1:]), *batches[1:]])
        rest = process.stdout.read()
        assert process.wait(30) == 1
    assert "watched-0: offset " in rest and "the value" in rest


def stored_bytes(cluster, topic) -> int:
    [node] = cluster.nodes
    return sum(len(batch) for segment in node.data.glob(f"{topic}-0/*.log") for batch in batches_of(segment.read_bytes()))


def test_a_changed_value_is_named(source, destination):
    source.create("changed", 2)
    produce(source, "changed", [f"value {each}" for each in range(300)], partition=0)
    # The last batch is compared, and mended, by the link itself when it begins.
    produce(source, "changed", ["the last"], partition=0)
    produce(source, "changed", ["other"], partition=1)
    mirrored(source, destination, "changed", [301, 1])
    alter(destination, "changed", lambda batches: [sealed(each.replace(b"value 217", b"value 2l7")) for each in batches])
    partitions = verdict(destination, "changed", status=1)
    assert partitions[0]["differences"] == 1
    assert partitions[0]["first"] == {"offset": 217, "what": "the value", "source": '"value 217"', "here": '"value 2l7"'}
    assert partitions[1]["differences"] == 0
    text = verify(destination, "changed", status=1)
    assert 'changed-0: offset 217: the value: "value 217" at the source, "value 2l7" here' in text
    # What is not looked at does not differ.
    assert verdict(destination, "changed", "--from", "300")[0]["records"] == 1


def test_bytes_that_their_checksum_does_not_fit_are_named(source, destination):
    source.create("damaged", 1)
    produce(source, "damaged", ["whole and well"])
    mirrored(source, destination, "damaged", [1])
    alter(destination, "damaged", lambda batches: [each.replace(b"whole", b"whale") for each in batches])
    [partition] = verdict(destination, "damaged", status=1)
    assert partition["first"] == {"offset": 0, "what": "the bytes under the checksum", "source": "whole", "here": "damaged"}


def test_a_batch_that_is_missing_is_named(source, destination):
    source.create("missing", 1)
    produce(source, "missing", [f"{each}" for each in range(10)], single=True)
    mirrored(source, destination, "missing", [10])
    alter(destination, "missing", lambda batches: batches[:4] + batches[5:])
    [partition] = verdict(destination, "missing", status=1)
    assert partition["first"]["offset"] == 4 and partition["first"]["source"].startswith("batch 4-4 of 1 record")


def test_what_parted_after_a_failover_is_named(source, destination):
    source.create("parted", 1)
    produce(source, "parted", range_of(50))
    mirrored(source, destination, "parted", [50])
    martlet(destination, "link", "failover", "link", "parted")
    wait_mirror(destination, "parted", state="STOPPED", lag=None)
    produce(source, "parted", ["only there"] * 5, single=True)
    produce(destination, "parted", ["only here"] * 7, single=True)
    [partition] = verdict(destination, "parted", status=1)
    assert partition["first"]["offset"] == 50 and partition["differences"] == 5
    assert partition["first"]["source"] == '"only there"' and partition["first"]["here"] == '"only here"'
    # What clients wrote here since is no difference by itself.
    assert verdict(destination, "parted", "--to", "50")[0]["records"] == 50


def range_of(count):
    return [f"{each}" for each in range(count)]


def test_compacted_topics_are_compared_by_what_is_left(source, destination):
    source.create("compacted", 1, **{
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "300", "delete.retention.ms": "0",
        "max.compaction.lag.ms": "500"})
    for round_ in range(5):
        produce(source, "compacted", [(f"key {each}", f"{round_} of {each}") for each in range(100)])
    produce(source, "compacted", [(f"key {each}", None) for each in range(40, 50)])
    produce(source, "compacted", [("last", "one")])
    mirrored(source, destination, "compacted", [511])
    [node] = source.nodes

    def is_cleaned():
        # New segments are begun by what is written.
        produce(source, "compacted", [("last", "one")])
        return len(list(node.data.glob("compacted-0/*.log"))) >= 1 and stored_records(node, "compacted") < 200

    wait_until(is_cleaned, "the source is compacted", 60, 0.2)
    wait_mirror(destination, "compacted")
    assert stored_records(destination.nodes[0], "compacted") > 500
    for arguments in ([], ["--keys", "10"]):
        [partition] = verdict(destination, "compacted", *arguments)
        assert partition["compared"] == "records" and partition["records"] > 500

    # Nothing newer of the key is anywhere, and the source has it.
    alter(destination, "compacted", lambda batches: [without(each, b"4 of 77") for each in batches])
    for arguments in ([], ["--keys", "10"]):
        [partition] = verdict(destination, "compacted", *arguments, status=1)
        assert partition["differences"] == 1
        assert partition["first"]["what"] == "the newest record of its key"
        assert (partition["first"]["source"], partition["first"]["here"]) == ("there", "gone")


def without(batch: bytes, value: bytes) -> bytes:
    """An uncompressed batch without the record of a value."""
    if value not in batch:
        return batch
    records, position = [], 61
    while position < len(batch):
        size, shift, start = 0, 0, position
        while True:
            byte = batch[position]
            size |= (byte & 0x7F) << shift
            shift, position = shift + 7, position + 1
            if byte < 0x80:
                break
        position += size >> 1
        records.append(batch[start:position])
    left = [each for each in records if value not in each]
    assert len(left) == len(records) - 1
    return sealed(batch[:57] + len(left).to_bytes(4, "big") + b"".join(left))


def stored_records(node, topic) -> int:
    return sum(
        int.from_bytes(batch[57:61], "big") for segment in node.data.glob(f"{topic}-0/*.log") for batch in batches_of(segment.read_bytes()))


def test_an_end_beyond_the_source_is_a_difference(source, destination):
    source.create("beyond", 1)
    produce(source, "beyond", range_of(10), single=True)
    mirrored(source, destination, "beyond", [10])

    def longer(batches):
        last = batches[-1]
        return batches + [(10).to_bytes(8, "big") + last[8:]]

    martlet(destination, "link", "pause", "link", "beyond")
    alter(destination, "beyond", longer)
    [partition] = verdict(destination, "beyond", status=1)
    assert partition["first"] == {"offset": 10, "what": "the end", "source": "10", "here": "11"}


def test_mistakes_are_told(source, destination):
    for arguments, words in [
        (["nowhere"], "no mirror topic of link"), (["--source-bootstrap-server", destination.bootstrap], "the source of link 'link' is"),
        (["--source-bootstrap-server", "127.0.0.1:1"], "cannot be reached"),
    ]:
        done = martlet(destination, "link", "verify", "link", *arguments, check=False)
        assert done.returncode == 1 and words in done.stderr, done.stderr
    done = martlet(destination, "link", "verify", "no-link", check=False)
    assert done.returncode == 1 and "there is no link" in done.stderr
    assert martlet(destination, "link", "verify", "link", "same", "--sample", "0%", check=False).returncode == 64


def test_a_source_that_wants_a_login(destination, tmp_path):
    with SecuredSource() as source:
        source.create("closely", 1)
        produce(source, "closely", range_of(20), **source.login)
        link_file = tmp_path / "link.properties"
        link_file.write_text("".join(f"{key}={value}\n" for key, value in source.login.items()))
        martlet(
            destination, "link", "create", "secured", "--bootstrap", source.bootstrap, "--config", link_file, "--set",
            "topic.config.sync.ms=500")
        martlet(destination, "link", "mirror", "secured", "closely")
        wait_end(destination, "closely", 20)
        # The link does not show its password.
        refused = martlet(destination, "link", "verify", "secured", check=False)
        assert refused.returncode == 1 and "--source-command-config names a file" in refused.stderr
        secret = tmp_path / "secret.properties"
        secret.write_text(f"sasl.password={source.login['sasl.password']}\n")
        for command in (["verify", "secured"], ["drift", "secured", "--only", "topics"]):
            martlet(destination, "link", *command, "--source-command-config", secret)


class SecuredSource(Cluster):
    """One node whose clients log in with SCRAM."""

    login = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "admin", "sasl.password": "admin-secret"}

    def __init__(self):
        super().__init__(1, proxied=False, cluster_id="c2VjdXJlZC1jbHVzdGVyMQ", settings={
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "listener.name.plaintext.sasl.enabled.mechanisms": "SCRAM-SHA-256"})

    def start(self, seconds: float = 60):
        [node] = self.nodes
        node.format("--add-scram", "SCRAM-SHA-256=[name=admin,password=admin-secret]")
        node.start().wait_ready(seconds)
        self.wait_whole(seconds)
        return self

    def admin(self):
        return AdminClient({"bootstrap.servers": self.bootstrap, **QUIET, **self.login})
