"""The command line, through the real binary: what it prints, what it returns, what it changes."""

import json
import os
import subprocess

import pytest

from broker import binary, free_port


def martlet(*arguments, bootstrap=None, stdin=None, check=True, timeout=60) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "MARTLET_"))}
    if bootstrap:
        environment["MARTLET_BOOTSTRAP_SERVER"] = bootstrap
    done = subprocess.run(
        [str(binary()), *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=timeout, env=environment)
    if check:
        assert done.returncode == 0, f"martlet {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture
def run(bootstrap):
    return lambda *arguments, **options: martlet(*arguments, bootstrap=bootstrap, **options)


@pytest.fixture
def run_json(run):
    return lambda *arguments, **options: json.loads(run(*arguments, "--json", **options).stdout)


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# The binary itself


def test_version_and_help():
    assert martlet("--version").stdout.strip()
    overview = martlet("--help").stdout
    for command in ["dev", "server", "format", "log", "topic", "produce", "consume", "group", "config", "cluster", "doctor", "bench"]:
        assert f"\n  {command} " in overview


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell):
    assert "delete-records" in martlet(f"--generate-completion-script={shell}").stdout


def test_wrong_usage_is_64():
    assert martlet("topic", "create", check=False).returncode == 64
    assert martlet("consume", "t", "--from", "yesterday-ish", check=False).returncode == 64
    assert martlet("consume", "t", "--format", "%q", check=False).returncode == 64
    assert martlet("no-such-command", check=False).returncode == 64


def test_nobody_listens():
    done = martlet("topic", "list", "-b", f"127.0.0.1:{free_port()}", check=False)
    assert done.returncode == 1
    assert "no broker listens on" in done.stderr and "martlet dev" in done.stderr


# Topics


def test_topic_life(run, run_json, name):
    created = run_json("topic", "create", name, "-p", 3, "-c", "retention.ms=86400000")
    assert created[0]["topic"] == name and created[0]["partitions"] == 3
    again = run("topic", "create", name, check=False)
    assert again.returncode == 1 and "TOPIC_ALREADY_EXISTS" in again.stderr
    run("topic", "create", name, "--if-not-exists")
    assert name in {topic["topic"] for topic in run_json("topic", "list")}
    assert name in run("topic", "list").stdout
    run("topic", "alter", name, "-p", 5, "-c", "max.message.bytes=2000", "--delete-config", "retention.ms")
    [described] = run_json("topic", "describe", name)
    assert len(described["partitions"]) == 5
    assert described["configs"]["max.message.bytes"] == "2000" and "retention.ms" not in described["configs"]
    assert "Deleted" in run("topic", "delete", name, "--yes").stdout
    assert run("topic", "describe", name, check=False).returncode == 1
    run("topic", "delete", name, "--yes", "--if-exists")
    for arguments in [("topic", "delete", name, "--yes"), ("topic", "alter", name, "-p", 9), ("config", "set", "-t", name, "retention.ms=1")]:
        assert run(*arguments, check=False, timeout=10).returncode == 1


def test_dry_run_creates_nothing(run, run_json, name):
    run("topic", "create", name, "--dry-run")
    assert name not in {topic["topic"] for topic in run_json("topic", "list")}


def test_delete_records(run, run_json, name):
    run("topic", "create", name)
    run("produce", name, stdin="a\nb\nc\n")
    assert run_json("topic", "delete-records", name, "--before", 2, "--yes") == [{"partition": f"{name}-0", "startOffset": 2}]
    assert run("consume", name, "--from", "beginning", "--until-end").stdout == "c\n"


# Records


def test_produce_and_consume(run, name):
    run("topic", "create", name)
    run("produce", name, "--key-separator", ":", "-H", "source=test", stdin="k1:v1\nk2:\nk3:v:3\n")
    printed = run("consume", name, "--from", "beginning", "--count", 3, "--format", r"%t %p %o %k=%v %h\n").stdout
    assert printed == f"{name} 0 0 k1=v1 source=test\n{name} 0 1 k2= source=test\n{name} 0 2 k3=v:3 source=test\n"
    [last] = lines(run("consume", name, "--from", "-1", "--until-end", "--json").stdout)
    assert (last["offset"], last["key"], last["value"]) == (2, "k3", "v:3")
    assert last["headers"] == [{"key": "source", "value": "test"}]


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd:6"])
def test_compression(run, name, tmp_path, compression):
    run("topic", "create", name)
    source = tmp_path / "lines.txt"
    source.write_text("".join(f"line {number}\n" for number in range(2000)))
    written = json.loads(run("produce", name, "--file", source, "-z", compression, "--json").stdout)
    assert written["records"] == 2000
    assert run("consume", name, "--from", "beginning", "--until-end").stdout == source.read_text()


