"""OAUTHBEARER with the clients people use: tokens of an issuer, right and wrong, sessions that end with the token, keys that change."""

import struct
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from kafka import KafkaProducer
from kafka.errors import KafkaError as KafkaPythonError
from kafka.net.sasl.oauth import AbstractTokenProvider

from broker import wait_until
from confluent import send, take
from logins import aiokafka_round, confluent_round, kafka_python_round
from raw import Closed, RawConnection
from secured import SecuredBroker, certificates, events
from test_cli import martlet
from tokens import AUDIENCE, ISSUER, Issuer, Key, KeySetServer, encoded
from topics import create

MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return Issuer(tmp_path_factory.mktemp("issuer"))


def listener(url: str, **settings: str) -> tuple[str, dict[str, str]]:
    """Dots of the settings' names as underscores."""
    return "SASL_PLAINTEXT", {
        "sasl.enabled.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.jwks.endpoint.url": url,
        "sasl.oauthbearer.expected.audience": f"other,{AUDIENCE}", "sasl.oauthbearer.expected.issuer": ISSUER,
        **{key.replace("_", "."): value for key, value in settings.items()},
    }


def secured_broker(listeners, **settings) -> SecuredBroker:
    broker = SecuredBroker(listeners, {"connection.failed.authentication.delay.ms": "200", **settings})
    broker.settings["martlet.audit.log.file"] = str(broker.directory / "audit.log")
    return broker


@pytest.fixture(scope="module")
def secured(issuer):
    url = f"file://{issuer.key_set}"
    broker = secured_broker({
        "CLIENTS": listener(url),
        "BRIEF": listener(url, connections_max_reauth_ms="3000"),
        "CLAIMS": ("SASL_PLAINTEXT", {
            "sasl.enabled.mechanisms": "PLAIN,OAUTHBEARER", "oauthbearer.sasl.oauthbearer.jwks.endpoint.url": url,
            "sasl.oauthbearer.allow.unverified.audience": "true", "sasl.oauthbearer.allow.unverified.issuer": "true",
            "sasl.oauthbearer.sub.claim.name": "azp", "sasl.oauthbearer.clock.skew.seconds": "0",
            "oauthbearer.sasl.jaas.config": f"{MODULE} required;",
        }),
    })
    with broker:
        yield broker
        assert broker.is_running(), broker.log()[-4000:]
        assert "eyJ" not in broker.log() + (broker.directory / "audit.log").read_text(), "tokens are not for logs"
        assert broker.stop() == 0


def login(token, seconds: float = 600) -> dict:
    """librdkafka's settings; `token` makes one whenever it is called."""
    return {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": lambda _: (token(), time.time() + seconds, "alice", {"traceId": "7"}),
    }


class Provider(AbstractTokenProvider):
    def __init__(self, token: str):
        super().__init__()
        self.value = token

    def token(self):
        return self.value

    def extensions(self):
        return {"traceId": "7"}


def is_let_in(broker, token: str, name: str = "CLIENTS") -> bool:
    with Bearer(broker, name) as bearer:
        return bearer.log_in(token)[0] == 0


class Bearer(RawConnection):
    """Logs in by single requests, so that every field of the answers can be looked at."""

    def __init__(self, broker, name: str):
        super().__init__(broker.ports[name])

    def request(self, api: int, version: int, body: bytes) -> bytes:
        self.correlation += 1
        payload = struct.pack(">hhih", api, version, self.correlation, -1) + body
        self.send_bytes(struct.pack(">i", len(payload)) + payload)
        return self.receive_frame()[4:]

    def shake_hands(self, mechanism: bytes = b"OAUTHBEARER") -> None:
        assert self.request(17, 1, struct.pack(">h", len(mechanism)) + mechanism)[:2] == b"\0\0"

    def authenticate(self, message: bytes) -> tuple[int, str | None, bytes, int]:
        """Error code, its message, the server's bytes, the session's length in milliseconds."""
        answer = self.request(36, 1, struct.pack(">i", len(message)) + message)
        code, length = struct.unpack(">hh", answer[:4])
        text, rest = (None, answer[4:]) if length < 0 else (answer[4:4 + length].decode(), answer[4 + length:])
        [size] = struct.unpack(">i", rest[:4])
        return code, text, rest[4:4 + size], struct.unpack(">q", rest[4 + size:4 + size + 8])[0]

    def log_in(self, token: str, name: str = "") -> tuple[int, str | None, bytes, int]:
        self.shake_hands()
        answer = self.authenticate(f"n,{name and 'a=' + name},\x01auth=Bearer {token}\x01\x01".encode())
        return self.authenticate(b"\x01") if answer[2] else answer

    def ask_versions(self) -> bool:
        """Whether a request is answered."""
        try:
            return self.request(18, 0, b"")[:2] == b"\0\0"
        except (Closed, ConnectionError):
            return False


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256"])
def test_confluent_writes_and_reads(secured, issuer, algorithm, name):
    create(secured.bootstrap, name)
    confluent_round(secured.address("CLIENTS"), name, login(lambda: issuer.token(algorithm=algorithm)))


