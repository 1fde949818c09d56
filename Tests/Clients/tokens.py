"""An identity provider for tests: keys made by openssl, the key set it publishes, and tokens that it signs."""

import base64
import http.server
import json
import ssl
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

ISSUER = "https://issuer.example"
AUDIENCE = "kafka"
HASH = {"256": "sha256", "384": "sha384", "512": "sha512"}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, data: bytes | None = None) -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Key:
    """A key of RSA (RS* and PS*) or of P-256 (ES256)."""

    def __init__(self, directory: Path, id: str, kind: str = "RSA"):
        self.id, self.kind, self.path = id, kind, directory / f"{id}.key"
        options = ["rsa_keygen_bits:2048"] if kind == "RSA" else ["ec_paramgen_curve:P-256"]
        openssl("genpkey", "-algorithm", kind, "-pkeyopt", *options, "-out", self.path)

    def published(self) -> dict:
        if self.kind == "RSA":
            modulus = bytes.fromhex(openssl("rsa", "-in", self.path, "-noout", "-modulus").decode().strip().split("=")[1])
            return {"kty": "RSA", "kid": self.id, "use": "sig", "n": encoded(modulus), "e": "AQAB"}
        point = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")[-64:]
        return {"kty": "EC", "crv": "P-256", "kid": self.id, "x": encoded(point[:32]), "y": encoded(point[32:])}

    def sign(self, content: bytes, algorithm: str) -> bytes:
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if algorithm.startswith("PS") else []
        signature = openssl("dgst", f"-{HASH[algorithm[2:]]}", "-sign", self.path, *pss, data=content)
        if self.kind == "RSA":
            return signature
        # SEQUENCE of two INTEGERs; a token has both with 32 bytes each.
        numbers, rest = [], signature[2:]
        while rest:
            length = rest[1]
            numbers.append(int.from_bytes(rest[2:2 + length], "big").to_bytes(32, "big"))
            rest = rest[2 + length:]
        return b"".join(numbers)


class Issuer:
    def __init__(self, directory: Path):
        self.directory = directory
        self.rsa = Key(directory, "rsa-1")
        self.ec = Key(directory, "ec-1", "EC")
        self.key_set = directory / "jwks.json"
        self.publish(self.rsa, self.ec)

    def publish(self, *keys: Key) -> None:
        """Replaces the file at once, as whoever rotates keys should."""
        new = self.key_set.with_suffix(".new")
        new.write_text(json.dumps({"keys": [key.published() for key in keys]}))
        new.rename(self.key_set)

    def token(self, user: str = "alice", seconds: float = 600, algorithm: str = "RS256", key: Key | None = None, **claims) -> str:
        key = key or (self.ec if algorithm.startswith("ES") else self.rsa)
        now = time.time()
        content = {"sub": user, "iss": ISSUER, "aud": AUDIENCE, "iat": int(now) - 60, "exp": int(now + seconds), **claims}
        header = {"alg": algorithm, "typ": "JWT", "kid": key.id}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (header, content))
        return f"{text}.{encoded(key.sign(text.encode(), algorithm))}"


class WebServer:
    """Answers `answer(request)` by HTTP, or by HTTPS with a file of key and certificate. `port` to come up again where another was."""

    path = "/"

    def __init__(self, certificate: Path | None = None, port: int = 0):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def respond(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                status, body = outer.answer(self)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = respond

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}{self.path}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> tuple[int, bytes]:
        raise NotImplementedError

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class KeySetServer(WebServer):
    """Answers with `body` and `status`; keeps what it was asked."""

    path = "/certs?kind=jwks"

    def __init__(self, certificate: Path | None = None):
        self.body, self.status, self.requests = b"", 200, []
        super().__init__(certificate)

    def answer(self, request):
        self.requests.append(request.path)
        return self.status, self.body


class TokenServer(WebServer):
    """A token endpoint (RFC 6749 section 4.4): tokens of `seconds` for `clients`, which are ids with a secret, or several. Once `failing` is an
    HTTP status it answers with that. Keeps what it was asked, and by which secrets."""

    path = "/realms/main/token"

    def __init__(self, issuer: Issuer, clients: dict[str, str | set[str]], seconds: float = 600, certificate: Path | None = None, port: int = 0):
        self.issuer, self.clients, self.seconds, self.failing = issuer, clients, seconds, 0
        self.requests: list[tuple[str, str]] = []
        self.secrets: list[str] = []
        super().__init__(certificate, port)

    def answer(self, request):
        scheme, _, basic = request.headers.get("Authorization", "").partition(" ")
        id, _, secret = base64.b64decode(basic).decode().partition(":")
        form = urllib.parse.parse_qs(request.body)
        self.requests.append((id, request.body))
        self.secrets.append(secret)
        known = self.clients.get(id, set())
        if self.failing:
            return self.failing, b"<html>Out of order</html>"
        if request.command != "POST" or request.headers.get("Content-Type") != "application/x-www-form-urlencoded":
            return 405, b""
        if scheme != "Basic" or secret not in ({known} if isinstance(known, str) else known):
            return 401, json.dumps({"error": "invalid_client", "error_description": f"{id} is not known by {secret}"}).encode()
        if form.get("grant_type") != ["client_credentials"]:
            return 400, json.dumps({"error": "unsupported_grant_type"}).encode()
        token = self.issuer.token(id, seconds=self.seconds, scope=form.get("scope", []), iat=int(time.time()))
        return 200, json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": int(self.seconds)}).encode()
