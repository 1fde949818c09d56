"""Apache Kafka's share consumer and its kafka-share-groups tool (KIP-932, from 4.1 on) against one node of Martlet; and the state that a
node of Kafka wrote of share groups, read by Martlet."""

import os
import re
import subprocess
import sys
import time

import pytest

from broker import Broker, wait_until
from kafka_nodes import HEAP, KAFKA_DIRECTORY, kafka_program, kafka_release

SETTINGS = {
    "share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "5", "offsets.topic.num.partitions": "5",
    "group.share.heartbeat.interval.ms": "500", "group.share.min.heartbeat.interval.ms": "100",
    "group.share.min.session.timeout.ms": "1000", "group.share.session.timeout.ms": "6000",
    "group.share.min.record.lock.duration.ms": "1000",
}

pytestmark = pytest.mark.skipif(
    KAFKA_DIRECTORY is None or not any((KAFKA_DIRECTORY / "bin" / f"kafka-share-groups{end}").exists() for end in ("", ".sh")),
    reason="this Apache Kafka has no share groups")


@pytest.fixture(scope="module")
def node():
    with Broker(SETTINGS, features=("share.version=1",)) as node:
        yield node
        assert node.is_running(), f"the broker died during the tests:\n{node.log()[-4000:]}"


def tool(node: Broker, name: str, *arguments: str, stdin: str = "", check: bool = True, seconds: float = 90) -> str:
    done = subprocess.run(
        [kafka_program(f"kafka-{name}", f"kafka-{name}.sh"), "--bootstrap-server", node.bootstrap, *arguments], input=stdin,
        capture_output=True, text=True, timeout=seconds, env={**os.environ, **HEAP})
    assert not check or done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
    return done.stdout + ("" if check else done.stderr)


def create(node: Broker, topic: str, group: str, values: list[str], partitions: int = 1) -> None:
    tool(node, "topics", "--create", "--topic", topic, "--partitions", str(partitions))
    tool(node, "configs", "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest")
    tool(node, "console-producer", "--topic", topic, stdin="".join(f"{value}\n" for value in values))


def consume(node: Broker, topic: str, group: str, *options: str, count: int | None = None, milliseconds: int = 30_000) -> list[str]:
    limit = ["--max-messages", str(count)] if count else []
    text = tool(
        node, "console-share-consumer", "--topic", topic, "--group", group, "--timeout-ms", str(milliseconds), *limit, *options)
    return [line for line in text.splitlines() if line]


def described(node: Broker, group: str, *options: str) -> str:
    return tool(node, "share-groups", "--describe", "--group", group, *options)


def offsets(node: Broker, group: str) -> list[str]:
    """Start offset and, where the tool shows it, lag of each partition."""
    lines = [line.split() for line in described(node, group, "--offsets").splitlines() if line.startswith(group)]
    return [line[3] for line in lines]


def test_the_console_share_consumer_reads_everything_once(node):
    values = [f"value {number}" for number in range(500)]
    create(node, "share-console", "console", values, partitions=3)
    assert sorted(consume(node, "share-console", "console", count=500)) == sorted(values)
    assert consume(node, "share-console", "console", milliseconds=4_000) == []


def test_released_records_come_again_and_rejected_ones_do_not(node):
    create(node, "share-again", "again", ["one", "two"])
    first = consume(node, "share-again", "again", "--release", count=2)
    assert sorted(first) == ["one", "two"]
    assert sorted(consume(node, "share-again", "again", "--reject", count=2)) == ["one", "two"]
    assert consume(node, "share-again", "again", milliseconds=4_000) == []


def test_two_share_consumers_at_a_time(node):
    values = [f"value {number}" for number in range(2_000)]
    create(node, "share-two", "two", values)
    command = [
        kafka_program("kafka-console-share-consumer", "kafka-console-share-consumer.sh"), "--bootstrap-server", node.bootstrap,
        "--topic", "share-two", "--group", "two", "--timeout-ms", "8000"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **HEAP})
        for _ in range(2)]
    texts = [process.communicate(timeout=120)[0].splitlines() for process in running]
    assert sorted(texts[0] + texts[1]) == sorted(values)


def test_the_share_groups_tool(node):
    create(node, "share-tool", "tool", ["a", "b", "c", "d"])
    consume(node, "share-tool", "tool", count=4)
    wait_until(lambda: "Empty" in described(node, "tool", "--state"), "the group is empty")
    assert "tool" in tool(node, "share-groups", "--list").split()
    assert re.search(r"tool\s+Empty", tool(node, "share-groups", "--list", "--state"))
    # As Apache Kafka: what was stored last began at the record that was then the first, though all four are done.
    assert offsets(node, "tool") == ["0"]
    assert consume(node, "share-tool", "tool", milliseconds=3_000) == []
    wait_until(lambda: "Empty" in described(node, "tool", "--state"), "the group is empty again")
    tool(node, "share-groups", "--delete-offsets", "--group", "tool", "--topic", "share-tool")
    assert offsets(node, "tool") == []
    tool(node, "share-groups", "--delete", "--group", "tool")
    assert "tool" not in tool(node, "share-groups", "--list").split()


def test_members_are_described(node):
    create(node, "share-members", "members", ["a"], partitions=2)
    consumer = subprocess.Popen(
        [kafka_program("kafka-console-share-consumer", "kafka-console-share-consumer.sh"), "--bootstrap-server", node.bootstrap,
         "--topic", "share-members", "--group", "members"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **HEAP})
    try:
        assert consumer.stdout.readline() == "a\n"
        text = described(node, "members", "--members")
        assert "share-members:0,1" in text
        assert "is not EMPTY" in tool(node, "share-groups", "--delete", "--group", "members", check=False)
    finally:
        consumer.terminate()
        consumer.wait(30)
