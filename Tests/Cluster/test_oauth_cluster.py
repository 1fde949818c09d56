"""Three nodes that log in at each other by OAUTHBEARER with tokens of a few seconds, from files that something else keeps fresh or from an
endpoint: quorum and replication go on over many tokens, and a node that has no good token is left out until it has one."""

import threading
import time

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from clusters import Cluster
from confluent import producer, read_all, send
from nodes import wait_until
from secured import certificates
from tokens import AUDIENCE, ISSUER, Issuer, TokenServer

LIFETIME = 8


class BearerCluster(Cluster):
    """`own_token(node)` are the settings that say where a node's own token comes from."""

    def __init__(self):
        super().__init__(3, proxied=False)
        self.issuer = Issuer(self.directory)

    def secure(self) -> None:
        for node in self.nodes:
            listeners = {
                f"listener.name.{name}.{key}": value for name in ["replication", "controller"] for key, value in {
                    "sasl.enabled.mechanisms": "OAUTHBEARER",
                    "sasl.oauthbearer.jwks.endpoint.url": f"file://{self.issuer.key_set}",
                    "sasl.oauthbearer.expected.audience": AUDIENCE, "sasl.oauthbearer.expected.issuer": ISSUER,
                    "sasl.oauthbearer.clock.skew.seconds": "0",
                }.items()
            }
            node.settings = {
                **node.settings, **listeners,
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,REPLICATION:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
                "sasl.mechanism.inter.broker.protocol": "OAUTHBEARER", "sasl.mechanism.controller.protocol": "OAUTHBEARER",
                "martlet.audit.log.file": str(self.audit_log(node)), **self.own_token(node),
            }
            node.properties.write_text("".join(f"{key}={value}\n" for key, value in node.settings.items()))

    def own_token(self, node) -> dict[str, str]:
        raise NotImplementedError

    def audit_log(self, node):
        return self.directory / f"{node.name}.audit"

    def check_logs(self) -> None:
        """Every node was let in by another, no login failed, and no token was printed."""
        for node in self.nodes:
            log = self.audit_log(node).read_text()
            assert "login-failed" not in log
            assert any(f'"principal":"User:{other.name}"' in log for other in self.nodes if other is not node)
            assert "eyJ" not in node.log()

    def produce_for(self, topic: str, seconds: float) -> None:
        """Writes all the time, and finds all of it in the end."""
        self.create(topic, 3)
        self.wait_whole()
        sent = []
        sender = producer(self.bootstrap, acks="all")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            values = [b"%d" % (len(sent) + number) for number in range(100)]
            send(sender, topic, values)
            sent += values
            time.sleep(0.2)
        self.wait_whole()
        found = [message.value() for message in read_all(self.bootstrap, topic, 3)]
        assert sorted(found) == sorted(sent)


class TokenCluster(BearerCluster):
    """With tokens in files."""

    def __init__(self):
        super().__init__()
        self.stopped = threading.Event()
        self.secure()
        self.write_tokens()

    def own_token(self, node):
        return {"sasl.oauthbearer.token.endpoint.url": f"file://{self.token_file(node)}"}

    def token_file(self, node):
        return self.directory / f"{node.name}.token"

    def write_tokens(self) -> None:
        for node in self.nodes:
            new = self.token_file(node).with_suffix(".new")
            new.write_text(self.issuer.token(node.name, seconds=3 * LIFETIME))
            new.rename(self.token_file(node))

    def keep_fresh(self) -> None:
        while not self.stopped.wait(LIFETIME / 4):
            self.write_tokens()

    def __enter__(self):
        self.refresher = threading.Thread(target=self.keep_fresh, daemon=True)
        self.refresher.start()
        return super().__enter__()

    def __exit__(self, *failure):
        self.stop_refreshing()
        return super().__exit__(*failure)

    def stop_refreshing(self) -> None:
        self.stopped.set()
        self.refresher.join()


@pytest.fixture(scope="module")
def cluster():
    with TokenCluster() as cluster:
        yield cluster


def test_nodes_stay_together_over_many_tokens(cluster):
    cluster.produce_for("kept", 5 * LIFETIME)
    cluster.check_logs()


def test_a_node_with_a_token_of_somebody_else_is_left_out(cluster):
    cluster.stop_refreshing()
    node = cluster.nodes[2]
    node.kill()
    stranger = cluster.issuer.token(node.name, aud="billing", seconds=600)
    for each in cluster.nodes:
        good = cluster.issuer.token(each.name, seconds=600)
        cluster.token_file(each).write_text(stranger if each is node else good)
    node.start()
    deadline = time.monotonic() + 60
    logs = [cluster.audit_log(other) for other in cluster.nodes if other is not node]
    while not any("is for 'billing'" in log.read_text() for log in logs):
        assert time.monotonic() < deadline, "nobody turned the node away"
        time.sleep(0.2)
    assert not node.is_ready
    # Once it has a token of its own it joins, without a restart.
    cluster.token_file(node).write_text(cluster.issuer.token(node.name, seconds=600))
    node.wait_ready(60)
    cluster.wait_whole(60)


