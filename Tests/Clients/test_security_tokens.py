"""Delegation tokens (KIP-48): who gets them, what can be done with them, and when they end.

librdkafka cannot log in with one (it has no way to say `tokenauth=true`), nor can kafka-python by itself; kafka-python says it here with one
method replaced. The Java client does in `Tests/Mixed/test_delegation_tokens.py`."""

import base64
import json
import re
import subprocess
import time

import pytest
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError as KafkaPythonError
from kafka.net.sasl.scram import ScramClient
from kafka.protocol.metadata import MetadataRequest, MetadataResponse
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse

from broker import wait_until
from kafka_tools import tool
from raw import Closed, RawConnection
from secured import ADMIN_PASSWORD, AUTHORIZER, PLAIN, SCRAM, SecuredBroker, certificates, events, jaas
from test_cli import martlet
from topics import create

SECRET = "a secret that all nodes share"
USERS = {"alice": "alices password", "bob": "bobs password", "carol": "carols password"}


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    certs = certificates(tmp_path_factory.mktemp("tokens"))
    broker = SecuredBroker(
        {
            "CLIENTS": ("SASL_PLAINTEXT", {
                "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                "plain.sasl.jaas.config": jaas(PLAIN, user_admin=ADMIN_PASSWORD, **{f"user_{user}": word for user, word in USERS.items()}),
            }),
            "TLS": ("SSL", {
                "ssl.keystore.type": "PEM", "ssl.keystore.location": str(certs / "node.pem"), "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(certs / "ca.pem"), "ssl.client.auth": "requested",
            }),
        },
        {
            "delegation.token.secret.key": SECRET, "delegation.token.expiry.check.interval.ms": "1000",
            "connection.failed.authentication.delay.ms": "100", "authorizer.class.name": AUTHORIZER,
            "super.users": "User:admin;User:ANONYMOUS",
        })
    broker.certs = certs
    broker.settings["martlet.audit.log.file"] = str(broker.directory / "audit.log")
    with broker:
        yield broker
        assert broker.is_running(), broker.log()[-4000:]
        said = broker.log() + (broker.directory / "audit.log").read_text()
        assert SECRET not in said and not any(code in said for code in CODES)
        assert broker.stop() == 0


# What was given out, none of which may be in a log.
CODES: list[str] = []


def as_user(secured, user: str):
    password = ADMIN_PASSWORD if user == "admin" else USERS[user]
    return secured.client_file(user, security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username=user, sasl_password=password)


def with_token(secured, token: dict, mechanism: str = "SCRAM-SHA-512", code: str | None = None):
    return secured.client_file(
        f"token-{mechanism}-{token['id']}", security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism,
        sasl_jaas_config=jaas(SCRAM, username=token["id"], password=code or token["code"], tokenauth="true"))


def run(secured, file, *arguments, check: bool = True, listener: str = "CLIENTS", stdin: str | None = None):
    return martlet(*arguments, "--timeout", "10", "--command-config", file, "-b", secured.address(listener), check=check, stdin=stdin)


def token_of(secured, user: str, *arguments) -> dict:
    token = json.loads(run(secured, as_user(secured, user), "token", "create", "--json", *arguments).stdout)
    CODES.append(token["code"])
    return token


def ended(secured, user: str, token: dict, *arguments, verb: str = "expire", check: bool = True):
    code = secured.directory / "code"
    code.write_text(token["code"] + "\n")
    return run(secured, as_user(secured, user), "token", verb, "--code-file", code, *arguments, check=check)


