"""Three nodes that log in at each other by OAUTHBEARER, with tokens of a few seconds in files that something else keeps fresh: quorum and
replication go on over many tokens, and a node whose token is no good is left out."""

import threading
import time

import pytest

from clusters import Cluster
from confluent import producer, read_all, send
from tokens import AUDIENCE, ISSUER, Issuer

LIFETIME = 8


class TokenCluster(Cluster):
    def __init__(self):
        super().__init__(3, proxied=False)
        self.issuer = Issuer(self.directory)
        self.stopped = threading.Event()
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
                "sasl.oauthbearer.token.endpoint.url": f"file://{self.token_file(node)}",
                "martlet.audit.log.file": str(self.audit_log(node)),
            }
            node.properties.write_text("".join(f"{key}={value}\n" for key, value in node.settings.items()))
        self.write_tokens()

    def token_file(self, node):
        return self.directory / f"{node.name}.token"

    def audit_log(self, node):
        return self.directory / f"{node.name}.audit"

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
    cluster.create("kept", 3)
    cluster.wait_whole()
    sent = []
    sender = producer(cluster.bootstrap, acks="all")
    until = time.monotonic() + 5 * LIFETIME
    while time.monotonic() < until:
        values = [b"%d" % (len(sent) + number) for number in range(100)]
        send(sender, "kept", values)
        sent += values
        time.sleep(0.2)
    cluster.wait_whole()
    found = [message.value() for message in read_all(cluster.bootstrap, "kept", 3)]
    assert sorted(found) == sorted(sent)
    for node in cluster.nodes:
        log = cluster.audit_log(node).read_text()
        assert "login-failed" not in log
        assert any(f'"principal":"User:{other.name}"' in log for other in cluster.nodes if other is not node)
        assert "eyJ" not in node.log()


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