class EndpointCluster(BearerCluster):
    """With tokens of an endpoint by https, which a node's name and a secret of its own are good for."""

    def __init__(self):
        super().__init__()
        self.certificates = certificates(self.directory)
        self.server: TokenServer | None = None
        self.port = 0
        self.clients = {node.name: f"secret of {node.name} & more" for node in self.nodes}
        self.open()
        self.secure()

    def open(self) -> None:
        """The endpoint comes up, where it was if it was up before."""
        self.server = TokenServer(self.issuer, self.clients, LIFETIME, self.certificates / "node.pem", self.port)
        self.port = self.server.port

    def jaas(self, listener: str, secret: str) -> dict[str, str]:
        module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
        trust = f'ssl.truststore.type="PEM" ssl.truststore.location="{self.certificates / "ca.pem"}"'
        return {f"listener.name.{listener}.oauthbearer.sasl.jaas.config": f'{module} required clientSecret="{secret}" {trust};'}

    def own_token(self, node):
        return {
            "sasl.oauthbearer.token.endpoint.url": self.server.url, "sasl.oauthbearer.client.credentials.client.id": node.name,
            "sasl.oauthbearer.scope": "kafka", "sasl.login.retry.backoff.max.ms": "1000",
            **self.jaas("replication", self.clients[node.name]), **self.jaas("controller", self.clients[node.name]),
        }

    def __exit__(self, *failure):
        try:
            return super().__exit__(*failure)
        finally:
            self.server.close()


@pytest.fixture(scope="module")
def endpoint_cluster():
    with EndpointCluster() as cluster:
        yield cluster


def test_nodes_stay_together_over_many_tokens_of_an_endpoint(endpoint_cluster):
    cluster = endpoint_cluster
    asked, began = len(cluster.server.requests), time.monotonic()
    cluster.produce_for("kept", 4 * LIFETIME)
    cluster.check_logs()
    assert {id for id, _ in cluster.server.requests} == set(cluster.clients)
    assert {form for _, form in cluster.server.requests} == {"grant_type=client_credentials&scope=kafka"}
    # Each node replaces its token after four fifths of its life, one for both listeners.
    made, lives = len(cluster.server.requests) - asked, (time.monotonic() - began) / LIFETIME
    assert 3 * (lives - 1) <= made <= 3 * (1.6 * lives + 1), (made, lives)
    for node in cluster.nodes:
        assert "this node logs in at others with a token of this endpoint" in node.log()
        assert "secret of" not in node.log() + cluster.audit_log(node).read_text()


def test_an_endpoint_that_is_away_and_comes_back(endpoint_cluster):
    """A node that starts meanwhile waits for it; the others go on for as long as their tokens last, and again after that."""
    cluster = endpoint_cluster
    node = cluster.nodes[2]
    cluster.server.close()
    node.kill()
    node.start()
    wait_until(lambda: "this node has no token to log in at others with, and waits for one" in node.log(), "it says so", 30)
    assert not node.is_ready and str(cluster.port) in node.log()
    # Nobody has a token any more.
    wait_until(
        lambda: all("the token for other nodes has ended, and there is no new one" in other.log() for other in cluster.nodes[:2]),
        "the tokens have ended", 30)
    cluster.open()
    node.wait_ready(60)
    cluster.wait_whole(60)
    cluster.produce_for("after", LIFETIME)


def test_a_node_with_a_wrong_secret(endpoint_cluster):
    cluster = endpoint_cluster
    node = cluster.nodes[2]
    secret = cluster.clients[node.name]
    cluster.clients[node.name] = "another"
    node.kill()
    start = len(node.log())
    node.start()
    reason = f"{cluster.server.url} gave no token to client {node.name}: the answer is HTTP status 401: invalid_client, {node.name} is not known by …"
    wait_until(lambda: reason in node.log()[start:], "it says why", 30)
    assert not node.is_ready and secret not in node.log()
    cluster.clients[node.name] = secret
    node.wait_ready(60)
    cluster.wait_whole(60)


def test_another_secret_by_dynamic_configuration(endpoint_cluster):
    """A secret is replaced without a restart: first both are good, then only the new one."""
    cluster = endpoint_cluster
    node = cluster.nodes[1]
    old, admin = cluster.clients[node.name], cluster.admin()
    cluster.clients[node.name] = {old, "the next one"}
    [(key, value)] = cluster.jaas("replication", "the next one").items()
    change = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.BROKER, str(node.number), incremental_configs=[change])
    admin.incremental_alter_configs([resource])[resource].result(30)
    wait_until(lambda: "the next one" in cluster.server.secrets, "the new secret is in use", 30)
    assert "the next one" not in node.log()
    cluster.produce_for("renewed", 2 * LIFETIME)
    cluster.clients[node.name] = old
    resource = ConfigResource(
        ConfigResource.Type.BROKER, str(node.number),
        incremental_configs=[ConfigEntry(key, "", incremental_operation=AlterConfigOpType.DELETE)])
    admin.incremental_alter_configs([resource])[resource].result(30)
    changed = "this node's own token comes from another place or by other settings"
    wait_until(lambda: node.log().count(changed) == 2, "the secret of the file is in use again", 30)
    cluster.produce_for("restored", LIFETIME)
    assert "is not known by" not in node.log()
