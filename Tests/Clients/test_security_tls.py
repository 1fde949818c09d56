"""TLS with the clients people use: versions, certificates of clients, names, new certificates without a restart, and errors that say
what is wrong on both sides."""

import asyncio
import os
import ssl
import subprocess

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer, KafkaProducer

from broker import wait_until
from confluent import producer, read_all, send
from secured import PLAIN, SecuredBroker, certificates, events, jaas
from test_cli import martlet
from topics import create


@pytest.fixture(scope="module")
def secured():
    broker = SecuredBroker({})
    certs = certificates(broker.directory)
    store = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(certs / "node.pem")}
    trust = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(certs / "ca.pem")}
    martlet("cert", "node", "elsewhere", "--host", "elsewhere.example", "--directory", certs)
    run_openssl(certs)
    bundle = {
        "ssl.keystore.type": "PKCS12", "ssl.keystore.location": str(certs / "node.p12"), "ssl.keystore.password": "bundle-secret"}
    inline = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": blocks_of((certs / "node.pem").read_text(), "PRIVATE KEY"),
        "ssl.keystore.certificate.chain": blocks_of((certs / "node.pem").read_text(), "CERTIFICATE"),
        "ssl.truststore.certificates": blocks_of((certs / "ca.pem").read_text(), "CERTIFICATE"),
    }
    rules = "RULE:^CN=(.*?),.*$/$1/L,DEFAULT"
    broker = SecuredBroker(
        {
            "TLS": ("SSL", {**store}),
            "MUTUAL": ("SSL", {**store, **trust, "ssl.client.auth": "required", "ssl.principal.mapping.rules": rules}),
            "ASKED": ("SSL", {**inline, "ssl.client.auth": "requested"}),
            "MISNAMED": ("SSL", {**store, "ssl.keystore.location": str(certs / "elsewhere.pem")}),
            "OLD": ("SSL", {**bundle, "ssl.enabled.protocols": "TLSv1.2"}),
            "BOTH": ("SASL_SSL", {
                **store, "sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": jaas(PLAIN, user_admin="admin-secret")}),
        })
    broker.certs = certs
    broker.settings["martlet.audit.log.file"] = str(broker.directory / "audit.log")
    with broker:
        yield broker
        assert broker.is_running(), broker.log()[-4000:]
        assert "bundle-secret" not in broker.log() and "MIG" not in broker.log()
        assert broker.stop() == 0


def run_openssl(certs) -> None:
    subprocess.run(
        ["openssl", "pkcs12", "-export", "-in", str(certs / "node.pem"), "-inkey", str(certs / "node.pem"), "-out",
         str(certs / "node.p12"), "-passout", "pass:bundle-secret"], check=True, capture_output=True)


def blocks_of(text: str, label: str) -> str:
    """The blocks of that label."""
    blocks = text.split("-----BEGIN ")
    return "\n".join(
        line for block in blocks if block.startswith(label + "-----") for line in ("-----BEGIN " + block).strip().splitlines())


def trusting(secured, **more: str) -> dict[str, str]:
    return {"security.protocol": "SSL", "ssl.ca.location": str(secured.certs / "ca.pem"), **more}


def with_certificate(secured) -> dict[str, str]:
    both = str(secured.certs / "alice.pem")
    return trusting(secured, **{"ssl.certificate.location": both, "ssl.key.location": both})