def topics_with(secured, token: dict, **more) -> subprocess.CompletedProcess:
    return run(secured, with_token(secured, token, **more), "topic", "list", check=False)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_bearer_acts_as_the_owner(secured, mechanism, name):
    create(secured.bootstrap, name)
    token = token_of(secured, "alice")
    assert token["owner"] == token["requester"] == "User:alice" and token["renewers"] == []
    assert len(base64.b64decode(token["code"])) == 64
    file = with_token(secured, token, mechanism)
    # As alice, who may not see the topic yet.
    assert name not in run(secured, file, "topic", "list").stdout
    martlet("acl", "add", "--principal", "User:alice", "--topic", name, "--operation", "describe", bootstrap=secured.bootstrap)
    wait_until(lambda: name in run(secured, file, "topic", "list").stdout, "the entry counts", 20)
    assert topics_with(secured, token, mechanism=mechanism, code=token["code"][:-4] + "AAA=").returncode == 1
    logins = [event for event in events(secured) if event["event"] == "login" and event.get("with") == "delegation token"]
    assert logins and logins[-1]["principal"] == "User:alice" and logins[-1]["mechanism"] == mechanism


def test_a_password_is_no_token_and_a_token_no_password(secured):
    token = token_of(secured, "alice")
    plain = secured.client_file(
        "no-tokenauth", security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256", sasl_username=token["id"],
        sasl_password=token["code"])
    assert run(secured, plain, "topic", "list", check=False).returncode == 1
    assert topics_with(secured, {"id": "alice", "code": USERS["alice"]}).returncode == 1
    assert topics_with(secured, {"id": "A" * 22, "code": token["code"]}).returncode == 1


def test_kafka_python_logs_in_with_a_token(secured, name, monkeypatch):
    create(secured.bootstrap, name)
    martlet("acl", "add", "--principal", "User:alice", "--topic", name, "--operation", "all", bootstrap=secured.bootstrap)
    token = token_of(secured, "alice")

    settings = {
        "bootstrap_servers": secured.address("CLIENTS"), "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": token["id"], "sasl_plain_password": token["code"],
    }
    with pytest.raises(KafkaPythonError):
        KafkaProducer(bootstrap_timeout_ms=3000, **settings)
    monkeypatch.setattr(ScramClient, "first_message", TokenClient.first_message)
    sender = KafkaProducer(**settings)
    sender.send(name, b"one").get(30)
    sender.close()
    reader = KafkaConsumer(name, auto_offset_reset="earliest", consumer_timeout_ms=20_000, **settings)
    assert next(reader).value == b"one"
    reader.close()


def test_who_may_have_tokens(secured):
    # Nobody over a connection that does not say who it is.
    anonymous = martlet("token", "create", bootstrap=secured.bootstrap, check=False)
    assert anonymous.returncode == 1 and "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" in anonymous.stderr
    trust = {"security_protocol": "SSL", "ssl_truststore_type": "PEM", "ssl_truststore_location": str(secured.certs / "ca.pem")}
    nobody = secured.client_file("nobody", **trust)
    done = run(secured, nobody, "token", "list", listener="TLS", check=False)
    assert done.returncode == 1 and "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" in done.stderr
    certified = secured.client_file(
        "certified", **trust, ssl_keystore_type="PEM", ssl_keystore_location=str(secured.certs / "alice.pem"))
    token = json.loads(run(secured, certified, "token", "create", "--json", listener="TLS").stdout)
    CODES.append(token["code"])
    assert token["owner"] == "User:CN=alice,OU=Tests,O=Martlet"
    # Not those who came with a token.
    file = with_token(secured, token_of(secured, "alice"))
    code = secured.directory / "code"
    code.write_text(token["code"])
    for arguments in (["create"], ["list"], ["renew", "--code-file", code], ["expire", "--code-file", code]):
        done = run(secured, file, "token", *arguments, check=False)
        assert done.returncode == 1 and "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" in done.stderr, arguments
    # For others only who may.
    refused = run(secured, as_user(secured, "bob"), "token", "create", "--owner", "User:alice", check=False)
    assert refused.returncode == 1 and "DELEGATION_TOKEN_AUTHORIZATION_FAILED" in refused.stderr
    martlet(
        "acl", "add", "--principal", "User:bob", "--user", "User:alice", "--operation", "create-tokens", bootstrap=secured.bootstrap)
    token = wait_until(
        lambda: run(secured, as_user(secured, "bob"), "token", "create", "--owner", "alice", "--json", check=False).stdout, "bob may", 20)
    token = json.loads(token)
    CODES.append(token["code"])
    assert token["owner"] == "User:alice" and token["requester"] == "User:bob"
    created = [event for event in events(secured) if event["event"] == "administration" and event["api"] == "CreateDelegationToken"]
    assert created[-1]["principal"] == "User:bob" and created[-1]["owner"] == "User:alice"


