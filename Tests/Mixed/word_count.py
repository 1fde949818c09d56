"""A Kafka Streams application that counts words with the newest group protocol, what it reads and what it has counted."""

import collections
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from broker import wait_until
from confluent import consumer, producer
from kafka_nodes import KAFKA_DIRECTORY, kafka_release

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