@pytest.mark.parametrize("listener", ["TLS", "MUTUAL", "ASKED", "OLD", "BOTH"])
def test_confluent_writes_and_reads_much(secured, listener, name):
    create(secured.bootstrap, name)
    settings = with_certificate(secured) if listener == "MUTUAL" else trusting(secured)
    if listener == "BOTH":
        settings |= {
            "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "admin", "sasl.password": "admin-secret"}
    values = [bytes([number % 251]) * (1 + 977 * number) for number in range(400)]
    address = secured.address(listener, "localhost")
    send(producer(address, **settings), name, values)
    assert [message.value() for message in read_all(address, name, **settings)] == values
    assert [message.value() for message in read_all(secured.bootstrap, name)] == values


@pytest.mark.parametrize("listener", ["TLS", "MUTUAL"])
def test_kafka_python_and_aiokafka(secured, listener, name):
    from aiokafka import AIOKafkaConsumer

    create(secured.bootstrap, name)
    context = ssl.create_default_context(cafile=str(secured.certs / "ca.pem"))
    if listener == "MUTUAL":
        context.load_cert_chain(str(secured.certs / "alice.pem"))
    settings = {"bootstrap_servers": secured.address(listener, "localhost"), "security_protocol": "SSL", "ssl_context": context}
    sender = KafkaProducer(**settings)
    sender.send(name, b"a" * 300_000).get(30)
    sender.close()
    reader = KafkaConsumer(name, auto_offset_reset="earliest", consumer_timeout_ms=20_000, **settings)
    assert next(reader).value == b"a" * 300_000
    reader.close()

    async def run():
        reader = AIOKafkaConsumer(name, auto_offset_reset="earliest", **settings)
        await reader.start()
        try:
            return (await asyncio.wait_for(reader.getone(), 30)).value
        finally:
            await reader.stop()

    assert asyncio.run(run()) == b"a" * 300_000


def test_the_command_line_speaks_tls(secured, name):
    both = secured.certs / "alice.pem"
    file = secured.client_file(
        "mutual", security_protocol="SSL", ssl_truststore_location=str(secured.certs / "ca.pem"), ssl_keystore_location=str(both))
    run = lambda *arguments, **options: martlet(  # noqa: E731
        *arguments, "--command-config", file, "-b", secured.address("MUTUAL", "localhost"), **options)
    run("topic", "create", name)
    run("produce", name, stdin="one\ntwo\n")
    assert run("consume", name, "--from", "beginning", "--until-end").stdout.split() == ["one", "two"]
    assert name in run("topic", "list").stdout


def test_versions_of_tls(secured):
    for listener, version, works in [
        ("TLS", ssl.TLSVersion.TLSv1_3, True), ("TLS", ssl.TLSVersion.TLSv1_2, True), ("OLD", ssl.TLSVersion.TLSv1_2, True),
        ("OLD", ssl.TLSVersion.TLSv1_3, False),
    ]:
        context = ssl.create_default_context(cafile=str(secured.certs / "ca.pem"))
        context.minimum_version = context.maximum_version = version
        assert handshake(secured, listener, context) is works, (listener, version)


def handshake(secured, listener: str, context: ssl.SSLContext, host: str = "localhost") -> bool:
    import socket

    try:
        with socket.create_connection(("127.0.0.1", secured.ports[listener]), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname=host):
                return True
    except (ssl.SSLError, OSError):
        return False


def test_principals_of_certificates(secured, name):
    """Seen in the audit log, where changes stand with who made them."""
    create_through = AdminClient({"bootstrap.servers": secured.address("MUTUAL", "localhost"), **with_certificate(secured)})
    from confluent_kafka.admin import NewTopic

    create_through.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    asked = AdminClient({"bootstrap.servers": secured.address("ASKED", "localhost"), **with_certificate(secured)})
    asked.create_topics([NewTopic(name + "-2", 1, 1)])[name + "-2"].result(30)
    made = {event["topics"]: event["principal"] for event in events(secured) if event.get("api") == "CreateTopics"}
    assert made[name] == "User:alice"
    assert made[name + "-2"] == "User:CN=alice,OU=Tests,O=Martlet"


def refused(secured, listener: str, host: str = "localhost", **properties: str) -> str:
    """What the command line says."""
    file = secured.client_file("refused", security_protocol="SSL", **properties)
    done = martlet(
        "topic", "list", "--command-config", file, "--timeout", "5", "-b", secured.address(listener, host), check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr


def logged(secured, text: str) -> None:
    wait_until(lambda: text in secured.log(), f"the node says '{text}'", 15)


def test_errors_say_what_is_wrong(secured, tmp_path):
    trust = str(secured.certs / "ca.pem")
    assert "demands a certificate" in refused(secured, "MUTUAL", ssl_truststore_location=trust)
    logged(secured, "showed no certificate")
    martlet("cert", "ca", "--directory", tmp_path, "--name", "Stranger")
    martlet("cert", "client", "mallory", "--directory", tmp_path)
    assert "nobody in the trust store" in refused(secured, "TLS", ssl_truststore_location=str(tmp_path / "ca.pem"))
    stranger = refused(
        secured, "MUTUAL", ssl_truststore_location=trust, ssl_keystore_location=str(tmp_path / "mallory.pem"))
    assert "trust" in stranger
    logged(secured, "signed by CN=Stranger")
    assert "other names" in refused(secured, "MISNAMED", ssl_truststore_location=trust)
    assert "does not speak TLS" in refused(secured, "PLAINTEXT", ssl_truststore_location=trust)
    done = martlet("topic", "list", "--timeout", "5", "-b", secured.address("TLS"), check=False)
    assert done.returncode == 1
    logged(secured, "does not speak TLS")


def test_expired_certificates(secured):
    martlet("cert", "client", "late", "--days", "0", "--directory", secured.certs)
    said = refused(
        secured, "MUTUAL", ssl_truststore_location=str(secured.certs / "ca.pem"),
        ssl_keystore_location=str(secured.certs / "late.pem"))
    assert "expired" in said
    logged(secured, "has expired")
    assert "which is over" in martlet("cert", "show", secured.certs / "late.pem").stdout


def test_new_certificates_without_a_restart(secured, tmp_path):
    martlet("cert", "ca", "--directory", tmp_path, "--name", "Successor")
    martlet("cert", "node", "node", "--host", "localhost", "--directory", tmp_path)
    path = secured.certs / "node.pem"
    former = path.read_text()

    def replace(text: str) -> None:
        (secured.certs / "incoming").write_text(text)
        os.rename(secured.certs / "incoming", path)

    successor = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    known = ssl.create_default_context(cafile=str(secured.certs / "ca.pem"))
    assert handshake(secured, "TLS", known) and not handshake(secured, "TLS", successor)
    replace((tmp_path / "node.pem").read_text())
    wait_until(lambda: handshake(secured, "TLS", successor), "the new certificate is in use", 30, pause=0.5)
    replace("no certificate at all")
    logged(secured, "stay as they were")
    assert handshake(secured, "TLS", successor)
    replace(former)
    wait_until(lambda: handshake(secured, "TLS", known), "the former certificate is in use again", 30, pause=0.5)


def test_java_stores_are_refused_with_the_way_out():
    broker = SecuredBroker({"TLS": ("SSL", {"ssl.keystore.location": "/nowhere/node.jks"})})
    try:
        path = broker.directory / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in {
            "process.roles": "broker,controller", "node.id": "1", "controller.listener.names": "CONTROLLER",
            "log.dirs": str(broker.data), **broker.settings}.items()))
        # As Apache Kafka's, `format` opens no stores; the node does.
        martlet("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", path)
        done = martlet("server", path, check=False)
        assert done.returncode != 0 and "JKS" in done.stderr and "keytool" in done.stderr
    finally:
        broker.remove()
