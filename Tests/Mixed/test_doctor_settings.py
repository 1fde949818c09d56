"""`martlet doctor` says of nodes of Apache Kafka what in their configuration and on their disks Martlet would refuse, ignore or not go
on with; and of such a configuration the same before Martlet is started with it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from broker import free_port, wait_until
from contents import Contents, fill
from kafka_nodes import KAFKA, KAFKA_DIRECTORY, MARTLET, kafka_tool
from mixed_clusters import MixedCluster


def findings(cluster) -> list[dict]:
    """What it finds about moving; all of it could be examined."""
    told = json.loads(cluster.martlet("doctor", "--json", check=False))["findings"]
    assert not [each for each in told if each["code"] == "not-examined"], told
    return [each for each in told if each["code"].startswith("migrate-")]


def expect(found: list[dict], code: str, severity: str, *words: str) -> None:
    """One finding says all of this."""
    matching = [each for each in found if each["code"] == code and all(word in f"{each['subject']}: {each['message']}" for word in words)]
    assert len(matching) == 1 and matching[0]["severity"] == severity, (code, words, found)


def mistakes(cluster, node) -> str:
    """What is said of the node's configuration, with which Martlet does not start."""
    told = json.loads(cluster.martlet("doctor", "--config", node.properties, "--json", check=False))["findings"]
    return "\n".join(f"{each['severity']} {each['subject']}: {each['message']}" for each in told)


def test_a_secured_node():
    cluster = MixedCluster(KAFKA)
    try:
        node = cluster.node(1)
        node.ports["SECURE"] = node.published["SECURE"] = free_port()
        secret = cluster.directory / "secrets" / "key"
        secret.parent.mkdir()
        secret.write_text("of tokens")
        node.settings = {
            "listener.security.protocol.map":
                "PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "listener.name.secure.scram-sha-256.sasl.jaas.config":
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
            "config.providers": "files", "config.providers.files.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
            "delegation.token.secret.key": f"${{files:{secret.parent}:key}}",
        }
        node.configure(cluster.shared)
        cluster.start()
        cluster.create("guarded", 1)
        for principal in ("User:alice", "User:bob"):
            kafka_tool("acls", "--bootstrap-server", node.address, "--add", "--allow-principal", principal, "--operation", "Read",
                       "--topic", "guarded")
        found = findings(cluster)
        # SCRAM and the authorizer are served.
        assert not [each for each in found if each["code"] in ("migrate-listener", "migrate-setting-refused")], found
        expect(found, "migrate-acls", "warning", "2 ACL(s)")
        expect(found, "migrate-tokens", "warning", "broker 1", "delegation.token.secret.key")
        # Where secrets come from only the configuration tells.
        said = mistakes(cluster, node)
        assert "config.providers" in said and "error" in said and "authorizer.class.name" not in said, said
        # It does not start with what it would not honour, and leaves the node to Apache Kafka.
        assert node.stop() == 0
        node.start(MARTLET)
        assert node.process.wait(30) != 0 and "config.providers" in node.log()
        node.start(KAFKA).wait_ready()
        cluster.wait_whole()
    finally:
        cluster.close()


def compile_remote_store(directory: Path) -> None:
    directory.mkdir()
    subprocess.run(
        ["javac", "-cp", f"{KAFKA_DIRECTORY}/libs/*", "-d", str(directory), str(Path(__file__).with_name("NoRemoteStorage.java"))],
        check=True, capture_output=True, timeout=120)


def test_tiered_storage():
    if shutil.which("javac") is None:
        pytest.skip("there is no javac, and Apache Kafka has no remote store of its own")
    cluster = MixedCluster(KAFKA)
    try:
        node = cluster.node(1)
        compile_remote_store(cluster.directory / "classes")
        node.settings = {
            "remote.log.storage.system.enable": "true", "remote.log.storage.manager.class.name": "NoRemoteStorage",
            "remote.log.storage.manager.class.path": f"{cluster.directory / 'classes'}/",
            "remote.log.metadata.manager.listener.name": "PLAINTEXT",
            "rlmm.config.remote.log.metadata.topic.replication.factor": "1", "rlmm.config.remote.log.metadata.topic.num.partitions": "1",
        }
        node.configure(cluster.shared)
        cluster.start()
        cluster.create("far-away", 1, **{"remote.storage.enable": "true"})
        cluster.create("here", 1)
        found = findings(cluster)
        expect(found, "migrate-setting-refused", "error", "remote.log.storage.system.enable", "broker 1")
        expect(found, "migrate-setting-refused", "error", "remote.storage.enable", "topic far-away")
        assert not [each for each in found if "topic here" in each["message"]], found
        assert "remote.log.storage.system.enable" in mistakes(cluster, node)
    finally:
        cluster.close()


def test_replicas_that_move_between_directories():
    cluster = MixedCluster(KAFKA)
    try:
        node = cluster.node(1)
        first, second = node.data, node.directory / "second"
        node.settings = {"log.dirs": f"{first},{second}"}
        node.configure(cluster.shared)
        cluster.start()
        cluster.create("moving", 1)
        # More than one fetch takes, so that the throttle holds the rest back.
        fill(cluster, "moving", "some" * 2500, 60)
        here, there = (first, second) if (first / "moving-0").exists() else (second, first)
        plan = cluster.directory / "plan.json"
        plan.write_text(json.dumps({"version": 1, "partitions": [
            {"topic": "moving", "partition": 0, "replicas": [1], "log_dirs": [str(there)]}]}))
        reassign = ["--bootstrap-server", node.address, "--reassignment-json-file", plan]
        kafka_tool("reassign-partitions", *reassign, "--execute", "--replica-alter-log-dirs-throttle", "1")
        assert list(there.glob("moving-0.*-future")), "it moves"
        shown = cluster.martlet("doctor", "-b", node.address, check=False)
        assert "moves 1 replica(s) between its directories, which Martlet goes on with" in shown

        # Martlet serves the replica from where it is, and goes on with the copy under Kafka's throttle.
        before = Contents(cluster, ["moving"], [])
        assert node.stop() == 0, node.log()[-2000:]
        node.start(MARTLET).wait_ready()
        cluster.wait_whole()
        assert not before.differences(Contents(cluster, ["moving"], []))
        assert (here / "moving-0").exists() and list(there.glob("moving-0.*-future"))
        kafka_tool("reassign-partitions", *reassign, "--execute", "--additional", "--replica-alter-log-dirs-throttle", "100000000")
        wait_until(lambda: (there / "moving-0").exists() and not (here / "moving-0").exists(), "it has moved", 60, pause=0.2)
        assert not before.differences(Contents(cluster, ["moving"], []))
        assert node.stop() == 0
        node.start(KAFKA).wait_ready()
        cluster.wait_whole()
        assert (there / "moving-0").exists() and not (here / "moving-0").exists()
        assert not before.differences(Contents(cluster, ["moving"], []))
    finally:
        cluster.close()
