"""The authorizer with the clients people use: what is permitted works, what is not is refused by name, and both can be read afterwards."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType, ResourceType)

from broker import wait_until
from confluent import consumer, producer, send, take
from secured import AUTHORIZER, PLAIN, SecuredBroker, events, jaas
from test_cli import martlet

USERS = {"admin": "admin-secret", "alice": "alice-secret", "bob": "bob-secret"}


@pytest.fixture(scope="module")
def guarded():
    broker = SecuredBroker(
        {"CLIENTS": ("SASL_PLAINTEXT", {
            "sasl.enabled.mechanisms": "PLAIN",
            "plain.sasl.jaas.config": jaas(PLAIN, **{f"user_{user}": password for user, password in USERS.items()}),
        })},
        {"authorizer.class.name": AUTHORIZER, "super.users": "User:admin"})
    broker.settings["martlet.audit.log.file"] = str(broker.directory / "audit.log")
    with broker:
        yield broker
        assert broker.is_running(), broker.log()[-4000:]
        assert broker.stop() == 0


def login(user: str) -> dict[str, str]:
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": USERS[user]}


@pytest.fixture
def admin(guarded) -> AdminClient:
    return AdminClient({"bootstrap.servers": guarded.address("CLIENTS"), **login("admin")})


@pytest.fixture
def run(guarded):
    file = guarded.client_file(
        "admin", security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="admin", sasl_password=USERS["admin"])
    return lambda *arguments, **options: martlet(
        *arguments, "--command-config", file, bootstrap=guarded.address("CLIENTS"), **options)


@pytest.fixture
def topic(admin, name) -> str:
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    return name


def delivery_error(guarded, user: str, topic: str):
    errors = []
    sender = producer(guarded.address("CLIENTS"), **login(user))
    sender.produce(topic, b"x", on_delivery=lambda error, _: errors.append(error))
    sender.flush(30)
    return errors[0]


def test_produce_and_consume_need_rights(guarded, run, topic, name):
    assert delivery_error(guarded, "alice", topic).code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    run("acl", "add", "--principal", "User:alice", "--topic", topic, "--producer")
    assert delivery_error(guarded, "alice", topic) is None
    reader = consumer(guarded.address("CLIENTS"), name, **login("bob"))
    reader.subscribe([topic])
    message = wait_until(lambda: reader.poll(1), "an answer")
    assert message.error().code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)
    reader.close()
    run("acl", "add", "--principal", "User:bob", "--topic", topic, "--group", name, "--consumer")
    reader = consumer(guarded.address("CLIENTS"), name, **login("bob"))
    reader.subscribe([topic])
    assert [message.value() for message in take(reader, 1)] == [b"x"]
    reader.commit()
    reader.close()
    # What alice may do bob may not.
    assert delivery_error(guarded, "bob", topic).code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    run("acl", "add", "--principal", "User:alice", "--topic", topic, "--operation", "write", "--deny")
    assert delivery_error(guarded, "alice", topic).code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    listed = run("acl", "list", "--topic", topic).stdout
    assert "User:alice" in listed and "DENY" in listed and "User:bob" in listed
    run("acl", "remove", "--topic", topic, "--yes")
    assert "no such entries" in run("acl", "list", "--topic", topic).stdout


def test_prefixes_and_creation(guarded, run, name):
    run("acl", "add", "--principal", "User:alice", "--topic", name, "--prefix", "--operation", "create,write,describe")
    alice = AdminClient({"bootstrap.servers": guarded.address("CLIENTS"), **login("alice")})
    alice.create_topics([NewTopic(f"{name}-one", 1, 1)])[f"{name}-one"].result(30)
    with pytest.raises(KafkaException) as refused:
        alice.create_topics([NewTopic("elsewhere", 1, 1)])["elsewhere"].result(30)
    assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert delivery_error(guarded, "alice", f"{name}-one") is None
    bob = AdminClient({"bootstrap.servers": guarded.address("CLIENTS"), **login("bob")})
    assert f"{name}-one" in alice.list_topics(timeout=10).topics
    assert f"{name}-one" not in bob.list_topics(timeout=10).topics


def test_confluent_manages_entries(admin, name):
    binding = AclBinding(
        ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:alice", "*", AclOperation.READ, AclPermissionType.ALLOW)
    admin.create_acls([binding])[binding].result(30)
    # Once more: it is there already, which is no error.
    admin.create_acls([binding])[binding].result(30)
    any_of_it = AclBindingFilter(
        ResourceType.TOPIC, name, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    assert admin.describe_acls(any_of_it).result(30) == [binding]
    assert admin.delete_acls([any_of_it])[any_of_it].result(30) == [binding]
    assert admin.describe_acls(any_of_it).result(30) == []
    bad = AclBinding(
        ResourceType.BROKER, "not-the-cluster", ResourcePatternType.LITERAL, "User:a", "*", AclOperation.ALTER, AclPermissionType.ALLOW)
    with pytest.raises(KafkaException):
        admin.create_acls([bad])[bad].result(30)


def test_users_without_rights_cannot_administer(guarded, name):
    alice = AdminClient({"bootstrap.servers": guarded.address("CLIENTS"), **login("alice")})
    file = guarded.client_file(
        "alice", security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="alice", sasl_password=USERS["alice"])
    done = martlet("acl", "list", "--command-config", file, bootstrap=guarded.address("CLIENTS"), check=False)
    assert done.returncode == 1 and "CLUSTER_AUTHORIZATION_FAILED" in done.stderr
    binding = AclBinding(
        ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:alice", "*", AclOperation.ALL, AclPermissionType.ALLOW)
    with pytest.raises(KafkaException) as refused:
        alice.create_acls([binding])[binding].result(30)
    assert refused.value.args[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED


def test_the_audit_log_tells_of_denials_logins_and_changes(guarded, run, topic):
    delivery_error(guarded, "bob", topic)
    run("acl", "add", "--principal", "User:bob", "--topic", topic, "--operation", "describe")
    seen = events(guarded)
    denied = [event for event in seen if event["event"] == "denied" and event["resourceName"] == topic]
    assert denied and denied[0]["principal"] == "User:bob" and denied[0]["host"] == "127.0.0.1"
    assert denied[0]["resourceType"] == "TOPIC" and denied[0]["rule"]
    changes = [event for event in seen if event["event"] == "administration" and event["api"] == "CreateAcls"]
    assert topic in changes[-1]["entries"] and changes[-1]["principal"] == "User:admin"
    assert any(event["event"] == "login" and event["principal"] == "User:bob" for event in seen)
    text = (guarded.directory / "audit.log").read_text()
    assert not any(password in text for password in USERS.values())


def test_without_an_authorizer_entries_are_refused(bootstrap):
    done = martlet("acl", "list", bootstrap=bootstrap, check=False)
    assert done.returncode == 1 and "SECURITY_DISABLED" in done.stderr
