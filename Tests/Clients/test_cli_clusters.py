"""Commands about clusters, as far as one node answers them: quorum, broker, partition, cluster health."""

import json
import subprocess

from broker import Broker, binary
from test_cli import martlet, run, run_json  # noqa: F401


def test_overview_and_completions_know_the_commands():
    overview = martlet("--help").stdout
    for command in ["partition", "broker", "quorum"]:
        assert f"\n  {command} " in overview
    script = martlet("--generate-completion-script=bash").stdout
    for word in ["--until-healthy", "--not-preferred", "unregister", "recover", "--brokers"]:
        assert word in script


def test_quorum_status(run, run_json):
    found = run_json("quorum", "status")
    assert found["leaderId"] == 1 and [voter["nodeId"] for voter in found["voters"]] == [1]
    assert found == {**run_json("cluster", "quorum"), "highWatermark": found["highWatermark"], "voters": found["voters"]}
    assert "leader" in run("quorum", "status").stdout


def test_quorum_changes_are_refused_in_words(run):
    done = run("quorum", "remove", 7, "--yes", check=False)
    assert done.returncode == 1 and "node 7 is no voter; the voters are 1" in done.stderr
    done = run("quorum", "remove", 1, "--yes", check=False)
    assert done.returncode == 1 and "is the only voter" in done.stderr
    assert run("quorum", "add", check=False).returncode == 64
    assert run("quorum", "add", "4@h:1", check=False).returncode == 64


def test_broker_list(run, run_json, topic):
    [found] = run_json("broker", "list")
    assert (found["id"], found["state"], found["outOfSync"]) == (1, "alive", 0)
    assert found["replicas"] >= 3 and found["leaders"] == found["replicas"]
    assert "alive" in run("broker", "list").stdout


def test_a_living_broker_is_not_forgotten(run):
    done = run("broker", "unregister", 1, "--yes", check=False)
    assert done.returncode == 1 and "is alive and would register again" in done.stderr
    done = run("broker", "unregister", 9, "--yes", check=False)
    assert done.returncode == 1


def test_partition_list(run, run_json, topic):
    found = run_json("partition", "list", topic)
    assert [each["partition"] for each in found] == [0, 1, 2] and all(each["replicas"] == [1] for each in found)
    assert len(run_json("partition", "list", f"{topic}:1")) == 1
    assert run_json("partition", "list", topic, "--under-replicated") == []
    assert "None of 3 partitions" in run("partition", "list", topic, "--leaderless").stdout
    done = run("partition", "list", f"{topic}:9", check=False)
    assert done.returncode == 1 and "has partitions 0 to 2, not 9" in done.stderr


def test_reassign_plans_without_moving(run, run_json, topic):
    assert run_json("partition", "reassign", topic, "--brokers", "1", "--dry-run") == []
    assert "lies there already" in run("partition", "reassign", topic, "--replicas", "1").stdout
    done = run("partition", "reassign", topic, "--drain", "1", check=False)
    assert done.returncode == 1 and "only 0 would be left" in done.stderr
    done = run("partition", "reassign", topic, "--brokers", "1,5", check=False)
    assert done.returncode == 1 and "there is no broker 5" in done.stderr
    assert run("partition", "reassign", topic, check=False).returncode == 64
    done = run("partition", "reassign", topic, "--replicas", "1,1", check=False)
    assert done.returncode == 64 and "broker 1 is named twice" in done.stderr
    done = run("partition", "reassign", topic, "--replicas", "1,x", check=False)
    assert done.returncode == 64 and "'x' is no broker's id" in done.stderr


def test_reassign_by_file(run, run_json, topic, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [1]}]}))
    assert run_json("partition", "reassign", "--file", plan, "--dry-run") == []
    plan.write_text("{}")
    done = run("partition", "reassign", "--file", plan, check=False)
    assert done.returncode == 1 and "is no plan" in done.stderr


def test_throttle(run, run_json, topic):
    run("partition", "throttle", topic, "--rate", 1000000)
    found = run_json("partition", "throttle")
    assert found["brokers"] == [{"broker": 1, "leaderRate": 1000000, "followerRate": 1000000}] and topic in found["topics"]
    run("partition", "throttle", topic, "--off")
    found = run_json("partition", "throttle")
    assert found["brokers"] == [{"broker": 1, "leaderRate": None, "followerRate": None}] and topic not in found["topics"]


def test_elections_need_a_name(run):
    assert run("partition", "elect", check=False).returncode == 64


def test_health(run, run_json, topic):
    found = run_json("cluster", "health")
    assert found["healthy"] and found["troubles"] == [] and found["controller"] == 1 and found["partitions"] >= 3
    assert "All is well: 1 broker" in run("cluster", "health").stdout
    assert run("cluster", "health", "--until-healthy", "--json").returncode == 0


def test_health_is_watched_until_somebody_stops_it(bootstrap):
    process = subprocess.Popen(
        [str(binary()), "cluster", "health", "--watch", "--interval", "0.1", "-b", bootstrap], stdout=subprocess.PIPE, text=True)
    try:
        assert "All is well" in process.stdout.readline()
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def recover(*arguments, check=True):
    return martlet("quorum", "recover", *arguments, check=check)


def test_recovery_refuses_what_is_not_lost(tmp_path):
    with Broker(settings={}) as broker:
        done = recover(broker.data, check=False)
        assert done.returncode == 1 and "stop the node first" in done.stderr
        assert broker.stop() == 0
        done = recover(broker.data, check=False)
        assert done.returncode == 1 and "1 of 1 voters are left" in done.stderr
    done = recover(tmp_path, check=False)
    assert done.returncode == 1 and "holds no metadata log" in done.stderr
    assert recover(check=False).returncode == 64
