"""Three nodes that trust nobody: the quorum by TLS with certificates of both sides, brokers among themselves by SCRAM over TLS, clients
by SCRAM, with an authorizer. Nodes fail and come back, and nothing acknowledged is lost."""

import json
import subprocess
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from clusters import QUICK_RECONNECT, Cluster, QUIET
from commands import martlet, martlet_json
from confluent import read_all, send
from links import batches, source_cluster, wait_end
from nodes import binary, wait_until
from test_links import produce
from transactional import Confluent

AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
SECRET = "node-secret"


class SecuredCluster(Cluster):
    """The listeners keep their names: PLAINTEXT is what clients use, whatever it speaks."""

    def __init__(self):
        super().__init__(3, proxied=False)
        certs = self.directory / "certs"
        run("cert", "ca", "--directory", certs)
        for node in self.nodes:
            run("cert", "node", node.name, "--host", "127.0.0.1", "--subject", "OU=Nodes", "--directory", certs)
            jaas = f'{SCRAM} required username="node" password="{SECRET}";'
            node.settings = {
                **node.settings,
                "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,REPLICATION:SASL_SSL,CONTROLLER:SSL",
                "listener.name.plaintext.sasl.enabled.mechanisms": "SCRAM-SHA-256",
                "listener.name.replication.sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.replication.connections.max.reauth.ms": "3000",
                "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
                "listener.name.replication.scram-sha-512.sasl.jaas.config": jaas,
                "listener.name.controller.ssl.client.auth": "required",
                "ssl.keystore.type": "PEM", "ssl.keystore.location": str(certs / f"{node.name}.pem"),
                "ssl.truststore.type": "PEM", "ssl.truststore.location": str(certs / "ca.pem"),
                "ssl.principal.mapping.rules": "RULE:^CN=.*,OU=Nodes$/node/",
                "authorizer.class.name": AUTHORIZER, "super.users": "User:node;User:admin",
                "delegation.token.secret.key": "token-secret", "delegation.token.expiry.check.interval.ms": "500",
            }
            node.properties.write_text("".join(f"{key}={value}\n" for key, value in node.settings.items()))
        self.client_file = self.directory / "client.properties"
        self.client_file.write_text(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.username=admin\nsasl.password=admin-secret\n")
        self.login = {
            "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "admin",
            "sasl.password": "admin-secret"}

    def start(self, seconds: float = 90) -> "SecuredCluster":
        for node in self.nodes:
            node.format(
                "--add-scram", f"SCRAM-SHA-512=[name=node,password={SECRET}]",
                "--add-scram", "SCRAM-SHA-256=[name=admin,password=admin-secret]")
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready(seconds)
        self.wait_whole(seconds)
        return self

    def admin(self) -> AdminClient:
        return AdminClient({
            "bootstrap.servers": self.bootstrap, "socket.timeout.ms": 10_000, **QUIET, **QUICK_RECONNECT, **self.login})


def run(*arguments, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def cluster():
    with SecuredCluster() as cluster:
        yield cluster


def sender(cluster) -> Producer:
    return Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", **cluster.login, **QUICK_RECONNECT})


def test_records_are_on_all_nodes(cluster):
    cluster.create("kept", 3)
    cluster.wait_whole()
    values = [b"%d" % number for number in range(3000)]
    send(sender(cluster), "kept", values)
    found = [message.value() for message in read_all(cluster.bootstrap, "kept", 3, **cluster.login)]
    assert sorted(found) == sorted(values)
    cluster.wait_whole()


def test_nodes_fail_and_come_back(cluster):
    cluster.create("through", 3)
    sent = []
    for round_number, node in enumerate(cluster.nodes):
        values = [b"%d-%d" % (round_number, number) for number in range(500)]
        node.kill()
        send(sender(cluster), "through", values)
        sent += values
        node.start().wait_ready()
        cluster.wait_whole()
    found = [message.value() for message in read_all(cluster.bootstrap, "through", 3, **cluster.login)]
    assert set(found) >= set(sent)


def test_sessions_between_brokers_are_renewed(cluster):
    """Sessions of three seconds: replicas stay in sync over several of them."""
    cluster.create("renewed", 3)
    until = time.monotonic() + 10
    number = 0
    while time.monotonic() < until:
        send(sender(cluster), "renewed", [b"%d" % number] * 10)
        number += 1
        cluster.wait_whole()
    found = read_all(cluster.bootstrap, "renewed", 3, **cluster.login)
    assert len(found) == 10 * number


def test_nobody_else_gets_in(cluster):
    node = cluster.nodes[0]
    # Neither the quorum's port nor the brokers' takes plaintext or a client without certificate.
    for listener in ["CONTROLLER", "REPLICATION"]:
        done = run("topic", "list", "-b", f"127.0.0.1:{node.ports[listener]}", "--timeout", "5", check=False)
        assert done.returncode == 1
    file = cluster.directory / "nocert.properties"
    file.write_text(f"security.protocol=SSL\nssl.truststore.location={cluster.directory}/certs/ca.pem\n")
    done = run("quorum", "status", "-b", f"127.0.0.1:{node.ports['CONTROLLER']}", "--command-config", file, "--timeout", "5", check=False)
    assert done.returncode == 1 and "certificate" in done.stderr


def test_forwarded_requests_keep_their_principal(cluster):
    """Whichever broker is asked, and whichever controller decides: a user without rights is refused."""
    password = cluster.directory / "eve"
    password.write_text("eve-secret")
    run("user", "set", "eve", "--password-file", password, "--command-config", cluster.client_file, "-b", cluster.bootstrap)
    for node in cluster.nodes:
        file = cluster.directory / "eve.properties"
        file.write_text(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.username=eve\nsasl.password=eve-secret\n")
        done = run("topic", "create", "eves", "-b", node.address, "--command-config", file, check=False)
        assert done.returncode == 1 and "AUTHORIZATION_FAILED" in done.stderr
        done = run("topic", "create", f"admins-{node.number}", "-b", node.address, "--command-config", cluster.client_file)
        assert done.returncode == 0


def test_delegation_tokens_hold_on_every_node(cluster):
    """Made at any broker, whoever decides; taken at all of them; through a change of the controller; gone on all when they end."""

    def at(node, file, *arguments, check: bool = True):
        return run(*arguments, "-b", node.address, "--command-config", file, "--timeout", "10", check=check)

    def bearer(token: dict):
        path = cluster.directory / f"{token['id']}.properties"
        path.write_text(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n"
            f'sasl.jaas.config={SCRAM} required username="{token["id"]}" password="{token["code"]}" tokenauth="true";\n')
        return path

    tokens = [json.loads(at(node, cluster.client_file, "token", "create", "--json").stdout) for node in cluster.nodes]
    files = [bearer(token) for token in tokens]
    for node in cluster.nodes:
        for file in files:
            wait_until(lambda: at(node, file, "topic", "list", check=False).returncode == 0, "the token is taken", 20)
            # Also where a request goes on to the controller.
            refused = at(node, file, "token", "create", check=False)
            assert refused.returncode == 1 and "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" in refused.stderr
    status = json.loads(at(cluster.nodes[0], cluster.client_file, "quorum", "status", "--json").stdout)
    before = cluster.node(status["leaderId"])
    before.kill()
    before.start().wait_ready()
    cluster.wait_whole()
    for node in cluster.nodes:
        wait_until(lambda: at(node, files[0], "topic", "list", check=False).returncode == 0, "the token is taken", 20)
    code = cluster.directory / "code"
    code.write_text(tokens[0]["code"])
    at(cluster.nodes[0], cluster.client_file, "token", "expire", "--code-file", code)
    code.write_text(tokens[1]["code"])
    at(cluster.nodes[1], cluster.client_file, "token", "expire", "--code-file", code, "--period", "1")
    for node in cluster.nodes:
        for file in files[:2]:
            wait_until(lambda: at(node, file, "topic", "list", check=False).returncode == 1, "the token is no longer taken", 20)
        left = json.loads(at(node, cluster.client_file, "token", "list", "--json").stdout)
        assert tokens[2]["id"] in [token["id"] for token in left] and tokens[0]["id"] not in [token["id"] for token in left]
        wait_until(
            lambda: tokens[1]["id"] not in at(node, cluster.client_file, "token", "list", "--json").stdout, "the controller takes it away", 20)
        assert at(node, files[2], "topic", "list").returncode == 0


def test_a_link_s_source_logs_in_and_serves_as_somebody_with_rights(cluster):
    """A source behind a firewall: it connects by SCRAM over TLS, in sessions of three seconds, and is read by nobody whom it does not let."""
    with source_cluster(1, settings={"authorizer.class.name": AUTHORIZER, "super.users": "User:ANONYMOUS"}) as source:
        source.create("guarded", 1)
        produce(source, "guarded", range(500))
        login = ("--command-config", cluster.client_file)
        martlet(cluster, "link", "create", "in", "--set", "connection.mode=INBOUND", "--set", "topic.config.sync.ms=500",
                "--set", "mirror.transactions.atomic.enable=true", *login)
        properties = source.directory / "link.properties"
        replication = ",".join(f"127.0.0.1:{node.published['REPLICATION']}" for node in cluster.nodes)
        wanted = {
            "bootstrap.servers": replication, "link.mode": "SOURCE", "link.local.principal": "User:reader", "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "node", "sasl.password": SECRET, "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(cluster.directory / "certs" / "ca.pem")}
        properties.write_text("".join(f"{key}={value}\n" for key, value in wanted.items()))
        martlet(source, "link", "create", "in", "--config", properties)
        assert "node-secret" not in martlet(source, "link", "describe", "in").stdout

        def mirrored() -> bool:
            return martlet(cluster, "link", "mirror", "in", "guarded", *login, check=False).returncode == 0

        wait_until(lambda: martlet_json(cluster, "link", "describe", "in", *login)["connections"][0]["accepted"], "the source connects", 30, 0.1)
        assert not mirrored(), "whoever has no rights at the source gets nothing"
        martlet(source, "acl", "add", "--topic", "guarded", "--principal", "User:reader", "--operation", "read,describe,describe-configs")
        wait_until(mirrored, "the link may read", 30, 0.2)
        wait_end(cluster, "guarded", 500)

        def problem() -> str:
            return martlet_json(cluster, "link", "describe", "in", *login)["link"]["transactions"]["problem"]

        wait_until(lambda: "does not let the link read __transaction_state" in problem(), "it is said that transactions are not whole", 30, 0.2)
        transactional = Confluent(source.bootstrap, "guarded")
        transactional.begin()
        transactional.send("guarded", ["one"])
        transactional.commit()
        # With its marker; mirrors go on all the same.
        wait_end(cluster, "guarded", 502)
        martlet(source, "acl", "add", "--topic", "__transaction_state", "--principal", "User:reader", "--operation", "read,describe")
        until = time.monotonic() + 7
        written = 502
        while time.monotonic() < until:
            produce(source, "guarded", range(20))
            written += 20
            wait_end(cluster, "guarded", written)
        for node in cluster.nodes:
            assert batches(node, "guarded") == batches(source.node(1), "guarded")
        wait_until(lambda: not problem(), "the link may read decisions now", 30, 0.2)
        martlet(cluster, "link", "delete", "in", "--force", *login)
