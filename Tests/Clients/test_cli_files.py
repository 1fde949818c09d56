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


# What format writes: compared with Kafka 4.1's storage tool (bootstrap.checkpoint, and for dynamic quorums the first snapshot)

ID = "SMJvbujjSSSjV8KGDnDLpw"
OTHER_ID = "FopJXS7pRVWhg6kv3lbUFg"


@pytest.fixture
def dynamic(properties, tmp_path):
    """Formats a node of a dynamic quorum; returns what `log dump` says of bootstrap.checkpoint and of the first snapshot."""
    controller = free_port()

    def records(path):
        return [line for line in lines(martlet("log", "dump", "--json", path).stdout) if line["kind"] != "batch"]

    def format(*flags, check=True):
        path = properties(
            controller_quorum_voters=None, controller_quorum_bootstrap_servers=f"127.0.0.1:{controller}",
            listeners=f"PLAINTEXT://127.0.0.1:{free_port()},CONTROLLER://127.0.0.1:{controller}", offsets_topic_replication_factor=1,
            martlet_admin_listeners="127.0.0.1:0")
        flags = [str(flag).replace("PORT", str(controller)) for flag in flags]
        done = martlet("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", path, *flags, check=check)
        if not check:
            return done
        snapshot = tmp_path / "one" / "__cluster_metadata-0" / f"{0:020}-{0:010}.checkpoint"
        return records(tmp_path / "one" / "bootstrap.checkpoint"), records(snapshot) if snapshot.exists() else None

    format.controller = controller
    return format


