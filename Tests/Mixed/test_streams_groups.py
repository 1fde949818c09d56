"""Kafka Streams with its newest group protocol (`group.protocol=streams`, KIP-1071): a real application, exactly once, whose group Martlet
coordinates, through joins, losses, copies of state and restarts of the broker."""

import re
import subprocess

import pytest

import topics
from broker import Broker, binary, wait_until
from kafka_nodes import kafka_tool
from word_count import APPLICATION, INPUT, OUTPUT, TASKS, Application, Counts, Text, active, classes, copies  # noqa: F401

SETTINGS = {
    "group.streams.min.heartbeat.interval.ms": "100", "group.streams.heartbeat.interval.ms": "300",
    "group.streams.min.session.timeout.ms": "1000", "group.streams.session.timeout.ms": "5000",
    "group.streams.initial.rebalance.delay.ms": "0", "group.streams.assignment.interval.ms": "0",
    "offsets.topic.num.partitions": "1", "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
}


@pytest.fixture(scope="module")
def broker():
    with Broker(SETTINGS) as broker:
        # New clusters begin with a metadata.version of before it.
        martlet(broker, "cluster", "features", "--set", "streams.version=1", "--bootstrap-server", broker.bootstrap)
        yield broker
        assert broker.is_running(), f"the broker died during the tests:\n{broker.log()[-4000:]}"


def martlet(broker, *arguments: str) -> str:
    done = subprocess.run([str(binary()), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def describe(broker) -> str:
    return martlet(broker, "group", "describe", APPLICATION, "--bootstrap-server", broker.bootstrap)


def test_an_application_counts_words(broker, classes, tmp_path):
    topics.create(broker.bootstrap, INPUT, partitions=3)
    topics.create(broker.bootstrap, OUTPUT, partitions=1)
    text, counts = Text(broker.bootstrap), Counts(broker.bootstrap)
    first = Application(classes, broker.bootstrap, tmp_path / "first", threads=2)
    applications = [first]
    try:
        wait_until(lambda: "state RUNNING" in first.lines, "the application runs", 60)
        wait_until(lambda: set(active(applications)) == TASKS, "it runs every task", 60)
        counts.become(text.write(300))
        made = {name for name in topics.names(broker.bootstrap) if name.startswith(APPLICATION)}
        assert made == {f"{APPLICATION}-counts-changelog", f"{APPLICATION}-words-repartition"}, made

        # A second instance takes its share, with nothing lost or counted twice.
        second = Application(classes, broker.bootstrap, tmp_path / "second")
        applications.append(second)
        wait_until(
            lambda: len(active([second])) == 2 and active(applications) == sorted(TASKS), "each of three threads has two tasks", 60)
        counts.become(text.write(300))

        # Copies of the state, when the group is told to have some.
        martlet(
            broker, "config", "set", "--group", APPLICATION, "streams.num.standby.replicas=1", "--bootstrap-server", broker.bootstrap)
        wait_until(lambda: copies(applications) == ["1_0", "1_1", "1_2"], "every task with state has a copy", 60)
        shown = describe(broker)
        assert re.search(rf"Group {APPLICATION}  Stable  .*assignor sticky  3 members", shown), shown
        assert f"{APPLICATION}-words-repartition" in shown and INPUT in shown
        counts.become(text.write(300))

        # The broker goes and comes back: the group goes on with the epochs and tasks that it had.
        broker.kill()
        broker.start()
        counts.become(text.write(300))
        wait_until(lambda: set(active(applications)) == TASKS, "all tasks run after the restart", 60)

        # An instance that is killed loses its tasks when its session ends.
        second.kill()
        applications.remove(second)
        wait_until(lambda: set(active(applications)) == TASKS, "the first instance takes all", 60)
        counts.become(text.write(300))
        history = martlet(broker, "group", "history", APPLICATION, "--admin", f"127.0.0.1:{broker.admin_port}")
        assert "session timed out" in history, history
        first.stop()
        applications.clear()
        wait_until(lambda: " Empty " in describe(broker), "the group is empty", 30)
    finally:
        for each in applications:
            each.kill()


def test_kafka_reads_the_records(broker, classes):
    """Apache Kafka's tool decodes what the group left in the log."""
    if not describe(broker):
        pytest.skip("the test before has not run")
    broker.stop()
    segments = sorted((broker.data / "__consumer_offsets-0").glob("*.log"))
    dumped = kafka_tool("dump-log", "--offsets-decoder", "--files", ",".join(map(str, segments)))
    broker.start()
    for kind in (17, 19, 20, 21, 22, 23):
        found = [line for line in dumped.splitlines() if f'"type":"{kind}"' in line or f'"type":{kind},' in line]
        assert found, f"records of type {kind} are missing or were not understood:\n{dumped[-2000:]}"


def test_an_empty_group_is_deleted(broker):
    assert APPLICATION in martlet(broker, "group", "list", "--bootstrap-server", broker.bootstrap)
    martlet(broker, "group", "delete", APPLICATION, "--yes", "--bootstrap-server", broker.bootstrap)
    assert APPLICATION not in martlet(broker, "group", "list", "--bootstrap-server", broker.bootstrap)
