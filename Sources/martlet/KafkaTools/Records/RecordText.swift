// How `kafka-console-consumer` prints a record: the properties of Kafka's message formatters.
import MartletClient
import NIOCore

struct RecordText: Sendable {
    static let defaultClass = "org.apache.kafka.tools.consumer.DefaultMessageFormatter"

    private enum Form {
        case standard
        case logging
        case nothing
    }

    private let form: Form
    private var prints: Set<String> = ["print.value"]
    private let keySeparator: String
    private let lineSeparator: String
    private let headersSeparator: String
    private let nullLiteral: String
    private let key: Deserializer
    private let value: Deserializer
    private let headers: Deserializer

    init(_ properties: ToolProperties, formatter: String, _ syntax: ToolSyntax) throws(ToolExit) {
        // The class moved from one package to another with Kafka 4.0.
        switch formatter.split(separator: ".").last.map(String.init) ?? "" {
        case "DefaultMessageFormatter": form = .standard
        case "LoggingMessageFormatter": form = .logging
        case "NoOpMessageFormatter": form = .nothing
        default: throw syntax.mistake(formatter)
        }
        for name in ["timestamp", "key", "offset", "delivery", "epoch", "partition", "headers", "value"] {
            guard let isWanted = properties.isTrue("print.\(name)") else { continue }
            if isWanted { prints.insert("print.\(name)") } else { prints.remove("print.\(name)") }
        }
        keySeparator = properties["key.separator"] ?? "\t"
        lineSeparator = properties["line.separator"] ?? "\n"
        headersSeparator = properties["headers.separator"] ?? ","
        nullLiteral = properties["null.literal"] ?? "null"
        key = Deserializer(properties["key.deserializer"])
        value = Deserializer(properties["value.deserializer"])
        headers = Deserializer(properties["headers.deserializer"])
    }

    func write(_ record: ConsumerRecord, to output: inout OutputBuffer) {
        switch form {
        case .nothing: break
        case .standard: writeColumns(record, to: &output)
        case .logging:
            Terminal.complain(
                "INFO " + (record.timestamp < 0 ? "" : "\(Self.time(record)), ")
                    + "key:\(Deserializer.text(record.key) ?? "null"), value:\(Deserializer.text(record.value) ?? "null")")
            writeColumns(record, to: &output)
        }
    }

    private static func time(_ record: ConsumerRecord) -> String {
        record.timestamp < 0 ? "NO_TIMESTAMP" : (record.isLogAppendTime ? "LogAppendTime:" : "CreateTime:") + "\(record.timestamp)"
    }

    private func writeColumns(_ record: ConsumerRecord, to output: inout OutputBuffer) {
        var isFirst = true
        func begin(_ name: String) -> Bool {
            guard prints.contains(name) else { return false }
            if !isFirst { output.append(keySeparator.utf8) }
            isFirst = false
            return true
        }
        if begin("print.timestamp") { output.append(Self.time(record).utf8) }
        if begin("print.partition") { output.append("Partition:\(record.partition)".utf8) }
        if begin("print.offset") { output.append("Offset:\(record.offset)".utf8) }
        if begin("print.delivery") { output.append("Delivery:NOT_PRESENT".utf8) }
        if begin("print.epoch") { output.append("Epoch:NOT_PRESENT".utf8) }
        if begin("print.headers") { write(record.headers, to: &output) }
        if begin("print.key") { key.write(record.key, orNull: nullLiteral, to: &output) }
        if begin("print.value") { value.write(record.value, orNull: nullLiteral, to: &output) }
        if !isFirst { output.append(lineSeparator.utf8) }
    }

    private func write(_ recordHeaders: RecordHeaders, to output: inout OutputBuffer) {
        if recordHeaders.count == 0 { return output.append("NO_HEADERS".utf8) }
        for (index, header) in recordHeaders.enumerated() {
            if index > 0 { output.append(headersSeparator.utf8) }
            output.append("\(header.key):".utf8)
            headers.write(header.value, orNull: nullLiteral, to: &output)
        }
    }
}

/// What bytes mean: Kafka's own deserializers by the names of their Java classes.
struct Deserializer: Sendable {
    private let name: String?

    /// - Parameter className: nil for bytes as they are.
    init(_ className: String?) {
        name = className?.split(separator: ".").last.map { String($0).replacing("Deserializer", with: "") }
    }

    static func text(_ bytes: ByteBuffer?) -> String? { bytes.map { String(decoding: $0.readableBytesView, as: UTF8.self) } }

    func write(_ bytes: ByteBuffer?, orNull null: String, to output: inout OutputBuffer) {
        guard let bytes else { return output.append(null.utf8) }
        guard let text = number(bytes) else { return output.append(bytes.readableBytesView) }
        output.append(text.utf8)
    }

    /// Nil for bytes that are shown as they are.
    private func number(_ bytes: ByteBuffer) -> String? {
        func read<Value: FixedWidthInteger>(_ type: Value.Type) -> Value? {
            bytes.readableBytes == MemoryLayout<Value>.size ? bytes.getInteger(at: bytes.readerIndex, as: type) : nil
        }
        return switch name {
        case "Long": read(Int64.self).map { "\($0)" }
        case "Integer": read(Int32.self).map { "\($0)" }
        case "Short": read(Int16.self).map { "\($0)" }
        case "Double": read(UInt64.self).map { "\(Double(bitPattern: $0))" }
        case "Float": read(UInt32.self).map { "\(Float(bitPattern: $0))" }
        case "Boolean": read(UInt8.self).map { $0 == 0 ? "false" : "true" }
        default: nil
        }
    }
}
