"""Records that the clients send each other, awkward ones included."""

from dataclasses import dataclass, field

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]


@dataclass(frozen=True)
class Sample:
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)

    def same(self, key, value, headers) -> bool:
        return (self.key, self.value, self.headers) == (key, value, [tuple(header) for header in headers or []])


SAMPLES = [
    Sample(b"key", b"value"),
    Sample(None, b"no key"),
    Sample(b"no value", None),
    Sample(b"", b""),
    Sample("clé 🔑".encode(), "valeur ✓".encode(), [("en-tête", "é".encode())]),
    Sample(b"headers", b"x", [("a", b"1"), ("a", b"2"), ("b", b""), ("c", None)]),
    Sample(bytes(range(256)), bytes(range(255, -1, -1)) * 40),
    Sample(b"repeats", b"abc" * 20_000),
]


def many(count: int) -> list[bytes]:
    return [f"value number {number}".encode() for number in range(count)]
