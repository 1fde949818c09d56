"""What a mirror does to records and topics on their way: transforms, settings of the destination, topics added and blocked while it runs;
and several processes with the same file."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
from functools import partial

import pytest

from clusters import QUICK_RECONNECT, Cluster
from mirror_process import Mirror, mirrors_between, one_node_clusters
from mirrors import EPOCH, Row, Stream, ask, metric, rows, send, values, wait_for
from nodes import binary, wait_until

SECRET = "a secret that nobody can guess"


@pytest.fixture(scope="module")
def two():
    with one_node_clusters("AB") as clusters:
        yield clusters


@pytest.fixture
def mirror(two, tmp_path):
    with mirrors_between(tmp_path, two, {"A->B.enabled": "true"}) as make:
        yield partial(make, "AB")


def martlet(*arguments, status: int = 0) -> str:
    done = subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == (status == 0), done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def row(value, key: str = "k", headers: tuple = (), number: int = 0) -> Row:
    text = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Row(0, key.encode(), text, headers, EPOCH + number)


def test_transforms(two, mirror, tmp_path):
    """Fields, keys and headers are dropped, hashed, tokenised and masked, records are left out; what is no JSON holds up its partition
    until the file says otherwise."""
    a, b = two["A"], two["B"]
    a.create("customers", 1)
    a.create("plain", 1)
    secret = tmp_path / "pii.key"
    secret.write_text(SECRET + "\n")
    settings = {
        "topics": "customers, plain", "A->B.transforms": "country, pii",
        "A->B.transforms.country.topics": "cust.*", "A->B.transforms.country.keep": "value.country = DE, value.country = AT",
        "A->B.transforms.country.discard": "header.env = test",
        "A->B.transforms.pii.topics": "cust.*", "A->B.transforms.pii.drop": "value.**.password, header.user",
        "A->B.transforms.pii.hash": "key, value.email", "A->B.transforms.pii.mask": "value.cards.number",
        "A->B.transforms.pii.tokenise": "value.name", "A->B.transforms.pii.secret.file": str(secret),
        "A->B.topic.config.retention.ms": "11111111111",
    }
    person = {
        "country": "DE", "email": "zoe@example.org", "name": "Zoe 12", "password": "hunter2", "n": 1.5,
        "cards": [{"number": "4111", "password": "hunter2", "x": 1}, {"number": 42}]}
    sent = [
        row(person, "zoe", (("user", b"zoe"), ("trace", b"1"))), row({**person, "country": "FR"}, number=1),
        row(person, headers=(("env", b"test"),), number=2), row(None, "zoe", number=3)]
    send(a.bootstrap, "customers", sent, **{"compression.type": "zstd"})
    send(a.bootstrap, "plain", rows(10))
    running = mirror(settings, "--admin", "0")
    port = admin_port(running)
    wait_until(lambda: len(values(b.bootstrap, "A.customers")) == 1 or None, "a record is there", 30, pause=0.2)
    # A tombstone has no country.
    [found] = values(b.bootstrap, "A.customers")
    changed = json.loads(found.value)
    digest = lambda text: hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()  # noqa: E731
    assert found.key == digest("zoe").encode() and found.headers == (("trace", b"1"),) and found.timestamp == EPOCH
    assert changed["email"] == digest("zoe@example.org") and "password" not in found.value.decode() and "hunter2" not in found.value.decode()
    assert changed["cards"] == [{"number": "****", "x": 1}, {"number": 0}] and changed["n"] == 1.5 and changed["country"] == "DE"
    assert changed["name"] != "Zoe 12" and len(changed["name"]) == 6 and changed["name"][3] == " " and changed["name"][4:].isdigit()
    wait_for(b.bootstrap, "A.plain", rows(10))
    labels = {"source": "A", "target": "B", "topic": "A.customers", "partition": "0"}
    assert metric(running.metrics_port, "martlet_mirror_transformed_records_total", **labels) == 1
    assert metric(running.metrics_port, "martlet_mirror_filtered_records_total", **labels) == 3

    # No JSON: the partition waits with the reason, others go on.
    send(a.bootstrap, "customers", [row(b"{\"country\":\"DE\"", number=4), row({"country": "AT"}, number=5)])

    def state():
        [flow] = [each for each in json.loads(ask(port, "/mirror/state")[1]) if each["flow"] == "A->B"]
        return {each["source"]: each for each in flow["partitions"]}["customers-0"]

    stopped = wait_until(lambda: state() if state()["problem"] else None, "the partition waits", 30, pause=0.3)
    for words in ("offset 4", "'country'", "not JSON", "malformed"):
        assert words in stopped["problem"], stopped
    assert (stopped["refused"], stopped["changed"], stopped["dropped"], stopped["next"]) == (1, 1, 3, 4)
    send(a.bootstrap, "plain", rows(10, first=10))
    wait_for(b.bootstrap, "A.plain", rows(20))
    assert running.stop() == 0
    running = mirror({**settings, "A->B.transforms.country.malformed": "drop"})
    wait_until(lambda: len(values(b.bootstrap, "A.customers")) == 2, "it goes on", 30, pause=0.2)
    assert json.loads(values(b.bootstrap, "A.customers")[1].value) == {"country": "AT"}
    # The destination keeps records for as long as its own setting says.
    a_config, b_config = martlet("config", "describe", "--topic", "plain", "-b", a.bootstrap), martlet(
        "config", "describe", "--topic", "A.plain", "-b", b.bootstrap)
    assert "11111111111" in b_config and "11111111111" not in a_config
    martlet("config", "set", "--topic", "A.plain", "retention.ms=22222222222", "-b", b.bootstrap)
    wait_until(
        lambda: "11111111111" in martlet("config", "describe", "--topic", "A.plain", "-b", b.bootstrap), "the file's setting again", 30, pause=0.5)

    for wrong, words in (
        ({"A->B.transforms.pii.secret.file": str(tmp_path / "none")}, "cannot be read"), ({"A->B.transforms.pii.dorp": "key"}, "dorp"),
    ):
        Mirror(tmp_path, {"A": a.bootstrap, "B": b.bootstrap}, {"A->B.enabled": "true", **settings, **wrong}, name="wrong")
        assert words in martlet("mirror", "check", tmp_path / "mm2.properties", status=1)


def admin_port(running: Mirror) -> int:
    """The port of `--admin 0`, out of the log."""
    def found():
        return [int(word.removeprefix("port=")) for word in running.log().split() if word.startswith("port=")]

    return wait_until(found, "the admin port is open", 30)[-1]


def test_topics_at_run_time(two, mirror, tmp_path):
    """Topics are added, removed and blocked over REST and by the command while the mirror runs, and it stays so over another start."""
    a, b = two["A"], two["B"]
    for name in ("named", "extra"):
        a.create(name, 1)
        send(a.bootstrap, name, rows(10))
    settings = {"topics": "named.*", "refresh.topics.interval.seconds": "3600"}
    running = mirror(settings, "--admin", "0")
    file, port = tmp_path / "mm2.properties", admin_port(running)
    wait_for(b.bootstrap, "A.named", rows(10))

    def listed():
        return {each["topic"]: (each["rule"], each["replicated"]) for each in json.loads(martlet("mirror", "topics", "list", file, "--json"))}

    assert listed()["named"] == (None, True) and "extra" not in listed()
    assert ask(port, "/mirror/topics/extra", "PUT")[0] == 200
    wait_for(b.bootstrap, "A.extra", rows(10))
    assert listed()["extra"] == ("added", True)
    martlet("mirror", "topics", "block", file, "named", "--flow", "A->B")

    def replicated():
        return {each["source"] for flow in json.loads(ask(port, "/mirror/state")[1]) for each in flow["partitions"]}

    wait_until(lambda: "named-0" not in replicated(), "it is replicated no more", 30)
    send(a.bootstrap, "named", rows(10, first=10))
    send(a.bootstrap, "extra", rows(10, first=10))
    wait_for(b.bootstrap, "A.extra", rows(20))
    assert values(b.bootstrap, "A.named") == rows(10)
    assert json.loads(ask(port, "/mirror/blocked")[1])[0]["topic"] == "named"

    for path, method, status, words in (
        ("/mirror/topics/named", "DELETE", 400, "block"), ("/mirror/topics/no%20name", "PUT", 400, "letters"),
        ("/mirror/topics/__consumer_offsets", "PUT", 400, "internal"), ("/mirror/topics/B.x", "PUT", 400, "comes from B"),
        ("/mirror/topics/x?flow=B-%3EA", "PUT", 400, "A->B"), ("/mirror/topics", "PUT", 405, "TOPIC"), ("/mirror/blocked/x", "DELETE", 400, "not blocked"),
    ):
        answer = ask(port, path, method)
        assert answer[0] == status and words in answer[1], (path, answer)
    assert ask(port, "/mirror/topics/extra", "DELETE", {"Origin": "http://evil.example"})[0] == 403
    # Only for this machine, unless a token protects it.
    refused = martlet("mirror", "run", file, "--admin", "0.0.0.0:0", status=1)
    assert "--admin-token-file" in refused

    assert running.stop() == 0
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length\n")
    running = mirror(settings, "--admin", "0.0.0.0:0", "--admin-token-file", str(token))
    port = wait_until(lambda: running.log().count("port=") == 2 and admin_port(running), "the admin port is open", 30)
    wait_until(lambda: "extra-0" in replicated(), "what was said is kept", 30, pause=0.2)
    assert "named-0" not in replicated() and values(b.bootstrap, "A.named") == rows(10)
    assert ask(port, "/mirror/blocked/named", "DELETE")[0] == 401
    assert ask(port, "/mirror/blocked/named", "DELETE", {"Authorization": "Bearer a-token-of-some-length"})[0] == 200
    wait_for(b.bootstrap, "A.named", rows(20))
    martlet("mirror", "topics", "remove", file, "extra")
    wait_until(lambda: "extra-0" not in replicated(), "it is replicated no more", 30)
    assert "extra" not in listed()


@pytest.mark.parametrize("support", ["disabled", "enabled"])
def test_two_processes(two, mirror, support):
    """Two processes share the work; one is killed under load, another one comes, one is held up: nothing is lost, with exactly-once
    nothing comes twice."""
    a, b = two["A"], two["B"]
    topic = f"shared-{support}"
    a.create(topic, 6)
    settings = {
        "topics": f"{topic}.*", "dedicated.mode.enable.internal.rest": "true", "session.timeout.ms": "3000", "heartbeat.interval.ms": "500",
        "tasks.max": "4", "exactly.once.source.support": support}
    pair = [mirror(settings, name="one"), mirror(settings, name="two")]

    def own(process: Mirror) -> set[str]:
        try:
            text = ask(process.metrics_port, "/metrics")[1]
        except OSError:
            return set()
        return {
            line.split('partition="')[1].split('"')[0] for line in text.splitlines()
            if line.startswith("martlet_mirror_lag_records{") and f'"A.{topic}"' in line}

    with Stream(a.bootstrap, topic, 6, transactional=support == "enabled") as stream:
        wait_until(lambda: own(pair[0]) and own(pair[1]) and len(own(pair[0]) | own(pair[1])) == 6, "both copy", 40, pause=0.3)
        assert own(pair[0]).isdisjoint(own(pair[1]))
        kept = own(pair[1])
        # A new topic disturbs nobody.
        a.create(f"{topic}-new", 2)
        send(a.bootstrap, f"{topic}-new", rows(40, 2))
        wait_for(b.bootstrap, f"A.{topic}-new", rows(40, 2))
        assert kept == own(pair[1])
        pair[0].kill()
        wait_until(lambda: len(own(pair[1])) == 6, "the other one takes over", 40, pause=0.3)
        assert kept <= own(pair[1])
        pair[0].start()
        wait_until(lambda: own(pair[0]) and len(own(pair[1])) < 6, "the new one takes its part", 40, pause=0.3)
        # Held up for so long that the other one takes over, it does no harm when it goes on.
        os.kill(pair[1].process.pid, signal.SIGSTOP)
        wait_until(lambda: len(own(pair[0])) == 6, "the other one takes over", 40, pause=0.3)
        os.kill(pair[1].process.pid, signal.SIGCONT)
        wait_until(lambda: own(pair[1]) and len(own(pair[0])) < 6, "it takes its part again", 40, pause=0.3)
    everything = sorted(stream.expected, key=lambda each: each.partition)
    wait_until(lambda: set(values(b.bootstrap, f"A.{topic}")) >= set(everything), "everything is there", 60, pause=0.5)
    found = values(b.bootstrap, f"A.{topic}")
    if support == "enabled":
        assert found == everything
    assert list(dict.fromkeys(found)) == everything
    # A clean stop hands over at once.
    assert pair[0].stop() == 0
    more = rows(60, 6, first=900_000)
    send(a.bootstrap, topic, more)
    wait_until(lambda: set(values(b.bootstrap, f"A.{topic}")) >= set(more), "the rest is copied", 20, pause=0.3)
    assert pair[1].stop() == 0


def test_protected_clusters(tmp_path):
    """TLS with SCRAM on one side, SCRAM on the other, both with access control."""
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    martlet("cert", "ca", "--directory", tmp_path / "certs")
    logins = {}

    class Protected(Cluster):
        def __init__(self, protocol: str, mechanism: str, password: str):
            super().__init__(1, proxied=False, settings={
                "listener.security.protocol.map": f"PLAINTEXT:{protocol},REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "listener.name.plaintext.sasl.enabled.mechanisms": mechanism, "super.users": "User:mirror;User:ANONYMOUS",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer"})
            self.mechanism, self.password = mechanism, password
            node = self.nodes[0]
            if protocol == "SASL_SSL":
                name = f"{protocol}-node"
                martlet("cert", "node", name, "--host", "127.0.0.1", "--directory", tmp_path / "certs")
                node.configure({**self.shared, "ssl.keystore.type": "PEM", "ssl.keystore.location": str(tmp_path / "certs" / f"{name}.pem")})
            self.login = {
                "security.protocol": protocol, "sasl.mechanism": mechanism, "sasl.username": "mirror", "sasl.password": password,
                **({"ssl.ca.location": str(tmp_path / "certs" / "ca.pem")} if protocol == "SASL_SSL" else {})}

        def start(self) -> "Protected":
            node = self.nodes[0]
            node.format("--add-scram", f"{self.mechanism}=[name=mirror,password={self.password}]")
            node.start()
            node.wait_ready(60)
            self.wait_whole(60)
            return self

        def admin(self):
            from confluent_kafka.admin import AdminClient
            return AdminClient({"bootstrap.servers": self.bootstrap, "socket.timeout.ms": 10_000, **QUICK_RECONNECT, **self.login})

    source, target = Protected("SASL_SSL", "SCRAM-SHA-512", "source-secret"), Protected("SASL_PLAINTEXT", "SCRAM-SHA-256", "target-secret")
    try:
        for cluster in (source, target):
            cluster.start()
        source.create("guarded", 2)
        send(source.bootstrap, "guarded", rows(100, 2), **source.login)
        settings = {"A->B.enabled": "true", "topics": "guarded"}
        for alias, cluster in (("A", source), ("B", target)):
            settings |= {
                f"{alias}.security.protocol": cluster.login["security.protocol"], f"{alias}.sasl.mechanism": cluster.mechanism,
                f"{alias}.sasl.jaas.config": f'{scram} required username="mirror" password="{cluster.password}";'}
        settings |= {"A.ssl.truststore.type": "PEM", "A.ssl.truststore.location": str(tmp_path / "certs" / "ca.pem")}
        with Mirror(tmp_path, {"A": source.bootstrap, "B": target.bootstrap}, settings) as running:
            wait_for(target.bootstrap, "A.guarded", rows(100, 2), settings=target.login)
            assert running.stop() == 0
        # A wrong password is said, again and again, and nothing is copied.
        wrong = {**settings, "B.sasl.jaas.config": f'{scram} required username="mirror" password="no";'}
        with Mirror(tmp_path, {"A": source.bootstrap, "B": target.bootstrap}, wrong, name="wrong") as running:
            wait_until(lambda: "preparing failed" in running.log() and "uthentication" in running.log(), "the refusal is said", 30)
            assert running.is_running
    finally:
        for cluster in (source, target):
            cluster.close()
