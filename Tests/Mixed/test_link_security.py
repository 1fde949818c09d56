"""Links whose source is an Apache Kafka that trusts nobody: by TLS, with and without a certificate of one's own, and by logging in with PLAIN
and SCRAM, in clear text and over TLS. The link's user may do at Kafka what the manual says that it needs, and no more."""

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from broker import free_port
from commands import martlet, martlet_json
from contents import Contents, commit, fill, transact
from kafka_nodes import KAFKA
from links import SOURCE_ID, batches, destination_cluster, mirror, wait_mirror
from mixed_clusters import MixedCluster
from nodes import wait_until
from secured import AUTHORIZER, PLAIN, SCRAM, jaas

PLAIN_PASSWORD, SCRAM_PASSWORD = 'link "secret" \\ 1', "link-secret-2"
LISTENERS = {"TLS": "SSL", "MUTUAL": "SSL", "ELSEWHERE": "SSL", "LOGIN": "SASL_PLAINTEXT", "BOTH": "SASL_SSL"}
PLAIN_LOGIN = {"sasl.mechanism": "PLAIN", "sasl.jaas.config": jaas(PLAIN, username="mirror", password=PLAIN_PASSWORD)}
SCRAM_LOGIN = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": jaas(SCRAM, username="mirror", password=SCRAM_PASSWORD)}
# By which listener, and how.
WAYS = {
    "tls": ("TLS", {}),
    "certificate": ("MUTUAL", {}),
    "plain": ("LOGIN", PLAIN_LOGIN),
    "scram": ("LOGIN", SCRAM_LOGIN),
    "plain-tls": ("BOTH", PLAIN_LOGIN),
    "scram-tls": ("BOTH", SCRAM_LOGIN),
}


def properties(path: Path, values: dict[str, str]) -> Path:
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()).replace("\\", "\\\\"))
    return path


class SecuredKafka(MixedCluster):
    """Two brokers. Among themselves and with what the tests look at them by they speak clear text."""

    def __init__(self):
        super().__init__(KAFKA, KAFKA, roles=["broker,controller", "broker"], cluster_id=SOURCE_ID)
        self.certificates = self.directory / "certs"
        self.martlet("cert", "ca", "--directory", self.certificates)
        self.martlet("cert", "node", "node", "--host", "127.0.0.1", "--directory", self.certificates)
        self.martlet("cert", "node", "elsewhere", "--host", "elsewhere.example", "--directory", self.certificates)
        self.martlet("cert", "client", "mirror", "--subject", "OU=Tests,O=Martlet", "--directory", self.certificates)
        self.martlet("cert", "ca", "--name", "Stranger", "--directory", self.directory / "strangers")
        self.secured = {node: {name: free_port() for name in LISTENERS} for node in self.nodes}
        for node, ports in self.secured.items():
            own = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
            protocols = ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items())
            node.settings |= {
                **{key: f"{node.settings[key]},{own}" for key in ("listeners", "advertised.listeners")},
                "listener.security.protocol.map": f"{node.settings['listener.security.protocol.map']},{protocols}",
                "ssl.keystore.type": "PEM", "ssl.keystore.location": str(self.certificates / "node.pem"),
                "ssl.truststore.type": "PEM", "ssl.truststore.location": str(self.certificates / "ca.pem"),
                "listener.name.elsewhere.ssl.keystore.type": "PEM",
                "listener.name.elsewhere.ssl.keystore.location": str(self.certificates / "elsewhere.pem"),
                "listener.name.mutual.ssl.client.auth": "required", "ssl.principal.mapping.rules": "RULE:^CN=(.*?),.*$/$1/L,DEFAULT",
                "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
                **{f"listener.name.{name}.plain.sasl.jaas.config": jaas(PLAIN, user_mirror=PLAIN_PASSWORD) for name in ("login", "both")},
                **{f"listener.name.{name}.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;" for name in ("login", "both")},
                "authorizer.class.name": AUTHORIZER, "super.users": "User:ANONYMOUS",
            }
            properties(node.properties, node.settings)

    def format(self) -> None:
        for node in self.nodes:
            node.format("--add-scram", f"SCRAM-SHA-512=[name=mirror,password={SCRAM_PASSWORD}]")

    def start(self, seconds: float = 120) -> "SecuredKafka":
        super().start(seconds)
        allowed = [
            *((ResourceType.TOPIC, "from-", ResourcePatternType.PREFIXED, operation)
              for operation in (AclOperation.DESCRIBE, AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)),
            (ResourceType.TOPIC, "__transaction_state", ResourcePatternType.LITERAL, AclOperation.READ),
            (ResourceType.GROUP, "readers-", ResourcePatternType.PREFIXED, AclOperation.DESCRIBE),
        ]
        admin = self.admin()
        for future in admin.create_acls([
            AclBinding(kind, name, pattern, "User:mirror", "*", operation, AclPermissionType.ALLOW)
            for kind, name, pattern, operation in allowed
        ]).values():
            future.result(30)
        return self

    def secured_bootstrap(self, listener: str) -> str:
        return ",".join(f"127.0.0.1:{ports[listener]}" for ports in self.secured.values())

    def properties_of(self, way: str) -> dict[str, str]:
        """What a link needs to come by one of the ways, in Kafka's names."""
        listener, login = WAYS[way]
        found = {"bootstrap.servers": self.secured_bootstrap(listener), "security.protocol": LISTENERS[listener], **login}
        if LISTENERS[listener].endswith("SSL"):
            found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(self.certificates / "ca.pem")}
        if listener == "MUTUAL":
            found |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(self.certificates / "mirror.pem")}
        return found


