"""SASL with the clients people use: PLAIN and SCRAM, right and wrong passwords, sessions that are renewed, users that come and go."""

import socket
import struct
import subprocess
import time

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource
from kafka import KafkaProducer
from kafka.errors import KafkaError as KafkaPythonError

from broker import binary, wait_until
from confluent import producer, read_all, send
from logins import aiokafka_round, confluent_round, kafka_python_round
from secured import ADMIN_PASSWORD, FILE_PASSWORD, PLAIN, SecuredBroker, events, jaas
from test_cli import martlet
from topics import create

SCRAM_PASSWORD = "pencil, with = marks"
MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    broker = SecuredBroker(
        {
            "CLIENTS": ("SASL_PLAINTEXT", {
                "sasl.enabled.mechanisms": ",".join(MECHANISMS),
                "plain.sasl.jaas.config": jaas(PLAIN, user_admin=ADMIN_PASSWORD),
            }),
            "BRIEF": ("SASL_PLAINTEXT", {"sasl.enabled.mechanisms": "SCRAM-SHA-256", "connections.max.reauth.ms": "2000"}),
        },
        {"connection.failed.authentication.delay.ms": "300"})
    broker.settings["martlet.audit.log.file"] = str(broker.directory / "audit.log")
    with broker:
        password = broker.directory / "password"
        password.write_text(SCRAM_PASSWORD + "\n")
        martlet("user", "set", "alice", "--password-file", password, bootstrap=broker.bootstrap)
        yield broker
        assert broker.is_running(), broker.log()[-4000:]
        log = broker.log() + (broker.directory / "audit.log").read_text()
        for secret in [ADMIN_PASSWORD, FILE_PASSWORD, SCRAM_PASSWORD]:
            assert secret not in log
        assert broker.stop() == 0


def login(mechanism: str, user: str | None = None, password: str | None = None) -> dict[str, str]:
    """librdkafka's settings."""
    known = ("admin", ADMIN_PASSWORD) if mechanism == "PLAIN" else ("alice", SCRAM_PASSWORD)
    return {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": user or known[0],
        "sasl.password": password or known[1],
    }


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_confluent_writes_and_reads(secured, mechanism, name):
    create(secured.bootstrap, name)
    confluent_round(secured.address("CLIENTS"), name, login(mechanism))


def password(mechanism: str) -> dict[str, str]:
    """The settings of kafka-python and aiokafka."""
    known = login(mechanism)
    return {"sasl_plain_username": known["sasl.username"], "sasl_plain_password": known["sasl.password"]}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_kafka_python_writes_and_reads(secured, mechanism, name):
    create(secured.bootstrap, name)
    kafka_python_round(secured.address("CLIENTS"), name, mechanism, **password(mechanism))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_aiokafka_writes_and_reads(secured, mechanism, name):
    create(secured.bootstrap, name)
    aiokafka_round(secured.address("CLIENTS"), name, mechanism, **password(mechanism))


def test_users_of_the_file(secured, name):
    create(secured.bootstrap, name)
    send(producer(secured.address("CLIENTS"), **login("PLAIN", "fiona", FILE_PASSWORD)), name, [b"x"])
    (secured.directory / "users").write_text(f"fiona:{FILE_PASSWORD}\ngina:other\n")

    def gina_logs_in():
        return martlet_client(secured, "PLAIN", "gina", "other").returncode == 0

    wait_until(gina_logs_in, "the new user of the file logs in", 30, pause=0.5)


def martlet_client(secured, mechanism: str, user: str, password: str) -> subprocess.CompletedProcess:
    file = secured.client_file(
        f"{mechanism}-{user}", security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_username=user, sasl_password=password)
    return martlet("topic", "list", "--timeout", "5", "--command-config", file, "-b", secured.address("CLIENTS"), check=False)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_wrong_passwords_are_refused_late_and_with_reason(secured, mechanism):
    user = login(mechanism)["sasl.username"]
    errors = []
    client = AdminClient({
        "bootstrap.servers": secured.address("CLIENTS"), **login(mechanism, user, "wrong"), "error_cb": errors.append,
        "socket.timeout.ms": 5000})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=3)
    client.poll(1)
    assert any(error.code() == KafkaError._AUTHENTICATION for error in errors), errors
    before = time.monotonic()
    done = martlet_client(secured, mechanism, user, "wrong")
    assert done.returncode == 1 and "refused the login" in done.stderr and "wrong" not in done.stderr
    assert time.monotonic() - before >= 0.3
    with pytest.raises(KafkaPythonError):
        KafkaProducer(
            bootstrap_servers=secured.address("CLIENTS"), security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism,
            sasl_plain_username=user, sasl_plain_password="wrong", bootstrap_timeout_ms=3000)
    failed = [
        event for event in events(secured)
        if event["event"] == "login-failed" and event.get("user") == user and event["mechanism"] == mechanism]
    assert failed and failed[-1]["host"] == "127.0.0.1" and "password" in failed[-1]["reason"]


def test_a_mechanism_that_is_not_enabled(secured):
    file = secured.client_file(
        "unknown", security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="admin", sasl_password="x")
    done = martlet("topic", "list", "--command-config", file, "-b", secured.address("BRIEF"), check=False)
    assert done.returncode == 1 and "it takes SCRAM-SHA-256" in done.stderr


def test_a_client_without_sasl_is_turned_away(secured):
    done = martlet("topic", "list", "--timeout", "3", "-b", secured.address("CLIENTS"), check=False)
    assert done.returncode == 1 and "closed by the broker" in done.stderr


