"""Kafka Streams with its newest group protocol (`group.protocol=streams`, KIP-1071): a real application, exactly once, whose group Martlet
coordinates, through joins, losses, copies of state and restarts of the broker."""

import collections
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import topics
from broker import Broker, binary, wait_until
from confluent import consumer, producer
from kafka_nodes import KAFKA_DIRECTORY, kafka_release, kafka_tool

SETTINGS = {
    "group.streams.min.heartbeat.interval.ms": "100", "group.streams.heartbeat.interval.ms": "300",
    "group.streams.min.session.timeout.ms": "1000", "group.streams.session.timeout.ms": "5000",
    "group.streams.initial.rebalance.delay.ms": "0", "group.streams.assignment.interval.ms": "0",
    "offsets.topic.num.partitions": "1", "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
}
INPUT, OUTPUT, APPLICATION = "lines", "counts", "word-count"
TASKS = {"0_0", "0_1", "0_2", "1_0", "1_1", "1_2"}


def class_path() -> str | None:
    """A distribution has Kafka Streams beside the rest; MARTLET_KAFKA_STREAMS names a jar of it for one that has not."""
    jars = f"{KAFKA_DIRECTORY}/libs/*"
    if extra := os.environ.get("MARTLET_KAFKA_STREAMS"):
        return f"{extra}:{jars}"
    return jars if list((KAFKA_DIRECTORY / "libs").glob("kafka-streams-[0-9]*.jar")) else None


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> str:
    path = class_path()
    if path is None or shutil.which("javac") is None:
        pytest.skip("there is no Kafka Streams, or no javac")
    if kafka_release().startswith("3."):
        pytest.skip("this Apache Kafka has no streams groups")
    directory = tmp_path_factory.mktemp("word-count")
    source = Path(__file__).with_name("WordCount.java")
    subprocess.run(["javac", "-cp", path, "-d", str(directory), str(source)], check=True, capture_output=True, timeout=180)
    return f"{directory}:{path}"


@pytest.fixture(scope="module")
def broker():
    with Broker(SETTINGS) as broker:
        # New clusters begin with a metadata.version of before it.
        martlet(broker, "cluster", "features", "--set", "streams.version=1", "--bootstrap-server", broker.bootstrap)
        yield broker
        assert broker.is_running(), f"the broker died during the tests:\n{broker.log()[-4000:]}"


class Application:
    """One instance of the application."""

    def __init__(self, classes: str, bootstrap: str, directory: Path, threads: int = 1):
        directory.mkdir(parents=True, exist_ok=True)
        self.errors = open(directory / "errors.log", "ab")
        self.directory = directory
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes, "WordCount", bootstrap, APPLICATION,
             INPUT, OUTPUT, str(directory / "state"), str(threads), "processing.guarantee=exactly_once_v2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def tasks(self) -> list[str]:
        """`0_1` for a task that it runs, `standby:0_1` for a copy of one's state."""
        assert self.process.poll() is None, f"the application ended:\n{self.problems()}"
        before = len(self.lines)
        self.process.stdin.write("tasks\n")
        self.process.stdin.flush()
        wait_until(lambda: any(line.startswith("tasks") for line in self.lines[before:]), "the application tells its tasks")
        return next(line for line in self.lines[before:] if line.startswith("tasks")).split()[1:]

    def problems(self) -> str:
        return "\n".join(self.lines[-20:]) + "\n" + (self.directory / "errors.log").read_text()[-4000:]

    def stop(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(60) == 0, self.problems()
        assert "closed" in self.lines[-3:]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)


def active(applications) -> list[str]:
    return sorted(task for each in applications for task in each.tasks() if not task.startswith("standby:"))


def copies(applications) -> list[str]:
    return sorted(task.removeprefix("standby:") for each in applications for task in each.tasks() if task.startswith("standby:"))


class Counts:
    """The newest count of each word, read as the application writes them."""

    def __init__(self, bootstrap: str):
        self.consumer = consumer(bootstrap, "reader-of-counts")
        self.consumer.subscribe([OUTPUT])
        self.newest: dict[str, int] = {}

    def become(self, expected: dict[str, int], seconds: float = 60) -> None:
        def look() -> bool:
            for message in self.consumer.consume(500, timeout=0.2):
                if not message.error():
                    self.newest[message.key().decode()] = int(message.value())
            return self.newest == expected

        try:
            wait_until(look, "the counts are right", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.newest} instead of {expected}") from None


class Text:
    """What has been written, and how often each word is in it."""

    def __init__(self, bootstrap: str):
        self.producer = producer(bootstrap)
        self.counts: collections.Counter = collections.Counter()
        self.number = 0

    def write(self, lines: int) -> dict[str, int]:
        for _ in range(lines):
            words = [f"w{(self.number * 7 + index) % 23}" for index in range(4)]
            self.producer.produce(INPUT, " ".join(words).encode(), key=str(self.number).encode())
            self.counts.update(words)
            self.number += 1
        assert self.producer.flush(30) == 0
        return dict(self.counts)


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
