"""`martlet drill --topics … --for-real`: clusters change with topics that clients work on; what they saw is measured, and every step can be broken
off and gone on with."""

import json
import re
import signal
import subprocess
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from broker import binary
from commands import martlet, martlet_json
from links import destination_cluster, link, wait_mirror
from nodes import wait_until


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(1) as cluster:
        link(cluster, source, "link", topic_config_sync_ms=500)
        yield cluster


def mirrored(source, destination, *topics):
    for topic in topics:
        martlet(source, "topic", "create", topic, "--partitions", "2")
    martlet(destination, "link", "mirror", "link", *topics)
    for topic in topics:
        wait_mirror(destination, topic)


class Writer:
    """Writes numbered records to a topic without pause, to whichever of two clusters takes them, as a service that fails over does."""

    def __init__(self, topic, *clusters):
        self.topic, self.clusters = topic, clusters
        self.acknowledged: list[tuple[int, str]] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: len(self.acknowledged) > 20, "the writer has begun", 20, 0.05)
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join(30)

    def work(self):
        producers = {}
        side, number = 0, 0
        while not self.stopped.is_set():
            producer = producers.get(side) or producers.setdefault(
                side, Producer({"bootstrap.servers": self.clusters[side].bootstrap, "acks": "all", "message.timeout.ms": 1000,
                                "logger": silent()}))
            outcome = []
            producer.produce(self.topic, str(number), partition=number % 2, on_delivery=lambda error, message: outcome.append(error))
            producer.flush(3)
            if outcome and outcome[0] is None:
                self.acknowledged.append((number, self.clusters[side].bootstrap))
                number += 1
            else:
                del producers[side]
                side = 1 - side
            time.sleep(0.002)

    def wait_on(self, cluster, more=10):
        before = len(self.acknowledged)
        wait_until(lambda: sum(each[1] == cluster.bootstrap for each in self.acknowledged[before:]) >= more,
                   f"records are acknowledged by {cluster}", 30, 0.05)


def silent():
    import logging
    logger = logging.getLogger("writer")
    logger.disabled = True
    return logger