def test_bare_messages_after_a_handshake_of_version_0(secured):
    with socket.create_connection(("127.0.0.1", secured.ports["CLIENTS"]), timeout=10) as connection:
        def exchange(payload: bytes) -> bytes:
            connection.sendall(struct.pack(">i", len(payload)) + payload)
            [size] = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
            return connection.recv(size, socket.MSG_WAITALL) if size else b""

        handshake = struct.pack(">hhih", 17, 0, 7, -1) + struct.pack(">h", 5) + b"PLAIN"
        answer = exchange(handshake)
        assert answer[:6] == struct.pack(">ih", 7, 0)
        assert exchange(b"\0admin\0" + ADMIN_PASSWORD.encode()) == b""
        # ApiVersions, version 0, is answered as on any connection.
        assert exchange(struct.pack(">hhih", 18, 0, 8, -1))[:6] == struct.pack(">ih", 8, 0)


def test_too_large_a_message_before_the_login(secured):
    with socket.create_connection(("127.0.0.1", secured.ports["CLIENTS"]), timeout=10) as connection:
        connection.sendall(struct.pack(">i", 1 << 20))
        assert connection.recv(1) == b""


def test_sessions_are_renewed(secured, name):
    """KIP-368: librdkafka logs in again before two seconds are over, on the same connection, and nothing is lost."""
    create(secured.bootstrap, name)
    sender = producer(secured.address("BRIEF"), **login("SCRAM-SHA-256"))
    until = time.monotonic() + 5
    sent = 0
    while time.monotonic() < until:
        send(sender, name, [b"%d" % sent])
        sent += 1
        time.sleep(0.05)
    values = [message.value() for message in read_all(secured.bootstrap, name)]
    assert values == [b"%d" % number for number in range(sent)]


def test_users_come_and_go(secured):
    password = secured.directory / "bob"
    password.write_text("first")
    run = lambda *arguments: martlet(*arguments, bootstrap=secured.bootstrap)  # noqa: E731
    run("user", "set", "bob", "--mechanism", "SCRAM-SHA-512", "--password-file", password)
    assert martlet_client(secured, "SCRAM-SHA-512", "bob", "first").returncode == 0
    assert martlet_client(secured, "SCRAM-SHA-256", "bob", "first").returncode == 1
    password.write_text("second")
    run("user", "set", "bob", "--password-file", password)
    assert martlet_client(secured, "SCRAM-SHA-512", "bob", "first").returncode == 1
    assert martlet_client(secured, "SCRAM-SHA-256", "bob", "second").returncode == 0
    listed = run("user", "list").stdout
    assert "bob" in listed and "SCRAM-SHA-512" in listed and "second" not in listed
    run("user", "delete", "bob")
    assert martlet_client(secured, "SCRAM-SHA-256", "bob", "second").returncode == 1
    assert "bob" not in run("user", "list").stdout


def test_confluent_manages_users(secured):
    from confluent_kafka.admin import (
        ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion)

    client = AdminClient({"bootstrap.servers": secured.bootstrap})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    upsertion = UserScramCredentialUpsertion("carol", info, b"carols password")
    client.alter_user_scram_credentials([upsertion])["carol"].result(30)
    described = client.describe_user_scram_credentials(["carol"])["carol"].result(30)
    assert [(each.mechanism, each.iterations) for each in described.scram_credential_infos] == [(ScramMechanism.SCRAM_SHA_256, 4096)]
    assert martlet_client(secured, "SCRAM-SHA-256", "carol", "carols password").returncode == 0
    weak = UserScramCredentialUpsertion("weak", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 10), b"x")
    with pytest.raises(KafkaException):
        client.alter_user_scram_credentials([weak])["weak"].result(30)
    client.alter_user_scram_credentials([UserScramCredentialDeletion("carol", ScramMechanism.SCRAM_SHA_256)])["carol"].result(30)
    with pytest.raises(KafkaException):
        client.describe_user_scram_credentials(["carol"])["carol"].result(30)


def test_passwords_are_never_described(secured):
    client = AdminClient({"bootstrap.servers": secured.bootstrap})
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    described = client.describe_configs([resource])[resource].result(30)
    entry = described["listener.name.clients.plain.sasl.jaas.config"]
    assert entry.is_sensitive and entry.value is None
    for entry in described.values():
        assert "secret" not in (entry.value or "") and all("secret" not in (each.value or "") for each in entry.synonyms.values())


def test_format_adds_users(tmp_path):
    """`format --add-scram`: the user is there at the first start, and survives the next."""
    broker = SecuredBroker({"CLIENTS": ("SASL_PLAINTEXT", {"sasl.enabled.mechanisms": "SCRAM-SHA-512"})})
    path = broker.directory / "server.properties"
    done = formatted_with(broker, "--add-scram", "SCRAM-SHA-512=[name=root,password=root, secret]")
    try:
        assert path.exists() and done.returncode == 0, done.stderr
        broker.start()
        for _ in range(2):
            file = broker.client_file(
                "root", security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512", sasl_username="root",
                sasl_password="root, secret")
            assert martlet("topic", "list", "--command-config", file, "-b", broker.address("CLIENTS")).returncode == 0
            assert broker.stop() == 0
            broker.start()
    finally:
        broker.remove()


def formatted_with(broker, *arguments) -> subprocess.CompletedProcess:
    """Writes the properties and formats with more arguments than usual."""
    real = subprocess.run
    seen = []

    def run(command, **options):
        seen.append(real([*command, *arguments], **options))
        return seen[-1]

    subprocess.run = run
    try:
        broker.write_properties()
    finally:
        subprocess.run = real
    return seen[0]
