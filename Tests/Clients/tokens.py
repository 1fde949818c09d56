"""An identity provider for tests: keys made by openssl, the key set it publishes, and tokens that it signs."""

import base64
import http.server
import json
import ssl
import subprocess
import threading
import time
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


class KeySetServer:
    """Answers with `body` and `status` by HTTP, or by HTTPS with a file of key and certificate; keeps what it was asked."""

    def __init__(self, certificate: Path | None = None):
        self.body, self.status, self.requests = b"", 200, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}/certs?kind=jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