def meta(directory) -> dict:
    lines = (directory / "meta.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def levels(records) -> dict:
    return {record["data"]["name"]: record["data"]["featureLevel"] for record in records if record["type"] == "FeatureLevelRecord"}


def voters(snapshot) -> list:
    assert [record["type"] for record in snapshot] == [
        "SnapshotHeaderRecord", "KRaftVersionRecord", "VotersRecord", "SnapshotFooterRecord"]
    assert snapshot[1]["data"]["kRaftVersion"] == 1
    found = snapshot[2]["data"]["voters"]
    assert all(voter["kRaftVersionFeature"] == {"minSupportedVersion": 0, "maxSupportedVersion": 1} for voter in found)
    return [(voter["voterId"], voter["voterDirectoryId"], [tuple(point.values()) for point in voter["endpoints"]]) for voter in found]


def starts(tmp_path) -> str:
    """Runs the server until it serves or gives up; returns what it logs."""
    import signal
    import subprocess

    from broker import binary, wait_until

    log = tmp_path / "server.log"
    with open(log, "wb") as file:
        node = subprocess.Popen(
            [str(binary()), "server", str(tmp_path / "server.properties")], stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: node.poll() is not None or " ready " in log.read_text(), "the node is ready, or gives up")
        if node.poll() is None:
            node.send_signal(signal.SIGINT)
            assert node.wait(30) == 0
    finally:
        node.kill()
    return log.read_text()


def test_format_standalone(dynamic, tmp_path):
    bootstrap, snapshot = dynamic("--standalone")
    one, two = meta(tmp_path / "one"), meta(tmp_path / "two")
    assert {key: one[key] for key in ["version", "node.id", "cluster.id"]} == {
        "version": "1", "node.id": "1", "cluster.id": "MkU3OEVBNTcwNTJENDM2Qg"}
    assert one["directory.id"] != two["directory.id"]
    assert voters(snapshot) == [(1, one["directory.id"], [("CONTROLLER", "127.0.0.1", dynamic.controller)])]
    # kraft.version and features at level 0 have no record.
    assert [record["type"] for record in bootstrap] == [
        "SnapshotHeaderRecord", *["FeatureLevelRecord"] * 4, "SnapshotFooterRecord"]
    assert levels(bootstrap) == {
        "metadata.version": 27, "eligible.leader.replicas.version": 1, "group.version": 1, "transaction.version": 2}
    assert not (tmp_path / "two" / "bootstrap.checkpoint").exists()
    assert " ready " in starts(tmp_path)


def test_format_initial_controllers(dynamic, tmp_path):
    _, snapshot = dynamic("--initial-controllers", f"1@127.0.0.1:PORT:{ID}")
    assert meta(tmp_path / "one")["directory.id"] == ID
    assert voters(snapshot) == [(1, ID, [("CONTROLLER", "127.0.0.1", dynamic.controller)])]
    assert " ready " in starts(tmp_path)


def test_format_several_initial_controllers(dynamic, tmp_path):
    _, snapshot = dynamic("-I", f"2@[::1]:9093:{OTHER_ID},1@127.0.0.1:PORT:{ID}")
    assert voters(snapshot) == [
        (1, ID, [("CONTROLLER", "127.0.0.1", dynamic.controller)]), (2, OTHER_ID, [("CONTROLLER", "::1", 9093)])]


def test_format_no_initial_controllers(dynamic, tmp_path):
    bootstrap, snapshot = dynamic("--no-initial-controllers")
    assert snapshot is None and levels(bootstrap)["metadata.version"] == 27


def test_format_features_and_releases(dynamic, tmp_path):
    bootstrap, _ = dynamic("-s", "--release-version", "4.0", "--feature", "transaction.version=1")
    assert levels(bootstrap) == {"metadata.version": 25, "group.version": 1, "transaction.version": 1}
    assert " ready " in starts(tmp_path)


@pytest.mark.parametrize(
    "flags, said",
    [
        (["-I", f"1@h:1:{ID},1@h:2:{OTHER_ID}"], "more than once"), (["-I", ","], "names nobody"), (["-I", "1@h:1"], "id@host:port"),
        (["-I", f"1@h:0:{ID}"], "id@host:port"), (["-I", f"1@h:1:{ID}", "-s"], "exclude each other"),
        (["-s", "-f", "kraft.version=0"], "kraft.version"), (["-s", "-f", "magic.version=1"], "Supported features are"),
        (["-s", "-f", "group.version=9"], "group.version"), (["-s", "-f", "group.version"], "name=level"),
        (["-s", "-f", "group.version=1", "-f", "group.version=0"], "given twice"), (["-s", "-r", "9.9"], "no release"),
        (["-s", "-r", "4.0", "-f", "metadata.version=25"], "--release-version"),
        (["-s", "-S", "SCRAM-SHA-256=[name=a]"], "password"), (["-s", "-S", "SCRAM-SHA-1=[name=a,password=b]"], "SCRAM-SHA-256="),
    ])
def test_format_refuses(dynamic, tmp_path, flags, said):
    done = dynamic(*flags, check=False)
    assert done.returncode in (1, 64) and said in done.stderr
    assert not (tmp_path / "one").exists(), "nothing is written before everything is checked"


def test_format_goes_on_where_it_was_left(dynamic, tmp_path):
    """--ignore-formatted formats only directories that are new, such as a disk that was replaced."""
    dynamic("-s")
    before = meta(tmp_path / "one")
    import shutil

    shutil.rmtree(tmp_path / "two")
    refused = dynamic("-s", check=False)
    assert refused.returncode == 1 and "already formatted" in refused.stderr
    dynamic("-s", "--ignore-formatted")
    assert meta(tmp_path / "one") == before and meta(tmp_path / "two")["cluster.id"] == before["cluster.id"]
    assert " ready " in starts(tmp_path)


@pytest.mark.parametrize("protocol", ["SSL", "SASL_PLAINTEXT"])
def test_format_needs_neither_key_stores_nor_logins(properties, tmp_path, protocol):
    """As with Kafka's tool: images format before secrets are mounted. The server itself refuses the same file."""
    values = {"listeners": f"{protocol}://127.0.0.1:{free_port()},CONTROLLER://127.0.0.1:{free_port()}"}
    path = properties(**values)
    with open(path, "a") as file:
        file.write(f"inter.broker.listener.name={protocol}\nlistener.security.protocol.map={protocol}:{protocol},CONTROLLER:PLAINTEXT\n")
    martlet("format", "--random-cluster-id", "-c", path)
    assert (tmp_path / "one" / "meta.properties").exists()
    refused = martlet("server", path, check=False)
    assert refused.returncode == 78 and ("ssl.keystore" in refused.stderr or "GSSAPI" in refused.stderr)
