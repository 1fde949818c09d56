"""Well-formed requests of every kind and version, filled at random from a seed out of the schemas that kafka-python carries."""

import importlib
import random
import uuid

MODULES = [
    "kafka.protocol.metadata", "kafka.protocol.producer", "kafka.protocol.consumer", "kafka.protocol.admin.acl",
    "kafka.protocol.admin.client_quotas", "kafka.protocol.admin.cluster", "kafka.protocol.admin.configs", "kafka.protocol.admin.groups",
    "kafka.protocol.admin.topics", "kafka.protocol.admin.transactions", "kafka.protocol.admin.users", "kafka.protocol.sasl",
    "kafka.protocol.consumer.fetch", "kafka.protocol.consumer.group", "kafka.protocol.consumer.offsets",
    "kafka.protocol.producer.produce", "kafka.protocol.producer.transaction",
]


def _classes(suffix: str) -> dict[int, type]:
    found = {}
    for module in map(importlib.import_module, MODULES):
        for name, value in vars(module).items():
            if name.endswith(suffix) and isinstance(value, type) and isinstance(getattr(value, "_json", None), dict):
                if value._json.get("apiKey") is not None:
                    found[value._json["apiKey"]] = value
    return found


REQUESTS = _classes("Request")
RESPONSES = _classes("Response")


def _snake(name: str) -> str:
    out = ""
    for index, letter in enumerate(name):
        if letter.isupper() and index and not name[index - 1].isupper():
            out += "_"
        out += letter.lower()
    return out


class Populator:
    """`names` are strings worth using: topics and groups that exist."""

    def __init__(self, seed: int, names: list[str]):
        self.random = random.Random(seed)
        self.names = names

    def request(self, api_key: int, version: int):
        """None when kafka-python's schema cannot be filled this way."""
        request_class = REQUESTS[api_key]
        try:
            request = request_class(version=version, **self._fields(request_class, request_class._json["fields"], version))
            request.with_header(correlation_id=1, client_id="populate")
            request.encode(header=True, framed=True)
            return request
        except (TypeError, ValueError, AttributeError, KeyError, AssertionError, OverflowError):
            return None

    def _fields(self, owner, fields, version) -> dict:
        values = {}
        for field in fields:
            if not _has_version(field["versions"], version):
                continue
            values[_snake(field["name"])] = self._value(owner, field, field["type"], version)
        return values

    def _value(self, owner, field, kind, version):
        pick = self.random
        if kind.startswith("[]"):
            return [self._value(owner, field, kind[2:], version) for _ in range(pick.choice([0, 1, 1, 2]))]
        if kind == "string":
            return pick.choice([*self.names, "", "é" * 20])
        if kind == "bool":
            return pick.random() < 0.5
        if kind in ("bytes", "records"):
            return pick.randbytes(pick.choice([0, 1, 61, 200]))
        if kind == "uuid":
            return uuid.UUID(int=pick.choice([0, 1, pick.getrandbits(128)]))
        if kind == "float64":
            return pick.random()
        if kind.startswith(("int", "uint")):
            bits = int(kind.lstrip("uint"))
            top = (1 << (bits if kind[0] == "u" else bits - 1)) - 1
            return min(top, pick.choice([0, 0, 1, 1, 5, 1000, top]))
        nested = getattr(owner, kind)
        return nested(**self._fields(nested, field.get("fields", []), version))


def _has_version(spec: str, version: int) -> bool:
    if spec.endswith("+"):
        return version >= int(spec[:-1])
    low, _, high = spec.partition("-")
    return int(low) <= version <= int(high or low)
