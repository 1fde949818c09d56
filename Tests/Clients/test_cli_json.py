"""Every command that has a result prints JSON when asked to: one document, or a document a line where results stream."""

import json

import pytest

from test_cli import lines, martlet


@pytest.fixture
def run(bootstrap):
    return lambda *arguments, **options: martlet(*arguments, bootstrap=bootstrap, **options)


@pytest.fixture
def document(run):
    """Runs with --json; the whole output is one document and there is nothing on standard error."""

    def parse(*arguments, **options):
        done = run(*arguments, "--json", **options)
        assert done.stderr == ""
        return json.loads(done.stdout)

    return parse


def test_changes_of_topics(document, run, name):
    [created] = document("topic", "create", name)
    assert created["topic"] == name
    altered = document("topic", "alter", name, "-p", 3, "-c", "retention.ms=1000", "--delete-config", "max.message.bytes")
    assert altered == {"topic": name, "partitions": 3, "set": ["retention.ms"], "deleted": ["max.message.bytes"]}
    assert document("topic", "alter", name, "-c", "retention.ms=2000")["partitions"] == 3
    assert document("produce", name, stdin="a\nb\n") == {"topic": name, "records": 2, "bytes": 2}
    assert {item["partition"] for item in document("topic", "delete-records", name, "--before", "end", "--yes")} == {
        f"{name}-{number}" for number in range(3)}
    assert document("topic", "create", name, "--if-not-exists") == []
    assert document("topic", "delete", name, "--yes") == [{"topic": name}]
    assert document("topic", "delete", name, "--yes", "--if-exists") == []
    failed = run("topic", "create", "not/legal", "--json", check=False)
    assert failed.returncode == 1 and json.loads(failed.stdout)[0]["error"] == "INVALID_TOPIC_EXCEPTION"


def test_changes_of_settings(document, name):
    document("topic", "create", name)
    changed = document("config", "set", "-t", name, "retention.ms=1000", "cleanup.policy=delete")
    assert changed == {
        "resource": f"topic {name}", "operation": "set", "settings": ["retention.ms", "cleanup.policy"], "executed": True}
    assert document("config", "set", "-t", name, "--append", "--dry-run", "cleanup.policy=compact") == {
        "resource": f"topic {name}", "operation": "append", "settings": ["cleanup.policy"], "executed": False}
    assert document("config", "delete", "-t", name, "retention.ms") == {
        "resource": f"topic {name}", "operation": "delete", "settings": ["retention.ms"], "executed": True}
    assert [setting["value"] for setting in document("config", "describe", "-t", name, "cleanup.policy")] == ["delete"]


def test_changes_of_groups(document, run, name):
    for topic in [name, name + "-2"]:
        run("topic", "create", topic)
        run("produce", topic, stdin="a\nb\n")
        for group in [f"{name}-g", f"{name}-h"]:
            run("consume", topic, "--group", group, "--from", "beginning", "-n", 2)
    groups = [f"{name}-g", f"{name}-h"]
    forgotten = document("group", "delete", *groups, "--topic", name, "--yes")
    assert forgotten == [{"partition": f"{name}-0", "group": group} for group in groups]
    nothing = run("group", "delete", groups[0], "--topic", name, "--yes", "--json", check=False)
    assert nothing.returncode == 1 and "has no offsets of" in nothing.stderr
    moved = document("group", "reset-offsets", groups[0], "--topic", name + "-2", "--to", "beginning", "--execute")
    assert moved["executed"] is True and moved["offsets"][0]["to"] == 0
    assert {row["topic"] for row in document("group", "describe", groups[0])[0]["offsets"]} == {name + "-2"}
    assert document("group", "delete", *groups, "--yes") == [{"group": group} for group in groups]


def test_what_looks_at_a_cluster(document):
    assert document("cluster", "describe")["brokers"]
    for arguments in [("features",), ("log-dirs",), ("log-dirs", "--partitions")]:
        assert isinstance(document("cluster", *arguments), list)
    assert document("cluster", "features", "--set", "group.version=1", "--dry-run")
    assert document("cluster", "quorum")["voters"]
    assert len(document("cluster", "random-id")["id"]) == 22
    assert document("doctor")["ok"]
    assert isinstance(document("group", "list"), list)


def test_benchmarks(document, name):
    assert document("bench", "produce", name, "-n", 100)["records"] == 100
    assert document("bench", "consume", name)["records"] == 100
    assert document("bench", "end-to-end", name, "--seconds", 0.5, "--rate", 100)["records"] == 50


def test_streams(run, broker, name):
    run("topic", "create", name)
    run("produce", name, stdin="a\nb\n")
    assert [record["value"] for record in lines(run("consume", name, "--from", "beginning", "-e", "--json").stdout)] == ["a", "b"]
    kinds = {line["kind"] for line in lines(run("log", "dump", broker.data / f"{name}-0", "--json").stdout)}
    assert {"batch", "record"} <= kinds
