"""Delegation tokens between the programs: Java's client logs in with those of Martlet, Java's tool asks for them, and a token goes on when its
node becomes one of the other program."""

import json
import os
import re
import subprocess

import pytest

from broker import wait_until
from kafka_nodes import HEAP, KAFKA, MARTLET, kafka_program
from kafka_tools import tool
from mixed_clusters import MixedCluster
from secured import PLAIN, SCRAM, jaas
from test_cli import martlet

PASSWORD = "alices password"


class TokenCluster(MixedCluster):
    """One node, whose clients log in."""

    def __init__(self, program: str):
        super().__init__(program)
        [node] = self.nodes
        node.settings |= {
            "listener.security.protocol.map": node.settings["listener.security.protocol.map"].replace(
                "PLAINTEXT:PLAINTEXT", "PLAINTEXT:SASL_PLAINTEXT"),
            "listener.name.plaintext.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": jaas(
                PLAIN, username="node", password="node password", user_node="node password", user_alice=PASSWORD),
            "listener.name.plaintext.scram-sha-256.sasl.jaas.config": f"{SCRAM} required;",
            "delegation.token.secret.key": "a secret that all nodes share",
        }
        node.properties.write_text("".join(f"{key}={value}\n" for key, value in node.settings.items()))

    def start(self, seconds: float = 90) -> "TokenCluster":
        """Without looking whether the cluster is whole, which takes a login."""
        self.format()
        for node in self.nodes:
            node.start().wait_ready(seconds)
        return self


def client_file(node, name: str, mechanism: str, module: str, **options: str):
    path = node.directory / f"{name}.properties"
    path.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\nsasl.jaas.config={jaas(module, **options)}\n")
    return path


def java_tool(*arguments, status: int = 0) -> str:
    done = subprocess.run(
        [kafka_program("kafka-run", "kafka-run-class.sh"), "org.apache.kafka.tools.DelegationTokenCommand", *map(str, arguments)],
        capture_output=True, text=True, timeout=90, env={**os.environ, **HEAP})
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def shape(text: str) -> list[str]:
    text = re.sub(r"[\w-]{22}(?=\s)", "ID", text)
    text = re.sub(r"[\w+/]{86}==", "CODE", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d", "DATE", text).splitlines()


def created(text: str) -> tuple[str, str]:
    return re.search(r"tokenId : ([\w-]{22})", text)[1], re.search(r"[\w+/]{86}==", text)[0]


def test_javas_client_and_tool():
    with TokenCluster(MARTLET) as cluster:
        [node] = cluster.nodes
        alice = client_file(node, "alice", "PLAIN", PLAIN, username="alice", password=PASSWORD)
        common = ["--bootstrap-server", node.address, "--command-config", alice]
        outputs = []
        for program in (java_tool, lambda *arguments: tool("delegation-tokens", *arguments)):
            made = program("--create", "--max-life-time-period", "-1", "--renewer-principal", "User:bob", *common)
            id, code = created(made)
            renewed = program("--renew", "--hmac", code, "--renew-time-period", "60000", *common)
            described = program("--describe", "--owner-principal", "User:alice", *common)
            assert id in described and code in described
            token = client_file(node, "token", "SCRAM-SHA-256", SCRAM, username=id, password=code, tokenauth="true")
            name = f"by-{id.lower().replace('_', 'x').replace('-', 'x')}"
            martlet("topic", "create", name, "-b", node.address, "--command-config", alice)
            sent = subprocess.run(
                [kafka_program("kafka-console-producer", "kafka-console-producer.sh"), "--bootstrap-server", node.address, "--topic", name,
                 "--producer.config", str(token)],
                input="one\ntwo\n", capture_output=True, text=True, timeout=90, env={**os.environ, **HEAP})
            assert sent.returncode == 0, sent.stderr
            read = subprocess.run(
                [kafka_program("kafka-console-consumer", "kafka-console-consumer.sh"), "--bootstrap-server", node.address, "--topic", name,
                 "--from-beginning", "--max-messages", "2", "--timeout-ms", "30000", "--consumer.config", str(token)],
                capture_output=True, text=True, timeout=90, env={**os.environ, **HEAP})
            assert read.stdout.split() == ["one", "two"], read.stderr
            ended = program("--expire", "--hmac", code, "--expiry-time-period", "-1", *common)
            outputs.append([shape(text) for text in (made, renewed, described, ended)])
        theirs, ours = outputs
        # Java's dates have no line's end behind them.
        assert theirs == ours


@pytest.mark.parametrize("first, second", [(KAFKA, MARTLET), (MARTLET, KAFKA)], ids=["from Kafka", "to Kafka"])
def test_a_token_goes_on_under_the_other_program(first, second):
    with TokenCluster(first) as cluster:
        [node] = cluster.nodes
        alice = client_file(node, "alice", "PLAIN", PLAIN, username="alice", password=PASSWORD)

        def ask(file, *arguments, check: bool = True):
            return martlet(*arguments, "-b", node.address, "--command-config", file, check=check)

        token = json.loads(ask(alice, "token", "create", "--renewer", "bob", "--json").stdout)
        file = client_file(node, "token", "SCRAM-SHA-256", SCRAM, username=token["id"], password=token["code"], tokenauth="true")
        # Apache Kafka's broker hears of its controller's token a moment later.
        wait_until(lambda: ask(file, "topic", "list", check=False).returncode == 0, "the token is taken", 30, 0.2)
        assert node.stop() == 0, node.log()[-2000:]
        node.start(second).wait_ready()
        assert ask(file, "topic", "list").returncode == 0
        [found] = json.loads(ask(alice, "token", "list", "--codes", "--json").stdout)
        assert found == token
        (node.directory / "code").write_text(token["code"])
        ask(alice, "token", "expire", "--code-file", node.directory / "code")
        assert ask(file, "topic", "list", check=False).returncode == 1
