// Primitive codec, headers and the error table of the Kafka protocol.