def test_kafka_python_writes_and_reads(secured, issuer, name):
    create(secured.bootstrap, name)
    kafka_python_round(secured.address("CLIENTS"), name, "OAUTHBEARER", sasl_oauth_token_provider=Provider(issuer.token()))


def test_aiokafka_writes_and_reads(secured, issuer, name):
    from aiokafka.abc import AbstractTokenProvider as AsynchronousProvider

    class AioProvider(AsynchronousProvider):
        async def token(self):
            return issuer.token(algorithm="ES256")

    create(secured.bootstrap, name)
    aiokafka_round(secured.address("CLIENTS"), name, "OAUTHBEARER", sasl_oauth_token_provider=AioProvider())


def unsigned(token: str) -> str:
    return ".".join([encoded(b'{"alg":"none"}'), token.split(".")[1], encoded(b"x")])


WRONG = {
    "expired": (lambda issuer: issuer.token(seconds=-31), "expired at"),
    "of another issuer": (lambda issuer: issuer.token(iss="https://evil.example"), "issued by 'https://evil.example'"),
    "for another audience": (lambda issuer: issuer.token(aud=["billing"]), "is for 'billing'"),
    "not valid yet": (lambda issuer: issuer.token(nbf=int(time.time()) + 300), "not valid before"),
    "without a user": (lambda issuer: issuer.token(sub=""), "'sub' is empty"),
    "without a signature": (lambda issuer: unsigned(issuer.token()), "signed by 'none'"),
    "with another's signature": (
        lambda issuer: ".".join([*issuer.token().split(".")[:2], issuer.token("bob").split(".")[2]]), "the signature is wrong"),
    "by an unknown key": (lambda issuer: issuer.token(key=Key(issuer.directory, "stranger")), "no key 'stranger' for RS256"),
    "no token": (lambda issuer: "abc", "damaged"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_tokens_are_refused_late_and_with_reason(secured, issuer, kind):
    make, reason = WRONG[kind]
    token = make(issuer)
    before = len(events(secured))
    with Bearer(secured, "CLIENTS") as bearer:
        began = time.monotonic()
        assert bearer.log_in(token) == (58, '{"status":"invalid_token"}', b"", 0)
        assert time.monotonic() - began >= 0.2
        assert bearer.is_closed_within(5)
    [failed] = [event for event in events(secured)[before:] if event["event"] == "login-failed"]
    assert reason in failed["reason"] and failed["mechanism"] == "OAUTHBEARER" and failed["host"] == "127.0.0.1"


def test_clients_hear_that_a_token_is_refused(secured, issuer):
    token = issuer.token(seconds=-100)
    errors = []
    client = AdminClient({"bootstrap.servers": secured.address("CLIENTS"), **login(lambda: token), "error_cb": errors.append})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=3)
    client.poll(1)
    assert any(error.code() == KafkaError._AUTHENTICATION and "invalid_token" in error.str() for error in errors), errors
    with pytest.raises(KafkaPythonError):
        KafkaProducer(
            bootstrap_servers=secured.address("CLIENTS"), security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_provider=Provider(token), max_block_ms=5000, bootstrap_timeout_ms=5000)


def test_what_is_no_message(secured, issuer):
    message = "Authentication failed during authentication due to invalid credentials with SASL mechanism OAUTHBEARER"
    for text in [b"", b"\x01", b"n,,\x01auth=Basic x\x01\x01", b"\0alice\0secret"]:
        with Bearer(secured, "CLIENTS") as bearer:
            bearer.shake_hands()
            assert bearer.authenticate(text) == (58, message, b"", 0)
            assert bearer.is_closed_within(5)
    with Bearer(secured, "CLIENTS") as bearer:
        code, text, _, _ = bearer.log_in(issuer.token(), name="bob")
        assert code == 58 and text == (
            "Authentication failed: Client requested an authorization id (bob) that is different from the token's principal name (alice)")
    with Bearer(secured, "CLIENTS") as bearer:
        bearer.shake_hands()
        bearer.authenticate(b"n,,\x01auth=Bearer abc\x01\x01")
        # Another token instead of the confirmation comes too late.
        assert bearer.authenticate(f"n,,\x01auth=Bearer {issuer.token()}\x01\x01".encode())[0] == 58


def test_other_claims_and_another_mechanism_beside_it(secured, issuer):
    with Bearer(secured, "CLAIMS") as bearer:
        assert bearer.log_in(issuer.token(azp="payments", iss="x", aud="y"))[0] == 0
    assert events(secured)[-1]["principal"] == "User:payments"
    assert not is_let_in(secured, issuer.token(azp="payments", seconds=-1), "CLAIMS")
    with Bearer(secured, "CLAIMS") as bearer:
        bearer.shake_hands(b"PLAIN")
        assert bearer.authenticate(b"\0fiona\0file:secret=2")[0] == 0


def test_a_session_ends_with_its_token(secured, issuer):
    with Bearer(secured, "CLIENTS") as bearer:
        code, _, _, lifetime = bearer.log_in(issuer.token(seconds=4))
        assert code == 0 and 2000 < lifetime <= 4000
        assert bearer.ask_versions()
        # Renewed on the same connection (KIP-368): another token, the same user.
        assert bearer.log_in(issuer.token(seconds=6))[0] == 0
        ends = time.monotonic() + 6
        wait_until(lambda: time.monotonic() > ends - 1.5, "the first token has expired", 10)
        assert bearer.ask_versions()
        wait_until(lambda: time.monotonic() > ends + 0.1, "the second has", 10)
        assert not bearer.ask_versions()
    with Bearer(secured, "BRIEF") as bearer:
        assert bearer.log_in(issuer.token())[3] == 3000
    with Bearer(secured, "BRIEF") as bearer:
        assert 0 < bearer.log_in(issuer.token(seconds=2))[3] <= 2000
    # Taken because of the clocks' difference, but there is no time left for anything.
    with Bearer(secured, "CLIENTS") as bearer:
        assert bearer.log_in(issuer.token(seconds=-5))[::3] == (0, 0)
        assert not bearer.ask_versions()


def test_a_renewal_may_not_change_the_user(secured, issuer):
    with Bearer(secured, "CLIENTS") as bearer:
        assert bearer.log_in(issuer.token())[0] == 0
        code, text, _, _ = bearer.log_in(issuer.token("bob"))
        assert (code, text) == (58, "Cannot change principals during re-authentication from User.alice: User.bob")
        assert bearer.is_closed_within(5)


def test_sessions_are_renewed(secured, issuer, name):
    """librdkafka logs in again and again with tokens of a few seconds: no login fails, and nothing is lost. Whether it renews the session of
    a connection in time or makes another one is its choice; `test_a_session_ends_with_its_token` renews one by hand."""
    create(secured.bootstrap, name)
    made = []

    def token():
        made.append(issuer.token("renewer", seconds=5))
        return made[-1]

    before = len(events(secured))
    sender = Producer({"bootstrap.servers": secured.address("CLIENTS"), **login(token, 5)})
    until = time.monotonic() + 12
    sent = 0
    while time.monotonic() < until:
        send(sender, name, [b"%d" % sent])
        sent += 1
        time.sleep(0.05)
    reader = Consumer({"bootstrap.servers": secured.bootstrap, "group.id": name, "auto.offset.reset": "earliest"})
    reader.subscribe([name])
    assert [message.value() for message in take(reader, sent)] == [b"%d" % number for number in range(sent)]
    reader.close()
    assert len(made) >= 3
    mine = [event for event in events(secured)[before:] if "renewer" in (event.get("user", ""), event["principal"].split(":")[1])]
    assert mine and {event["event"] for event in mine} == {"login"}


def test_keys_of_a_file_change(secured, issuer):
    """A key that nobody knows makes the file be read; one that went away is not taken any more."""
    new = Key(issuer.directory, "rsa-2")
    assert is_let_in(secured, issuer.token()) and not is_let_in(secured, issuer.token(key=new))
    issuer.publish(issuer.rsa, issuer.ec, new)
    try:
        wait_until(lambda: is_let_in(secured, issuer.token(key=new)), "the new key is taken", 10, pause=0.3)
        assert is_let_in(secured, issuer.token())
        issuer.publish(new)
        wait_until(lambda: not is_let_in(secured, issuer.token()), "the old key is not taken", 15, pause=0.3)
        # What is no key set changes nothing.
        issuer.key_set.write_text('{"keys": [')
        wait_until(lambda: "the keys of tokens stay as they were" in secured.log(), "the log says so", 15, pause=0.3)
        assert is_let_in(secured, issuer.token(key=new))
    finally:
        issuer.publish(issuer.rsa, issuer.ec)
    wait_until(lambda: is_let_in(secured, issuer.token()), "the first keys are back", 15, pause=0.3)


@pytest.mark.parametrize("is_secured", [False, True], ids=["http", "https"])
def test_keys_by_http(issuer, tmp_path, is_secured):
    """The issuer is down at the start, comes up, changes its keys; the node asks again where it knows a key not."""
    where = certificates(tmp_path) if is_secured else None
    with KeySetServer(where and where / "node.pem") as server:
        server.status = 503
        settings = {
            "sasl_oauthbearer_jwks_endpoint_retry_backoff_max_ms": "1000",
            **({"oauthbearer_sasl_jaas_config":
                f'{MODULE} required ssl.truststore.type="PEM" ssl.truststore.location="{where / "ca.pem"}";'} if where else {}),
        }
        broker = secured_broker({"CLIENTS": listener(server.url, **settings)})
        with broker:
            wait_until(lambda: len(server.requests) >= 3, "it asks again and again")
            assert set(server.requests) == {"/certs?kind=jwks"}
            assert not is_let_in(broker, issuer.token())
            assert "503" in broker.log() and events(broker)[-1]["reason"].startswith("there is no key set yet")
            server.body, server.status = issuer.key_set.read_bytes(), 200
            wait_until(lambda: is_let_in(broker, issuer.token()), "the keys are there", 15, pause=0.3)
            new = Key(tmp_path, "rsa-3")
            issuer.publish(new)
            server.body = issuer.key_set.read_bytes()
            issuer.publish(issuer.rsa, issuer.ec)
            wait_until(lambda: is_let_in(broker, issuer.token(key=new)), "the new key is asked for", 15, pause=0.3)
            assert not is_let_in(broker, issuer.token())
            # However often somebody comes with a key that is not known, the issuer is not asked more than once a second.
            began, asked = time.monotonic(), len(server.requests)
            for _ in range(5):
                assert not is_let_in(broker, issuer.token())
            assert len(server.requests) - asked <= 1 + (time.monotonic() - began)
            assert broker.stop() == 0


def test_an_issuer_with_another_certificate_is_not_believed(issuer, tmp_path):
    where = certificates(tmp_path)
    with KeySetServer(where / "node.pem") as server:
        server.body = issuer.key_set.read_bytes()
        broker = secured_broker({"CLIENTS": listener(server.url)})
        with broker:
            wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in broker.log(), "the certificate is refused")
            assert not is_let_in(broker, issuer.token()) and not server.requests


def test_commands_log_in_with_a_token_of_a_file(secured, issuer, tmp_path, name):
    path = tmp_path / "token"
    path.write_text(issuer.token() + "\n")
    file = secured.client_file(
        name, security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", sasl_oauthbearer_token_endpoint_url=f"file://{path}")

    def run():
        return martlet("topic", "list", "--timeout", "5", "--command-config", file, "-b", secured.address("CLIENTS"), check=False)

    assert run().returncode == 0
    token = issuer.token(aud="billing")
    path.write_text(token)
    done = run()
    assert done.returncode == 1 and "invalid_token" in done.stderr and token not in done.stderr
    path.write_text("two words")
    assert "does not hold one token" in run().stderr
    path.unlink()
    assert "cannot be read" in run().stderr