@pytest.fixture(scope="module")
def source():
    with SecuredKafka() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(1) as cluster:
        yield cluster
        assert not any(secret in cluster.node(1).log() for secret in ("link-secret", "link \\\"secret", 'link "secret'))


@pytest.fixture
def linked(source, destination, tmp_path):
    """Makes a link by one of the ways, with a mirror of a topic of two partitions, which each broker leads one of."""
    made = []

    def make(name: str, way: str) -> str:
        topic = f"from-{name}"
        source.create(topic, 2, 1)
        wait_until(lambda: {each.leader for each in source.partitions(topic).values()} == {1, 2}, "each broker leads one", 30, 0.2)
        fill(source, topic, "first")
        path = properties(tmp_path / "link.properties", {
            **source.properties_of(way), "topic.config.sync.ms": "500", "availability.check.ms": "500",
            "availability.check.consecutive.failure.threshold": "2", "consumer.offset.sync.enable": "true", "consumer.offset.sync.ms": "1000"})
        martlet(destination, "link", "create", name, "--config", path)
        made.append(name)
        martlet(destination, "link", "mirror", name, topic)
        wait_mirror(destination, topic)
        return topic

    yield make
    for name in made:
        martlet(destination, "link", "delete", name, "--force")


def wait_same(source, destination, topic: str) -> None:
    for partition in source.partitions(topic):
        leader = source.leader(topic, partition)
        wait_until(
            lambda: batches(destination.node(1), topic, partition) == batches(leader, topic, partition), f"{topic}-{partition} is the same", 30, 0.1)


@pytest.mark.parametrize("way", WAYS)
def test_a_mirror_of_it_is_the_same_to_the_byte(source, destination, linked, tmp_path, way):
    topic, group = linked(way, way), f"readers-{way}"
    wait_same(source, destination, topic)
    commit(source, group, topic, {0: 17, 1: 23}, "so far")
    fill(source, topic, "second")
    transact(source, topic, f"kept-{way}", commits=True)
    transact(source, topic, f"void-{way}", commits=False)
    wait_same(source, destination, topic)
    expected = Contents(source, [topic], [group])
    assert expected.commits
    wait_until(lambda: expected.differences(Contents(destination, [topic], [group])) == [], "records and offsets are the same", 30, 0.5)
    described = martlet_json(destination, "link", "describe", way)
    assert described["link"]["transactions"]["problem"] == ""
    assert [each["error"] for each in described["synchronizations"]] == [""]
    assert "secret" not in json.dumps(described)
    verified = martlet(
        destination, "link", "verify", way, "--source-command-config", properties(tmp_path / "verify.properties", source.properties_of(way)),
        "--source-bootstrap-server", source.properties_of(way)["bootstrap.servers"])
    assert verified.returncode == 0


def test_a_broker_that_comes_back_is_logged_in_at_again(source, destination, linked):
    topic = linked("again", "scram-tls")
    broker = source.node(2)
    broker.stop()
    broker.start().wait_ready()
    source.wait_whole()
    fill(source, topic, "afterwards")
    wait_same(source, destination, topic)
    assert mirror(destination, topic)["state"] == "ACTIVE"


def wrong_settings(source: SecuredKafka) -> dict[str, tuple[str, dict[str, str], str]]:
    """Ways, what is wrong then, and what has to be said of it."""
    strangers = str(source.directory / "strangers" / "ca.pem")
    return {
        "plain": ("plain", {"sasl.jaas.config": jaas(PLAIN, username="mirror", password="wrong-one")}, "refused the login"),
        "scram": ("scram-tls", {"sasl.jaas.config": jaas(SCRAM, username="mirror", password="wrong-one")}, "refused the login"),
        "nobody": ("scram-tls", {"sasl.jaas.config": jaas(SCRAM, username="nobody", password="wrong-one")}, "refused the login"),
        "mechanism": ("scram-tls", {"sasl.mechanism": "SCRAM-SHA-256"}, "does not take SCRAM-SHA-256"),
        "authority": ("tls", {"ssl.truststore.location": strangers}, "certificate is not to be trusted"),
        "name": ("tls", {"bootstrap.servers": source.secured_bootstrap("ELSEWHERE")}, "elsewhere.example"),
        "no certificate": ("certificate", {"ssl.keystore.location": ""}, "demand"),
        "clear text": ("tls", {"security.protocol": "PLAINTEXT"}, "speaks TLS"),
    }


WRONG = ["plain", "scram", "nobody", "mechanism", "authority", "name", "no certificate", "clear text"]


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_and_can_be_mended(source, destination, linked, tmp_path, what):
    way, wrong, words = wrong_settings(source)[what]
    right = source.properties_of(way)
    changed = {key: value for key, value in {**right, **wrong}.items() if value or key not in wrong}
    wrong_file = properties(tmp_path / "wrong.properties", changed)
    refused = martlet(destination, "link", "create", "never", "--config", wrong_file, "--dry-run", check=False)
    assert refused.returncode == 1 and words in refused.stderr, refused.stderr

    name = f"wrong-{what.replace(' ', '-')}"
    topic = linked(name, way)
    taken_away = [argument for key in wrong if key not in changed for argument in ("--delete", key)]
    martlet(destination, "link", "config", name, "--config", wrong_file, *taken_away)
    reason = wait_mirror(destination, topic, "LINK_FAILED", None)["reason"]
    assert words in reason and "wrong-one" not in reason
    assert reason in " ".join(martlet(destination, "link", "describe", name).stdout.split()), "people are told, too"
    fill(source, topic, "meanwhile", 10)
    martlet(destination, "link", "config", name, "--config", properties(tmp_path / "right.properties", right))
    wait_mirror(destination, topic)
    wait_same(source, destination, topic)
