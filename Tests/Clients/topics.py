"""Topics for tests, made and looked at with librdkafka's admin client."""

from functools import cache

from confluent_kafka.admin import AdminClient, NewTopic


@cache
def admin(bootstrap: str) -> AdminClient:
    """One client per broker: what it was asked for ends with it, so it has to outlive its futures."""
    return AdminClient({"bootstrap.servers": bootstrap})


def create(bootstrap: str, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> str:
    future = admin(bootstrap).create_topics([NewTopic(name, partitions, 1, config=config or {})])[name]
    future.result(30)
    return name


def delete(bootstrap: str, name: str) -> None:
    admin(bootstrap).delete_topics([name])[name].result(30)


def names(bootstrap: str) -> set[str]:
    return set(admin(bootstrap).list_topics(timeout=30).topics)
