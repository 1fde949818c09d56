"""Commands that log in by OAUTHBEARER with tokens of an endpoint (KIP-768): by http and https, right and wrong secrets, an endpoint that is away,
and sessions that end with their tokens."""

import subprocess
import time

import pytest

from broker import Broker, binary, wait_until
from secured import SecuredBroker, certificates, events
from test_cli import martlet
from tokens import AUDIENCE, ISSUER, Issuer, TokenServer
from topics import create

MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
SECRET = "pencil & ß:=+"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def secured(issuer):
    broker = SecuredBroker({
        "CLIENTS": ("SASL_PLAINTEXT", {
            "sasl.enabled.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.jwks.endpoint.url": f"file://{issuer.key_set}",
            "sasl.oauthbearer.expected.audience": AUDIENCE, "sasl.oauthbearer.expected.issuer": ISSUER,
            "sasl.oauthbearer.clock.skew.seconds": "0",
        }),
    })
    broker.settings["martlet.audit.log.file"] = str(broker.directory / "audit.log")
    with broker:
        yield broker
        assert broker.stop() == 0


@pytest.fixture
def endpoint(issuer):
    with TokenServer(issuer, {"app": SECRET}) as server:
        yield server


def properties(secured, name: str, server: TokenServer, jaas: str = "", **more: str):
    """A file for --command-config. The id and the secret are in the JAAS entry if there is one."""
    known = {} if "clientId" in jaas else {
        "sasl.oauthbearer.client.credentials.client.id": "app", "sasl.oauthbearer.client.credentials.client.secret": SECRET}
    values = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.token.endpoint.url": server.url,
        **known, **({"sasl.jaas.config": f"{MODULE} required {jaas};"} if jaas else {}),
        **{key.replace("_", "."): value for key, value in more.items()},
    }
    path = secured.directory / f"{name}.properties"
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    return path


def list_topics(secured, file, timeout: float = 5):
    return martlet(
        "topic", "list", "--timeout", timeout, "--command-config", file, "-b", secured.address("CLIENTS"), check=False)


def logins(secured, user: str) -> int:
    """Of new connections; a session that is renewed does not count."""
    return sum(event["event"] == "login" and event["principal"] == f"User:{user}" for event in events(secured))


def test_commands_log_in_with_a_token_of_an_endpoint(secured, endpoint, name):
    create(secured.bootstrap, name)
    done = list_topics(secured, properties(secured, name, endpoint))
    assert done.returncode == 0 and name in done.stdout, done.stderr
    # One token for however many connections.
    assert endpoint.requests == [("app", "grant_type=client_credentials")]
    assert logins(secured, "app") >= 1


def test_id_secret_and_scope_of_the_jaas_entry_and_encoding(secured, endpoint, name):
    file = properties(secured, name, endpoint, f'clientId="app" clientSecret="{SECRET}" scope="read write"')
    assert list_topics(secured, file).returncode == 0
    assert endpoint.requests.pop() == ("app", "grant_type=client_credentials&scope=read write")
    # RFC 6749 section 2.3.1 wants id and secret written as in forms, which not every provider reads.
    endpoint.clients["app"] = "pencil+%26+%C3%9F%3A%3D%2B"
    file = properties(secured, name, endpoint, sasl_oauthbearer_header_urlencode="true", sasl_oauthbearer_scope="api://x")
    assert list_topics(secured, file).returncode == 0
    assert endpoint.requests.pop() == ("app", "grant_type=client_credentials&scope=api%3A%2F%2Fx")


def test_by_https(secured, issuer, tmp_path, name):
    where = certificates(tmp_path)
    with TokenServer(issuer, {"app": SECRET}, certificate=where / "node.pem") as server:
        trusted = properties(secured, name, server, f'ssl.truststore.type="PEM" ssl.truststore.location="{where / "ca.pem"}"')
        done = list_topics(secured, trusted)
        assert done.returncode == 0, done.stderr
        asked = len(server.requests)
        done = list_topics(secured, properties(secured, name, server), timeout=2)
        assert done.returncode == 1 and "CERTIFICATE_VERIFY_FAILED" in done.stderr and server.url in done.stderr
        assert len(server.requests) == asked, "nobody without the right certificate is told a secret"


def test_a_wrong_secret(secured, endpoint, name):
    endpoint.clients["app"] = "another"
    began = time.monotonic()
    done = list_topics(secured, properties(secured, name, endpoint))
    assert done.returncode == 1 and time.monotonic() - began < 4 and len(endpoint.requests) == 1, "asked once"
    assert f"{endpoint.url} gave no token to client app: the answer is HTTP status 401: invalid_client, app is not known by …" in done.stderr
    assert SECRET not in done.stderr


def test_an_endpoint_that_is_out_of_order(secured, endpoint, name):
    endpoint.failing = 503
    done = list_topics(secured, properties(secured, name, endpoint), timeout=2)
    assert done.returncode == 1 and "HTTP status 503" in done.stderr and "html" not in done.stderr
    assert len(endpoint.requests) > 2, "it is asked again, with growing pauses"
    file = properties(secured, name, endpoint, sasl_login_retry_backoff_max_ms="100")
    endpoint.requests.clear()
    assert list_topics(secured, file).returncode == 1 and len(endpoint.requests) == 1
    endpoint.close()
    done = list_topics(secured, file, timeout=2)
    assert done.returncode == 1 and endpoint.url in done.stderr and "refused" in done.stderr