def read(cluster, topic):
    """All values of a topic, and the headers of those that are not numbers."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": f"reader-{time.time()}", "auto.offset.reset": "earliest",
                         "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0), TopicPartition(topic, 1, 0)])
    numbers, others, ends = [], [], 0
    while ends < 2:
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ends += 1
        elif message.headers():
            others.append(message.headers())
        else:
            numbers.append(int(message.value()))
    consumer.close()
    return numbers, others


def drill(destination, tmp_path, kind, topics, *arguments, check=True):
    done = martlet(
        destination, "drill", kind, "--link", "link", "--topics", topics, "--seconds", "4", "--for-real", "--yes", "--json",
        "--report", tmp_path / "report.md", *arguments, check=check)
    if check:
        assert json.loads((tmp_path / "report.json").read_text()) == json.loads(done.stdout)
    return json.loads(done.stdout) if done.stdout else {}


def takes(report):
    return {each["topic"]: each["after"]["takesWrites"] for each in report["topics"]}


def test_nothing_happens_without_being_told_so(source, destination):
    mirrored(source, destination, "planned-a", "planned-b")
    [first, second] = martlet_json(destination, "drill", "switchover", "--link", "link", "--topics", "planned-*")
    assert [first["topic"], second["topic"]] == ["planned-a", "planned-b"]
    assert first["steps"] == ["promote here"] and first["behind"] == 0 and first["refusal"] is None
    # Nobody is there to type the link's name.
    done = martlet(destination, "drill", "switchover", "--link", "link", "--topics", "planned-*", "--for-real", check=False)
    assert done.returncode == 1 and "--yes" in done.stderr and "nothing was changed" in done.stderr
    # One that cannot take part keeps all from it.
    martlet(destination, "link", "pause", "link", "planned-b")
    done = martlet(destination, "drill", "switchover", "--link", "link", "--topics", "planned-*", "--for-real", "--yes", check=False)
    assert done.returncode == 1 and "PAUSED" in done.stderr and "nothing was changed" in done.stderr
    assert wait_mirror(destination, "planned-a")
    for arguments, words in ((["--topics", "none"], "is no mirror topic"), (["--topics", "planned-a", "--producers-stopped"], None)):
        done = martlet(destination, "drill", "switchover", "--link", "link", *arguments, check=False)
        assert (done.returncode == 1 and words in done.stderr) if words else done.returncode == 0
    assert martlet(destination, "drill", "switchover", "--link", "link", "--for-real", check=False).returncode == 64


def test_over_and_back_with_real_clients_loses_nothing(source, destination, tmp_path):
    mirrored(source, destination, "orders", "bills")
    with Writer("orders", source, destination) as orders, Writer("bills", source, destination) as bills:
        over = drill(destination, tmp_path, "switchover", "orders,bills")
        assert over["passed"] and over["problems"] == [] and over["measuredBy"] == "observation"
        assert [each["step"] for each in over["steps"]] == ["promote here"]
        assert over["rpo"]["records"] == 0 and 0 < over["rtoSeconds"] < 10 and over["duplicates"] is None
        assert over["steps"][0]["partitionsWrittenBefore"] == over["steps"][0]["partitionsWrittenAfter"] == 4
        assert takes(over) == {"orders": ["here"], "bills": ["here"]}
        assert "for real: passed" in (tmp_path / "report.md").read_text()
        orders.wait_on(destination)
        # What is done already is not done again.
        assert [each["steps"] for each in martlet_json(destination, "drill", "switchover", "--link", "link", "--topics", "orders,bills")] \
            == [[], []]
        back = drill(destination, tmp_path, "failback", "orders,bills", "--return-bootstrap-server", destination.bootstrap)
        assert back["passed"], back["problems"]
        assert [each["step"] for each in back["steps"]] == ["restore the old source", "promote the old source", "restore here"]
        assert back["rpo"]["records"] == 0 and 0 < back["rtoSeconds"] < 10
        assert takes(back) == {"orders": ["source"], "bills": ["source"]}
        orders.wait_on(source)
        bills.wait_on(source)
    # Everything is as it was: the mirrors follow, the link back is gone.
    for topic, writer in (("orders", orders), ("bills", bills)):
        wait_mirror(destination, topic)
        numbers, _ = read(source, topic)
        assert {number for number, _ in writer.acknowledged} <= set(numbers)
        assert read(destination, topic)[0] == numbers
    assert martlet_json(source, "link", "list") == []


def test_a_failover_closes_the_source_and_says_what_is_lost(source, destination, tmp_path):
    mirrored(source, destination, "failing")
    with Writer("failing", source, destination) as writer:
        report = drill(destination, tmp_path, "failover", "failing")
        assert report["passed"], report["problems"]
        assert [each["step"] for each in report["steps"]] == ["fence the source", "fail over here"]
        assert takes(report) == {"failing": ["here"]}
        assert 0 < report["rtoSeconds"] < 10 and report["exposureRecords"] >= 0
        writer.wait_on(destination)
    numbers, _ = read(destination, "failing")
    missing = {number for number, _ in writer.acknowledged} - set(numbers)
    assert len(missing) == report["rpo"]["records"]
    # The source is closed: nobody goes on writing to a cluster that has been left.
    producer = Producer({"bootstrap.servers": source.bootstrap, "message.timeout.ms": 2000, "logger": silent()})
    errors = []
    producer.produce("failing", "late", on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    assert errors and errors[0] is not None


def test_what_was_not_fetched_is_counted(source, destination, tmp_path):
    """The mirror lags behind because its link is slow: what it does not have when it takes over is lost, and found by comparing both logs."""
    mirrored(source, destination, "behind")
    martlet(destination, "link", "config", "link", "cluster.link.bytes.per.second=2000")
    try:
        with Writer("behind", source, destination) as writer:
            wait_until(lambda: martlet_json(destination, "drill", "failover", "--link", "link", "--topics", "behind")[0]["behind"] > 100,
                       "the mirror is behind", 30, 0.1)
            report = drill(destination, tmp_path, "failover", "behind")
            assert report["passed"], report["problems"]
            writer.wait_on(destination)
    finally:
        martlet(destination, "link", "config", "link", "--delete", "cluster.link.bytes.per.second")
    numbers, _ = read(destination, "behind")
    missing = {number for number, _ in writer.acknowledged} - set(numbers)
    assert len(missing) == report["rpo"]["records"] > 0
    assert report["exposureRecords"] > 0 and report["rpo"]["seconds"] > 0


def test_probes_are_marked_and_counted(source, destination, tmp_path):
    mirrored(source, destination, "probed")
    report = drill(destination, tmp_path, "switchover", "probed", "--probe", "--rate", "200")
    assert report["passed"], report["problems"]
    assert report["measuredBy"] == "probes" and report["probe"]["acknowledged"] > 50
    assert report["duplicates"] == 0 and report["probe"]["lost"] == 0 and 0 < report["rtoSeconds"] < 10
    numbers, others = read(destination, "probed")
    assert numbers == [] and len(others) == report["probe"]["acknowledged"]
    assert all(headers == [("martlet-drill", b"link")] for headers in others)
    # A compacted topic would keep them for ever.
    martlet(source, "topic", "create", "compacted", "--partitions", "1", "--config", "cleanup.policy=compact")
    martlet(destination, "link", "mirror", "link", "compacted")
    wait_mirror(destination, "compacted")
    done = martlet(destination, "drill", "switchover", "--link", "link", "--topics", "compacted", "--for-real", "--yes", "--probe", check=False)
    assert done.returncode == 1 and "is compacted" in done.stderr


@pytest.mark.parametrize("after", ["restore the old source", "promote the old source", "restore here"])
def test_a_drill_that_was_killed_goes_on_when_it_is_said_again(source, destination, tmp_path, after):
    topic = "killed-" + re.sub(" .*", "", after) + after[-4:]
    mirrored(source, destination, topic)
    with Writer(topic, source, destination) as writer:
        drill(destination, tmp_path, "switchover", topic)
        writer.wait_on(destination)
        process = subprocess.Popen(
            [str(binary()), "drill", "failback", "--link", "link", "--topics", topic, "--for-real", "--yes", "--seconds", "4",
             "--return-bootstrap-server", destination.bootstrap, "-b", destination.bootstrap],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if line.startswith(after):
                break
        else:
            raise AssertionError(f"the drill never came to '{after}'")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        report = drill(destination, tmp_path, "failback", topic, "--return-bootstrap-server", destination.bootstrap, check=False)
        if report and "steps" in report:
            assert report["passed"], report["problems"]
            assert takes(report) == {topic: ["source"]}
        writer.wait_on(source)
    wait_mirror(destination, topic)
    numbers, _ = read(source, topic)
    assert {number for number, _ in writer.acknowledged} <= set(numbers)
