"""librdkafka's mock broker in this process, for the conformance kit and for tests."""

from __future__ import annotations

from typing import Any

from sri_sdk.strict_json import parse


class Broker:
    """A cluster of one broker, as far as librdkafka imitates it. It ends with this object."""

    def __init__(self) -> None:
        """Listens from now on."""
        from confluent_kafka import Producer

        self._cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
        (found,) = self._cluster.list_topics(timeout=10).brokers.values()
        self.address = f"{found.host}:{found.port}"

    def messages(self, topic: str) -> list[Any]:
        """Every message of a topic, as confluent-kafka has them, partition by partition."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": "test", "enable.partition.eof": True,
             "isolation.level": "read_committed"}
        )  # fmt: skip
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
            found, ended = [], 0
            while ended < len(partitions):
                message = consumer.poll(10)
                if message is None:
                    raise TimeoutError("the broker does not answer")
                if (error := message.error()) is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
            return found
        finally:
            consumer.close()

    def observations(self, topic: str) -> list[dict[str, Any]]:
        """Every observation of a topic, each once."""
        return list({dict(each.headers())["id"]: parse(each.value()) for each in self.messages(topic)}.values())
