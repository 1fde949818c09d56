// `kafka-console-consumer`: prints the records of topics.
import Glibc
import MartletClient
import Primitives

enum ConsoleConsumerTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-console-consumer", "This tool helps to read data from Kafka topics and outputs it to standard output.",
        [
            .value("topic", as: "topic", "The topic to read."),
            .value("include", as: "Java regex (String)", "A regular expression of topics to read."),
            .value("whitelist", as: "Java regex (String)", "Former name of --include."),
            .value("partition", as: "partition", .integer, "Only this partition, from its end unless --offset is given."),
            .value("offset", as: "consume offset", default: "latest", "Where to begin: a number, earliest or latest."),
            .value("consumer-property", as: "consumer_prop", "A property of the consumer."),
            .value("consumer.config", as: "config file", "Properties of the consumer."),
            .value("command-property", as: "command_prop", "A property of the consumer."),
            .value("command-config", as: "config file", "Properties of the consumer."),
            .value("formatter", as: "class", default: RecordText.defaultClass, "Kafka's default, logging or no-op formatter."),
            .value("property", as: "prop", "A property of the formatter, such as print.key=true."),
            .value("formatter-property", as: "prop", "A property of the formatter, such as print.key=true."),
            .value("formatter-config", as: "config file", "Properties of the formatter."),
            .flag("from-beginning", "Begin at the earliest record where the group has no offset."),
            .value("max-messages", as: "num_messages", .integer, "Stop after so many records."),
            .value("timeout-ms", as: "timeout_ms", .long, "Stop when no record came for so long."),
            .flag("skip-message-on-error", "Skip a record that cannot be shown."),
            .value("bootstrap-server", as: "server to connect to", "REQUIRED: Brokers to begin with."),
            .value("key-deserializer", as: "deserializer for key", "Java class of Kafka's that reads keys."),
            .value("value-deserializer", as: "deserializer for values", "Java class of Kafka's that reads values."),
            .flag("enable-systest-events", "Print shutdown_complete in the end."),
            .value("isolation-level", as: "level", default: "read_uncommitted", "read_committed or read_uncommitted."),
            .value("group", as: "consumer group id", "The consumer's group."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        let properties = try properties(options)
        let start = try start(options)
        let text = try RecordText(try formatterProperties(options), formatter: options.value("formatter") ?? "", syntax)
        let configuration = try properties.consumer(options.value("bootstrap-server") ?? "", clientID: "console-consumer")
        var reading = Reading(
            text: text, left: options.integer("max-messages") ?? .max,
            patience: options.integer("timeout-ms").flatMap { $0 >= 0 ? $0 : nil })
        if reading.left < 0 { reading.left = .max }
        var status: Int32 = 0
        do {
            let consumer = try KafkaConsumer(configuration)
            Interruption.watch()
            do {
                try await subscribe(consumer, options, start)
                try await reading.run(consumer)
                try await consumer.close()
            } catch {
                try? await consumer.close(confirmingLastPoll: false)
                throw error
            }
        } catch let error as KafkaError {
            Terminal.complain("ERROR Error processing message, terminating consumer process: \(error.javaText)")
            status = error.kind == .authenticationFailed || reading.count == 0 ? 1 : 0
        }
        Terminal.complain("Processed a total of \(reading.count) messages")
        if options.has("enable-systest-events") { Terminal.print("shutdown_complete") }
        return Interruption.isSignalled ? 128 + Interruption.signalNumber : status
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        let pattern = options.value("include") ?? options.value("whitelist")
        guard options.has("topic") != (pattern != nil) else { throw syntax.mistake("Exactly one of --include/--topic is required. ") }
        if options.has("partition") {
            guard options.has("topic") else { throw syntax.mistake("The topic is required when partition is specified.") }
            if options.has("from-beginning"), options.has("offset") {
                throw syntax.mistake("Options from-beginning and offset cannot be specified together.")
            }
        } else if options.has("offset") {
            throw syntax.mistake("The partition is required when offset is specified.")
        }
        try syntax.require(options, "bootstrap-server")
    }

    private static func properties(_ options: ToolOptions) throws(ToolExit) -> ToolProperties {
        var properties = try ToolProperties(file: options.value("consumer.config") ?? options.value("command-config"))
        var extra = ToolProperties()
        extra.add(options.values("consumer-property") + options.values("command-property"))
        let groups = [options.value("group"), properties["group.id"], extra["group.id"]].compactMap { $0 }
        guard Set(groups).count <= 1 else {
            throw syntax.mistake(
                "The group ids provided in different places (directly using '--group', via '--consumer-property', or via "
                    + "'--consumer.config') do not match. Detected group ids: "
                    + Set(groups).sorted().map { "'\($0)'" }.joined(separator: ", "))
        }
        if !groups.isEmpty, options.has("partition") { throw syntax.mistake("Options group and partition cannot be specified together.") }
        for (key, value) in extra.values { properties[key] = value }
        if let reset = properties["auto.offset.reset"] {
            if options.has("from-beginning"), reset != "earliest" {
                throw .saying(
                    "Can't simultaneously specify --from-beginning and 'auto.offset.reset=\(reset)', please remove one option")
            }
        } else {
            properties["auto.offset.reset"] = options.has("from-beginning") ? "earliest" : "latest"
        }
        if options.has("isolation-level") || properties["isolation.level"] == nil {
            properties["isolation.level"] = options.value("isolation-level")
        }
        if let group = groups.first {
            properties["group.id"] = group
        } else {
            properties["group.id"] = "console-consumer-\(Int.random(in: 0..<100_000))"
            if properties["enable.auto.commit"] == nil { properties["enable.auto.commit"] = "false" }
        }
        return properties
    }

    private static func formatterProperties(_ options: ToolOptions) throws(ToolExit) -> ToolProperties {
        var properties = try ToolProperties(file: options.value("formatter-config"))
        for (key, option) in [("key.deserializer", "key-deserializer"), ("value.deserializer", "value-deserializer")] {
            if let name = options.value(option), !name.isEmpty { properties[key] = name }
        }
        properties.add(options.values("property") + options.values("formatter-property"))
        return properties
    }

    private enum Start {
        case earliest
        case latest
        case offset(Int64)
    }

    private static func start(_ options: ToolOptions) throws(ToolExit) -> Start {
        guard options.has("offset") else { return options.has("from-beginning") ? .earliest : .latest }
        let text = options.value("offset") ?? ""
        switch text.lowercased() {
        case "earliest": return .earliest
        case "latest": return .latest
        default:
            guard let offset = Int64(text), offset >= 0 else {
                throw syntax.mistake(
                    "The provided offset value '\(text)' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.")
            }
            return .offset(offset)
        }
    }

    private static func subscribe(_ consumer: KafkaConsumer, _ options: ToolOptions, _ start: Start) async throws {
        if let topic = options.value("topic") {
            guard let number = options.integer("partition") else { return try await consumer.subscribe([topic]) }
            let partition = TopicPartition(topic, Int32(clamping: number))
            try await consumer.assign([partition])
            switch start {
            case .earliest: try consumer.seekToBeginning([partition])
            case .latest: try consumer.seekToEnd([partition])
            case .offset(let offset): try consumer.seek(partition, to: offset)
            }
            return
        }
        let text = options.value("include") ?? options.value("whitelist") ?? ""
        let pattern = try TopicPattern(text)
        let admin = AdminClient(cluster: consumer.cluster)
        var topics: [String] = []
        while topics.isEmpty, !Interruption.isWanted {
            topics = try await admin.listTopics().map(\.name).filter { pattern.matches($0) }
            if topics.isEmpty { try await Task.sleep(for: .milliseconds(500)) }
        }
        if !topics.isEmpty { try await consumer.subscribe(topics) }
    }
}

/// The loop that prints.
private struct Reading {
    let text: RecordText
    var left: Int
    /// Milliseconds without a record after which it is the end; nil to wait for ever.
    let patience: Int?
    var count = 0

    mutating func run(_ consumer: KafkaConsumer) async throws {
        var buffer = OutputBuffer()
        defer { buffer.flush() }
        var lastRecord = SystemClock.monotonicMilliseconds()
        while left > 0, !Interruption.isWanted {
            let records = try await consumer.poll(maximumRecords: min(left, 500), timeout: .milliseconds(200))
            for record in records {
                text.write(record, to: &buffer)
                left -= 1
                count += 1
            }
            buffer.flush()
            let now = SystemClock.monotonicMilliseconds()
            if !records.isEmpty {
                lastRecord = now
            } else {
                Terminal.checkReader()
                if let patience, now - lastRecord > patience {
                    Terminal.complain(
                        "ERROR Error processing message, terminating consumer process:  (org.apache.kafka.tools.consumer.ConsoleConsumer)\n"
                            + "org.apache.kafka.common.errors.TimeoutException: null")
                    return
                }
            }
        }
    }
}