def listed(secured, user: str, *arguments) -> set[str]:
    return {token["id"] for token in json.loads(run(secured, as_user(secured, user), "token", "list", "--json", *arguments).stdout)}


def test_who_sees_and_renews_tokens(secured):
    token = token_of(secured, "carol", "--renewer", "bob", "--lifetime", "3600")
    own = token_of(secured, "carol")
    assert {token["id"], own["id"]} <= listed(secured, "carol")
    assert token["id"] in listed(secured, "bob") and own["id"] not in listed(secured, "bob")
    assert not {token["id"], own["id"]} & listed(secured, "alice")
    assert {token["id"], own["id"]} <= listed(secured, "admin")
    assert own["id"] in listed(secured, "admin", "--owner", "User:carol") and listed(secured, "admin", "--owner", "nobody") == set()
    text = run(secured, as_user(secured, "carol"), "token", "list")
    assert token["code"] not in text.stdout and token["code"] in run(secured, as_user(secured, "carol"), "token", "list", "--codes").stdout
    martlet("acl", "add", "--principal", "User:alice", "--delegation-token", own["id"], "--operation", "describe", bootstrap=secured.bootstrap)
    wait_until(lambda: own["id"] in listed(secured, "alice"), "alice may see it", 20)
    assert token["id"] not in listed(secured, "alice")
    martlet("acl", "add", "--principal", "User:alice", "--user", "User:carol", "--operation", "describe-tokens", bootstrap=secured.bootstrap)
    wait_until(lambda: token["id"] in listed(secured, "alice"), "alice may see all of carol's", 20)
    for verb in ("renew", "expire"):
        done = ended(secured, "alice", token, verb=verb, check=False)
        assert done.returncode == 1 and "DELEGATION_TOKEN_OWNER_MISMATCH" in done.stderr
    assert "good until" in ended(secured, "bob", token, "--period", "60", verb="renew").stdout
    [renewed] = [each for each in json.loads(run(secured, as_user(secured, "bob"), "token", "list", "--json").stdout)
                 if each["id"] == token["id"]]
    assert token["issued"] < renewed["expires"] < token["expires"] and renewed["expiresAtTheLatest"] == token["expiresAtTheLatest"]
    assert ended(secured, "carol", token).returncode == 0
    assert token["id"] not in listed(secured, "carol") and topics_with(secured, token).returncode == 1
    gone = ended(secured, "carol", token, check=False)
    assert gone.returncode == 1 and "DELEGATION_TOKEN_NOT_FOUND" in gone.stderr


def test_tokens_end_by_themselves(secured):
    token = token_of(secured, "alice", "--lifetime", "5")
    assert topics_with(secured, token).returncode == 0
    with RawConnection(secured.ports["CLIENTS"]) as connection:
        lifetime = log_in(connection, token)
        assert 0 < lifetime <= 5000
        assert connection.ask(MetadataRequest(version=1, topics=[]), MetadataResponse).brokers
        wait_until(lambda: topics_with(secured, token).returncode == 1, "the token is no longer taken", 20, pause=0.3)
        assert time.time() * 1000 >= token["expires"]
        # Who came with it goes with it.
        with pytest.raises((Closed, ConnectionError)):
            connection.ask(MetadataRequest(version=1, topics=[]), MetadataResponse)
    wait_until(lambda: token["id"] not in listed(secured, "admin"), "the controller takes it away", 20, pause=0.3)
    assert [event for event in events(secured) if event["event"] == "login-failed" and event.get("user") == token["id"]]


class TokenClient(ScramClient):
    """kafka-python's, which says that the user is a token."""

    def first_message(self):
        bare = b"n=" + self.user + b",r=" + self.nonce + b",tokenauth=true"
        self.auth_message += bare
        return b"n,," + bare


