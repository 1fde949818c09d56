// How `martlet consume` prints a record: a format with placeholders, or JSON.
import MartletClient
import NIOCore
import Primitives

/// A format string, taken apart once.
struct RecordFormat {
    private enum Piece {
        case literal([UInt8])
        case key
        case value
        case offset
        case partition
        case topic
        case timestamp
        case time
        case headers
        case keySize
        case valueSize
    }

    static let help = """
        %k key, %v value, %o offset, %p partition, %t topic, %T time, %M milliseconds since 1970, %h headers, %K and %S sizes of key and \
        value, %% a percent sign, \\n, \\t and \\0
        """

    private var pieces: [Piece] = []

    /// - Throws: for a placeholder that does not exist.
    init(_ text: String) throws(CommandFailure) {
        var literal: [UInt8] = []
        var rest = text[...]
        while let character = rest.popFirst() {
            if character == "\\" {
                literal += Self.escaped(rest.popFirst()).utf8
            } else if character == "%" {
                guard let letter = rest.popFirst() else { throw CommandFailure("the format ends with a lone %") }
                if letter == "%" {
                    literal.append(UInt8(ascii: "%"))
                    continue
                }
                guard let piece = Self.piece(letter) else { throw CommandFailure("the format has %\(letter): there are \(Self.help)") }
                if !literal.isEmpty { pieces.append(.literal(literal)) }
                literal = []
                pieces.append(piece)
            } else {
                literal += String(character).utf8
            }
        }
        if !literal.isEmpty { pieces.append(.literal(literal)) }
    }

    private static func escaped(_ character: Character?) -> String {
        switch character {
        case "n": "\n"
        case "t": "\t"
        case "r": "\r"
        case "0": "\0"
        case let other?: String(other)
        case nil: "\\"
        }
    }

    private static func piece(_ letter: Character) -> Piece? {
        switch letter {
        case "k": .key
        case "v", "s": .value
        case "o": .offset
        case "p": .partition
        case "t": .topic
        case "T": .time
        case "M": .timestamp
        case "h": .headers
        case "K": .keySize
        case "S": .valueSize
        default: nil
        }
    }

    func write(_ record: ConsumerRecord, to output: inout OutputBuffer) {
        for piece in pieces {
            switch piece {
            case .literal(let bytes): output.append(bytes)
            case .key: if let key = record.key { output.append(key.readableBytesView) }
            case .value: if let value = record.value { output.append(value.readableBytesView) }
            case .offset: output.append("\(record.offset)".utf8)
            case .partition: output.append("\(record.partition)".utf8)
            case .topic: output.append(record.topic.utf8)
            case .timestamp: output.append("\(record.timestamp)".utf8)
            case .time: output.append(TimeText.of(record.timestamp).utf8)
            case .headers: output.append(record.headers.map { "\($0.key)=\(Self.text($0.value))" }.joined(separator: ",").utf8)
            case .keySize: output.append("\(record.key?.readableBytes ?? -1)".utf8)
            case .valueSize: output.append("\(record.value?.readableBytes ?? -1)".utf8)
            }
        }
    }

    private static func text(_ bytes: ByteBuffer?) -> String {
        bytes.map { String(decoding: $0.readableBytesView, as: UTF8.self) } ?? "null"
    }

    static func json(_ record: ConsumerRecord) -> JSONValue {
        .object([
            ("topic", .string(record.topic)), ("partition", .whole(record.partition)), ("offset", .whole(record.offset)),
            ("timestamp", .whole(record.timestamp)), ByteText.member("key", record.key), ByteText.member("value", record.value),
            ("headers", .array(record.headers.map { .object([("key", .string($0.key)), ByteText.member("value", $0.value)]) })),
        ])
    }
}
