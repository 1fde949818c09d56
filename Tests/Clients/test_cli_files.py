"""The commands that work on files: format, log dump, doctor --config."""

import json

import pytest

from broker import free_port
from test_cli import lines, martlet


@pytest.fixture
def properties(tmp_path):
    def write(**settings):
        port = free_port()
        values = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{free_port()}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{port}",
            "log.dirs": f"{tmp_path}/one,{tmp_path}/two",
        }
        values.update({key.replace("_", "."): value for key, value in settings.items()})
        path = tmp_path / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items() if value is not None))
        return path

    return write


def test_format(properties, tmp_path):
    path = properties()
    report = json.loads(martlet("format", "--random-cluster-id", "-c", path, "--json").stdout)
    assert report["formatted"] == [f"{tmp_path}/one", f"{tmp_path}/two"]
    assert f"cluster.id={report['clusterId']}" in (tmp_path / "one" / "meta.properties").read_text()
    again = martlet("format", "-t", report["clusterId"], "-c", path, check=False)
    assert again.returncode == 1 and "--ignore-formatted" in again.stderr
    assert "Left alone" in martlet("format", "-t", report["clusterId"], "-c", path, "--ignore-formatted").stdout
    other = martlet("format", "-t", "OtherCluster", "-c", path, "-g", check=False)
    assert other.returncode == 1 and "belongs to cluster" in other.stderr


def test_format_of_a_dynamic_quorum(properties, tmp_path):
    path = properties(controller_quorum_voters=None, controller_quorum_bootstrap_servers="127.0.0.1:1")
    missing = martlet("format", "-t", "Cluster", "-c", path, check=False)
    assert missing.returncode == 64 and "--standalone" in missing.stderr
    martlet("format", "-t", "Cluster", "-c", path, "--standalone", "--release-version", "4.0")
    dump = lines(martlet("log", "dump", "--json", "-r", tmp_path / "one").stdout)
    types = [line["type"] for line in dump if "type" in line]
    assert "VotersRecord" in types and "KRaftVersionRecord" in types
    levels = {line["data"]["name"]: line["data"]["featureLevel"] for line in dump if line.get("type") == "FeatureLevelRecord"}
    assert levels["metadata.version"] == 25


def test_format_mistakes(properties):
    path = properties()
    assert martlet("format", "-c", path, check=False).returncode == 64
    assert martlet("format", "-t", "x", "-c", path, "--standalone", check=False).returncode == 64
    assert martlet("format", "-t", "x", "-c", path, "-S", "SCRAM-SHA-256=[name=a,password=b]", check=False).returncode == 64
    assert martlet("format", "-t", "x", "-c", path, "--release-version", "0.8", check=False).returncode == 64
    assert martlet("format", "-t", "x", "-c", path.parent / "missing.properties", check=False).returncode == 78


def test_doctor_on_a_configuration(properties):
    done = martlet("doctor", "--config", properties(offsets_topic_replication_factor="3"), "--json", check=False)
    assert done.returncode == 1
    subjects = {finding["subject"] for finding in json.loads(done.stdout)["findings"] if finding["severity"] == "error"}
    assert subjects == {"offsets.topic.replication.factor"}
    unreadable = martlet("doctor", "--config", properties(node_id="one"), check=False)
    assert unreadable.returncode == 78 and "node.id" in unreadable.stdout


def test_log_dump(broker, bootstrap, name):
    martlet("topic", "create", name, bootstrap=bootstrap)
    martlet("produce", name, "-k", ":", "-H", "h=1", "-z", "gzip", stdin="k:v\nl:w\n", bootstrap=bootstrap)
    martlet("consume", name, "--group", name, "--from", "beginning", "-n", 2, bootstrap=bootstrap)
    dump = lines(martlet("log", "dump", broker.data / f"{name}-0", "--json").stdout)
    batches = [line for line in dump if line["kind"] == "batch"]
    records = [line for line in dump if line["kind"] == "record"]
    assert all(batch["isValid"] and batch["compression"] == "gzip" for batch in batches)
    assert [(record["offset"], record["key"], record["value"]) for record in records] == [(0, "k", "v"), (1, "l", "w")]
    assert records[0]["headers"] == [{"key": "h", "value": "1"}]
    only = lines(martlet("log", "dump", broker.data / f"{name}-0", "--json", "--from", 1, "--count", 1).stdout)
    assert [line["offset"] for line in only if line["kind"] == "record"] == [1]

    metadata = lines(martlet("log", "dump", broker.data / "__cluster_metadata-0", "--json").stdout)
    assert name in {line["data"]["name"] for line in metadata if line.get("type") == "TopicRecord"}

    commits = [
        line for line in lines(martlet("log", "dump", "-r", broker.data, "--json", check=False).stdout)
        if line.get("type") == "OffsetCommit" and line["key"]["group"] == name
    ]
    assert commits[-1]["key"]["topic"] == name and commits[-1]["value"]["offset"] == 2


def test_log_dump_names_damage(broker, bootstrap, name, tmp_path):
    martlet("topic", "create", name, bootstrap=bootstrap)
    martlet("produce", name, stdin="some value\n", bootstrap=bootstrap)
    content = bytearray((broker.data / f"{name}-0" / f"{0:020}.log").read_bytes())
    content[-3] ^= 1
    damaged = tmp_path / f"{0:020}.log"
    damaged.write_bytes(content)
    done = martlet("log", "dump", damaged, check=False)
    assert done.returncode == 1 and "checksum" in done.stdout
    damaged.write_bytes(bytes(content) + b"\0" * 30)
    assert "only zeros" in martlet("log", "dump", damaged, check=False).stdout
    assert martlet("log", "dump", tmp_path / "nothing.txt", check=False).returncode == 1