def log_in(connection: RawConnection, token: dict) -> int:
    """Returns the length of the session in milliseconds."""
    client = TokenClient(token["id"], token["code"], "SCRAM-SHA-256")
    assert connection.ask(SaslHandshakeRequest(version=1, mechanism="SCRAM-SHA-256"), SaslHandshakeResponse).error_code == 0
    first = connection.ask(SaslAuthenticateRequest(version=1, auth_bytes=client.first_message()), SaslAuthenticateResponse)
    assert first.error_code == 0, first.error_message
    client.process_server_first_message(bytes(first.auth_bytes))
    last = connection.ask(SaslAuthenticateRequest(version=1, auth_bytes=client.final_message()), SaslAuthenticateResponse)
    assert last.error_code == 0, last.error_message
    client.process_server_final_message(bytes(last.auth_bytes))
    return last.session_lifetime_ms


def test_tokens_outlive_a_restart(secured):
    token = token_of(secured, "alice", "--renewer", "bob")
    assert secured.stop() == 0
    secured.start()
    assert topics_with(secured, token).returncode == 0
    assert "good until" in ended(secured, "bob", token, verb="renew").stdout


def test_kafkas_tool(secured):
    alice = as_user(secured, "alice")

    def tokens(*arguments, status: int = 0):
        return tool(
            "delegation-tokens", *arguments, "--command-config", alice, bootstrap=secured.address("CLIENTS"), status=status)

    made = tokens("--create", "--max-life-time-period", "-1", "--renewer-principal", "User:bob", "--renewer-principal", "User:carol")
    lines = made.lines
    assert lines[0] == "Calling create token operation with renewers :[User:bob, User:carol] , max-life-time-period :-1"
    id = re.fullmatch(r"Created delegation token with tokenId : ([\w-]{22})", lines[1])[1]
    assert lines[2] == "" and lines[3].split() == [
        "TOKENID", "HMAC", "OWNER", "REQUESTER", "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE"]
    row = lines[5].split()
    assert row[0] == id and row[2:6] == ["User:alice", "User:alice", "[User:bob,", "User:carol]"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", date) for date in row[6:])
    code = row[1]
    CODES.append(code)
    shown = tokens("--describe", "--owner-principal", "User:alice")
    assert shown.lines[0] == "Calling describe token operation for owners: [User:alice]"
    assert re.fullmatch(r"Total number of tokens : \d+", shown.lines[1]) and any(line.startswith(id) for line in shown.lines)
    assert tokens("--describe").lines[0] == "Calling describe token operation for current user."
    renewed = tokens("--renew", "--hmac", code, "--renew-time-period", "60000")
    assert renewed.lines[0] == f"Calling renew token operation with hmac :{code} , renew-time-period :60000"
    assert re.fullmatch(r"Completed renew operation. New expiry date : \d{4}-\d\d-\d\dT\d\d:\d\d", renewed.lines[1])
    ended = tokens("--expire", "--hmac", code, "--expiry-time-period", "-1")
    assert ended.lines[1].startswith("Completed expire operation. New expiry date : ")
    assert "DelegationTokenNotFoundException" in tokens("--expire", "--hmac", code, "--expiry-time-period", "-1", status=1).errors
    assert 'Missing required argument "[max-life-time-period]"' in tokens("--create", status=1).errors
    assert "exactly one action" in tokens("--create", "--describe", status=1).errors


def test_secrets_are_not_described(secured):
    from confluent_kafka.admin import ConfigResource

    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    admin = AdminClient({"bootstrap.servers": secured.bootstrap})
    described = admin.describe_configs([resource])[resource].result(30)
    entry = described["delegation.token.secret.key"]
    assert entry.is_sensitive and entry.value is None


def test_without_a_secret_there_are_none():
    with SecuredBroker({"CLIENTS": ("SASL_PLAINTEXT", {
            "sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": jaas(PLAIN, user_alice=USERS["alice"])})}) as broker:
        for arguments in (["create"], ["list"]):
            done = run(broker, as_user(broker, "alice"), "token", *arguments, check=False)
            assert done.returncode == 1 and "DELEGATION_TOKEN_AUTH_DISABLED" in done.stderr
