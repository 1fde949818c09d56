// A line of text as a record: headers, key and value apart, as Kafka's LineMessageReader takes them.
import MartletClient
import NIOCore

struct LineMessage {
    static let readerClass = "org.apache.kafka.tools.LineMessageReader"

    private let topic: String
    private let parsesKey: Bool
    private let parsesHeaders: Bool
    private let ignoresErrors: Bool
    private let keySeparator: String
    private let headersDelimiter: String
    private let headersSeparator: String
    private let headerKeySeparator: String
    private let nullMarker: String?

    init(_ properties: ToolProperties, topic: String) throws(ToolExit) {
        self.topic = topic
        parsesKey = properties.isTrue("parse.key") ?? false
        parsesHeaders = properties.isTrue("parse.headers") ?? false
        ignoresErrors = properties.isTrue("ignore.error") ?? false
        keySeparator = properties["key.separator"] ?? "\t"
        headersDelimiter = properties["headers.delimiter"] ?? "\t"
        headersSeparator = properties["headers.separator"] ?? ","
        headerKeySeparator = properties["headers.key.separator"] ?? ":"
        nullMarker = properties["null.marker"]
        let separators = [
            ("headers.delimiter", headersDelimiter, "headers.separator", headersSeparator),
            ("headers.delimiter", headersDelimiter, "headers.key.separator", headerKeySeparator),
            ("headers.separator", headersSeparator, "headers.key.separator", headerKeySeparator),
            ("null.marker", nullMarker ?? "", "key.separator", keySeparator),
            ("null.marker", nullMarker ?? "", "headers.separator", headersSeparator),
            ("null.marker", nullMarker ?? "", "headers.delimiter", headersDelimiter),
            ("null.marker", nullMarker ?? "", "headers.key.separator", headerKeySeparator),
        ]
        for (one, first, other, second) in separators where first == second && !first.isEmpty {
            throw .saying("org.apache.kafka.common.KafkaException: \(one) and \(other) may not be equal")
        }
    }

    /// - Throws: for a line without the separators that it must have.
    func record(_ line: ByteBuffer, number: Int) throws(CommandFailure) -> ProducerRecord {
        var rest = line
        let headers = try parsesHeaders ? take(&rest, headersDelimiter, "headers delimiter", line, number) : nil
        let key = try parsesKey ? take(&rest, keySeparator, "key separator", line, number) : nil
        var record = ProducerRecord(topic: topic, keyBytes: nullable(key), valueBytes: nullable(rest))
        if let headers, let present = nullable(headers) { record.headers = try parse(present, number) }
        return record
    }

    /// Nil when the separator is missing and that is ignored.
    private func take(
        _ rest: inout ByteBuffer, _ separator: String, _ name: String, _ line: ByteBuffer, _ number: Int
    ) throws(CommandFailure) -> ByteBuffer? {
        let view = rest.readableBytesView
        guard let range = view.firstRange(of: Array(separator.utf8)) else {
            if ignoresErrors { return nil }
            let text = String(decoding: line.readableBytesView, as: UTF8.self)
            throw CommandFailure("No \(name) found on line number \(number): '\(text)'")
        }
        let piece = rest.readSlice(length: range.lowerBound - view.startIndex)
        rest.moveReaderIndex(forwardBy: separator.utf8.count)
        return piece
    }

    private func nullable(_ bytes: ByteBuffer?) -> ByteBuffer? {
        guard let bytes, let nullMarker else { return bytes }
        return bytes.readableBytesView.elementsEqual(nullMarker.utf8) ? nil : bytes
    }

    private func parse(_ bytes: ByteBuffer, _ number: Int) throws(CommandFailure) -> RecordHeaders {
        let text = String(decoding: bytes.readableBytesView, as: UTF8.self)
        var headers: [RecordHeader] = []
        for pair in text.components(between: headersSeparator) {
            guard let separator = pair.firstRange(of: headerKeySeparator) else {
                guard ignoresErrors else {
                    throw CommandFailure("No header key separator found in pair '\(pair)' on line number \(number)")
                }
                headers.append(RecordHeader(pair, nil))
                continue
            }
            let key = String(pair[..<separator.lowerBound])
            guard key != nullMarker else {
                throw CommandFailure(
                    "Header keys should not be equal to the null marker '\(nullMarker ?? "")' as they can't be null")
            }
            let value = String(pair[separator.upperBound...])
            headers.append(RecordHeader(key, value == nullMarker ? nil : ByteBuffer(string: value)))
        }
        return RecordHeaders(headers)
    }
}

extension String {
    /// The parts between separators; none for the empty text at the end.
    fileprivate func components(between separator: String) -> [String] {
        guard !separator.isEmpty else { return [self] }
        var parts: [String] = []
        var rest = self[...]
        while let range = rest.firstRange(of: separator) {
            parts.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return rest.isEmpty ? parts : parts + [String(rest)]
    }
}