def test_what_is_no_answer(secured, endpoint, name):
    file = properties(secured, name, endpoint)
    for body, reason in [
        (b"hello", "no JSON object"), (b'{"access_token": "", "expires_in": 60}', "no access_token"),
        (b'{"access_token": "opaque"}', "says when the token ends"), (b'{"x": "' + b"y" * (1 << 20) + b'"}', "larger than 1048576 bytes"),
    ]:
        endpoint.answer = lambda _, body=body: (200, body)
        done = list_topics(secured, file, timeout=2)
        assert done.returncode == 1 and reason in done.stderr and len(done.stderr) < 2000, done.stderr


def test_settings_that_are_missing(secured, endpoint, name):
    file = properties(secured, name, endpoint, sasl_oauthbearer_client_credentials_client_secret="")
    done = list_topics(secured, file)
    assert done.returncode != 0 and "sasl.oauthbearer.client.credentials.client.secret must be set" in done.stderr
    assert not endpoint.requests


def test_sessions_are_renewed_with_new_tokens(secured, issuer, name):
    """KIP-368: a consumer and a producer that live longer than their tokens keep their connections, and lose nothing."""
    create(secured.bootstrap, name)
    with TokenServer(issuer, {"app": SECRET, "other": SECRET}, seconds=4) as server:
        reading = properties(secured, f"{name}-reading", server)
        writing = properties(secured, f"{name}-writing", server, f'clientId="other" clientSecret="{SECRET}"')
        address = secured.address("CLIENTS")
        consumer = subprocess.Popen(
            [binary(), "consume", name, "--from", "beginning", "--count", "20", "--command-config", reading, "-b", address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        producer = subprocess.Popen(
            [binary(), "produce", name, "--command-config", writing, "-b", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        try:
            connections = (0, 0)
            for number in range(20):
                producer.stdin.write(f"{number}\n")
                producer.stdin.flush()
                # Over three tokens.
                time.sleep(0.7)
                assert consumer.poll() is None or number == 19, consumer.stderr.read()
                assert producer.poll() is None, producer.stderr.read()
                if number == 4:
                    connections = (logins(secured, "app"), logins(secured, "other"))
            assert (logins(secured, "app"), logins(secured, "other")) == connections, "no connection had to be made again"
            producer.stdin.close()
            assert producer.wait(30) == 0
            assert consumer.wait(30) == 0
            assert consumer.stdout.read().split() == [str(number) for number in range(20)]
        finally:
            for process in [consumer, producer]:
                if process.poll() is None:
                    process.kill()
                process.wait()
        assert min(sum(id == user for id, _ in server.requests) for user in ["app", "other"]) >= 3
        assert not any(event["event"] == "login-failed" for event in events(secured))


def test_an_endpoint_that_goes_away_meanwhile(secured, issuer, name):
    """The session is renewed with the token there is, as long as that is good; then with the next one there is."""
    create(secured.bootstrap, name)
    server = TokenServer(issuer, {"app": SECRET}, seconds=6)
    file = properties(secured, name, server)
    producer = subprocess.Popen(
        [binary(), "produce", name, "--command-config", file, "-b", secured.address("CLIENTS")], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def write(text: str) -> None:
        producer.stdin.write(text)
        producer.stdin.flush()

    def is_there(text: str) -> bool:
        return text in martlet("consume", name, "--from", "beginning", "--until-end", bootstrap=secured.bootstrap).stdout.split()

    try:
        write("before\n")
        wait_until(lambda: is_there("before"), "the first record arrives", 20, pause=0.3)
        server.close()
        ends = time.monotonic() + 7
        wait_until(lambda: time.monotonic() > ends, "the token has ended", 10)
        write("meanwhile\n")
        server = TokenServer(issuer, {"app": SECRET}, seconds=6, port=server.port)
        wait_until(lambda: is_there("meanwhile"), "the record arrives once there are tokens again", 30, pause=0.3)
        producer.stdin.close()
        assert producer.wait(30) == 0, producer.stderr.read()
    finally:
        server.close()
        if producer.poll() is None:
            producer.kill()
        producer.wait()


def test_a_link_logs_in_at_its_source(secured, issuer, name):
    """A cluster that mirrors another goes on over many tokens, and shows the secret to nobody."""
    create(secured.bootstrap, name)
    with TokenServer(issuer, {"mirror": SECRET}, seconds=4) as server, Broker() as mirror:
        file = properties(secured, name, server, f'clientId="mirror" clientSecret="{SECRET}"')

        def run(*arguments) -> str:
            return martlet(*arguments, bootstrap=mirror.bootstrap).stdout

        def mirrored(count: int) -> bool:
            found = martlet("consume", name, "--from", "beginning", "--until-end", bootstrap=mirror.bootstrap, check=False)
            return found.stdout.split() == [str(number) for number in range(count)]

        run("link", "create", "dr", "--bootstrap", secured.address("CLIENTS"), "--config", file)
        run("link", "mirror", "dr", name)
        for number in range(4):
            martlet("produce", name, stdin=f"{number}\n", bootstrap=secured.bootstrap)
            wait_until(lambda: mirrored(number + 1), f"record {number} is mirrored", 20, pause=0.2)
            asked = len(server.requests)
            wait_until(lambda: len(server.requests) > asked, "another token was asked for", 20, pause=0.2)
        assert SECRET not in run("link", "describe", "dr", "--json") and SECRET not in mirror.log()
        assert mirror.stop() == 0
    assert not any(event["event"] == "login-failed" for event in events(secured))
