// `kafka-console-producer`: lines of standard input become records.
import Glibc
import MartletClient
import Synchronization

enum ConsoleProducerTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-console-producer", "This tool helps to read data from standard input and publish it to Kafka.",
        [
            .value("topic", as: "topic", "REQUIRED: The topic to write to."),
            .value("bootstrap-server", as: "server to connect to", "REQUIRED: Brokers to begin with."),
            .value("broker-list", as: "broker-list", "Former name of --bootstrap-server."),
            .flag("sync", "Wait for each record before the next one is sent."),
            .optionalValue(
                "compression-codec", as: "compression-codec", "none, gzip, snappy, lz4 or zstd; gzip when no value is given."),
            .value("batch-size", as: "size", .integer, default: "16384", "Bytes at which a batch is full (batch.size)."),
            .value("message-send-max-retries", as: "retries", .integer, default: "3", "Attempts after a failure (retries)."),
            .value("retry-backoff-ms", as: "ms", .long, default: "100", "Pause before an attempt (retry.backoff.ms)."),
            .value("timeout", as: "timeout_ms", .long, default: "1000", "How long a batch waits for records (linger.ms)."),
            .value("request-required-acks", as: "request required acks", default: "-1", "Who must have a record (acks)."),
            .value("request-timeout-ms", as: "request timeout ms", .integer, default: "1500", "request.timeout.ms."),
            .value("metadata-expiry-ms", as: "metadata expiration interval", .long, default: "300000", "metadata.max.age.ms."),
            .value("max-block-ms", as: "max block on send", .long, default: "60000", "max.block.ms."),
            .value("max-memory-bytes", as: "total memory in bytes", .long, default: "33554432", "buffer.memory."),
            .value("max-partition-memory-bytes", as: "memory in bytes per partition", .integer, default: "16384", "batch.size."),
            .value("line-reader", as: "reader_class", default: LineMessage.readerClass, "Only the default one is known."),
            .value("socket-buffer-size", as: "size", .integer, default: "102400", "Accepted; the system sizes its buffers."),
            .value("property", as: "prop", "A property of the line reader, such as parse.key=true."),
            .value("reader-property", as: "prop", "A property of the line reader, such as parse.key=true."),
            .value("reader-config", as: "config file", "Properties of the line reader."),
            .value("producer-property", as: "producer_prop", "A property of the producer."),
            .value("producer.config", as: "config file", "Properties of the producer."),
            .value("command-property", as: "command_prop", "A property of the producer."),
            .value("command-config", as: "config file", "Properties of the producer."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try syntax.require(options, "topic")
        guard let servers = options.value("bootstrap-server") ?? options.value("broker-list") else {
            throw syntax.mistake("Missing required option \"[bootstrap-server]\"")
        }
        guard options.value("line-reader") == LineMessage.readerClass else {
            throw ToolExit.saying("java.lang.ClassNotFoundException: \(options.value("line-reader") ?? ""): classes cannot be loaded here")
        }
        let message = try LineMessage(try readerProperties(options), topic: options.value("topic") ?? "")
        let producer = try KafkaProducer(try properties(options).producer(servers, clientID: "console-producer"))
        Interruption.watch()
        do {
            try await send(message, producer, sync: options.has("sync"))
            try await producer.close()
        } catch let error as KafkaError {
            Terminal.complain(error.javaText)
            producer.abort()
            return 1
        } catch let error as CommandFailure {
            Terminal.complain("org.apache.kafka.common.KafkaException: \(error)")
            try? await producer.close()
            return 1
        }
        return Interruption.isSignalled ? 128 + Interruption.signalNumber : 0
    }

    private static func send(_ message: LineMessage, _ producer: KafkaProducer, sync: Bool) async throws {
        var lines = try LineReader(nil)
        let prompts = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1
        var number = 0
        while !Interruption.isWanted {
            if prompts { Terminal.write(">") }
            guard let line = try lines.next() else { break }
            number += 1
            let record = try message.record(line, number: number)
            if sync {
                _ = try await producer.send(record)
            } else {
                try await producer.enqueue(record) { result in
                    if case .failure(let error) = result { complain(error, record) }
                }
            }
        }
    }

    private static func complain(_ error: KafkaError, _ record: ProducerRecord) {
        func size(_ bytes: ByteBuffer?) -> String { bytes.map { "\($0.readableBytes) bytes" } ?? "null" }
        Terminal.complain(
            "ERROR Error when sending message to topic \(record.topic) with key: \(size(record.key)), value: \(size(record.value)) with "
                + "error: \(error.javaText)")
    }

    private static func readerProperties(_ options: ToolOptions) throws(ToolExit) -> ToolProperties {
        var properties = try ToolProperties(file: options.value("reader-config"))
        properties.add(options.values("property") + options.values("reader-property"))
        return properties
    }

    /// The producer's properties: the file's, then those of the command line, then options that were given or are set nowhere.
    private static func properties(_ options: ToolOptions) throws(ToolExit) -> ToolProperties {
        var properties = try ToolProperties(file: options.value("producer.config") ?? options.value("command-config"))
        properties.add(options.values("producer-property") + options.values("command-property"))
        let merged = [
            ("linger.ms", "timeout"), ("acks", "request-required-acks"), ("request.timeout.ms", "request-timeout-ms"),
            ("retry.backoff.ms", "retry-backoff-ms"), ("buffer.memory", "max-memory-bytes"), ("batch.size", "batch-size"),
            ("batch.size", "max-partition-memory-bytes"), ("metadata.max.age.ms", "metadata-expiry-ms"), ("max.block.ms", "max-block-ms"),
        ]
        for (key, option) in merged where options.has(option) || properties[key] == nil { properties[key] = options.value(option) }
        let codec = options.has("compression-codec") ? options.value("compression-codec") ?? "" : "none"
        properties["compression.type"] = codec.isEmpty ? "gzip" : codec
        return properties
    }
}