def test_bytes_that_are_no_text(run, name, bootstrap):
    run("topic", "create", name)
    done = subprocess.run([str(binary()), "produce", name, "-b", bootstrap], input=b"\xff\xfe\r\n", capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    [record] = lines(run("consume", name, "--from", "beginning", "-n", 1, "--json").stdout)
    assert record["valueBase64"] == "//4="


def test_acks_rate_and_partition(run, name):
    run("topic", "create", name, "-p", 2)
    for acks in ["0", "1", "all"]:
        run("produce", name, "--acks", acks, "--partition", 1, "--rate", 100, stdin=f"{acks}\n")
    printed = run("consume", name, "--from", "beginning", "-n", 3, "--partition", 1).stdout.split()
    assert printed == ["0", "1", "all"]
    assert run("produce", name, "--partition", 9, stdin="x\n", check=False).returncode == 1
    missing = run("produce", name, "-k", ":", stdin="no separator\n", check=False)
    assert missing.returncode == 1 and "line 1" in missing.stderr


def test_missing_topic(run):
    done = run("consume", "no-such-topic", "--from", "beginning", check=False)
    assert done.returncode == 1 and "martlet topic list" in done.stderr


# Groups


def test_group_life(run, run_json, name):
    group = name + "-group"
    run("topic", "create", name)
    run("produce", name, stdin="".join(f"{number}\n" for number in range(10)))
    first = run("consume", name, "--group", group, "--from", "beginning", "-n", 4).stdout.split()
    assert first == ["0", "1", "2", "3"]
    assert run("consume", name, "--group", group, "-n", 2).stdout.split() == ["4", "5"]
    assert group in {listed["group"] for listed in run_json("group", "list")}
    [described] = run_json("group", "describe", group)
    assert described["state"] == "Empty"
    assert [(row["offset"], row["lag"]) for row in described["offsets"]] == [(6, 4)]
    assert " 6 " in run("group", "describe", group).stdout
    planned = run_json("group", "reset-offsets", group, "--topic", name, "--to", "beginning")
    assert planned["executed"] is False and planned["offsets"][0]["to"] == 0
    assert run_json("group", "describe", group)[0]["offsets"][0]["offset"] == 6
    moved = run_json("group", "reset-offsets", group, "--all-topics", "--shift-by", "-3", "--execute")
    assert (moved["offsets"][0]["from"], moved["offsets"][0]["to"]) == (6, 3)
    assert run_json("group", "describe", group)[0]["offsets"][0]["offset"] == 3
    run("group", "delete", group, "--yes")
    assert group not in {listed["group"] for listed in run_json("group", "list")}
    gone = run("group", "delete", group, "--yes", check=False)
    assert gone.returncode == 1 and "GROUP_ID_NOT_FOUND" in gone.stderr


# Settings and the cluster


def test_config(run, run_json, name):
    run("topic", "create", name)
    run("config", "set", "--topic", name, "retention.ms=1000", "cleanup.policy=compact")
    settings = {setting["name"]: setting for setting in run_json("config", "describe", "--topic", name)}
    assert settings["retention.ms"]["value"] == "1000" and settings["retention.ms"]["source"] == "topic"
    run("config", "set", "--topic", name, "--append", "cleanup.policy=delete")
    [policy] = run_json("config", "describe", "--topic", name, "cleanup.policy")
    assert policy["value"] == "compact,delete"
    run("config", "delete", "--topic", name, "retention.ms", "cleanup.policy")
    assert "retention.ms" not in {setting["name"] for setting in run_json("config", "describe", "--topic", name)}
    wrong = run("config", "set", "--topic", name, "retention.ms=soon", check=False)
    assert wrong.returncode == 1 and "INVALID_CONFIG" in wrong.stderr
    assert run("config", "describe", check=False).returncode == 64
    assert "node.id" in run("config", "describe", "--broker", 1).stdout
    assert len(run_json("config", "describe", "--broker", 1, "--all")) > 100


def test_cluster(run, run_json, bootstrap):
    described = run_json("cluster", "describe")
    assert [f"{broker['host']}:{broker['port']}" for broker in described["brokers"]] == [bootstrap]
    assert described["clusterId"] in run("cluster", "describe").stdout
    features = {feature["feature"]: feature for feature in run_json("cluster", "features")}
    assert features["metadata.version"]["finalizedLevel"] >= 7
    assert run_json("cluster", "quorum")["leaderId"] == 1
    assert run_json("cluster", "log-dirs")[0]["usableBytes"] > 0
    assert len(martlet("cluster", "random-id").stdout.strip()) == 22


def test_doctor_on_a_cluster(run, run_json, bootstrap):
    diagnosis = run_json("doctor")
    assert any(bootstrap in sound for sound in diagnosis["ok"])
    assert not [finding for finding in diagnosis["findings"] if finding["severity"] == "error"]


def test_doctor_finds_unreachable_advertised_listener(tmp_path):
    from broker import Broker

    dead = free_port()
    with Broker({"advertised.listeners": f"PLAINTEXT://127.0.0.1:{dead}"}) as broken:
        done = martlet("doctor", "--json", bootstrap=broken.bootstrap, check=False)
    assert done.returncode == 1
    codes = {finding["code"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert f"127.0.0.1:{dead}" in codes["advertised-unreachable"]["message"]
    assert "advertised.listeners" in codes["advertised-unreachable"]["remedy"]


def test_bench(run_json, name):
    produced = run_json("bench", "produce", name, "-n", 2000, "--partitions", 2, "--size", 100)
    assert produced["records"] == 2000 and produced["latencyMilliseconds"]["p99"] > 0
    consumed = run_json("bench", "consume", name)
    assert consumed["records"] == 2000
    both = run_json("bench", "end-to-end", name, "--seconds", 1, "--rate", 200, "--size", 64)
    assert both["records"] == 200 and both["latencyMilliseconds"]["p50"] > 0
