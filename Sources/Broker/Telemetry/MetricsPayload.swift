// What clients push (KIP-714): OpenTelemetry's MetricsData in protocol buffers. Only what a metric's value and name need is read; the rest is
// skipped. Every length is held against what is there, and the number of points is bounded.

/// One value of one metric.
struct PushedPoint: Equatable {
    enum Kind: Equatable {
        /// A value as it is now.
        case gauge
        /// The sum since the client began.
        case cumulative
        /// The sum since the last push.
        case delta
    }

    var name: String
    var kind: Kind
    /// Whether it never goes down.
    var isMonotonic = false
    var value: Double
    /// Sorted by name.
    var attributes: [Attribute] = []

    struct Attribute: Hashable {
        var name: String
        var value: String
    }
}

/// Why a payload cannot be read.
enum PayloadFailure: Error, Equatable {
    case malformed
    case tooManyPoints
}

/// Reads a payload.
struct MetricsPayload {
    static let maximumPoints = 5000
    private static let maximumAttributes = 16
    private static let maximumTextBytes = 512

    private(set) var points: [PushedPoint] = []

    /// - Throws: `PayloadFailure`.
    init(_ bytes: [UInt8]) throws(PayloadFailure) {
        // MetricsData.resource_metrics → ResourceMetrics.scope_metrics → ScopeMetrics.metrics
        try Self.each(1, of: bytes[...]) { (resource) throws(PayloadFailure) in
            try Self.each(2, of: resource) { (scope) throws(PayloadFailure) in
                try Self.each(2, of: scope) { (metric) throws(PayloadFailure) in try read(metric: metric) }
            }
        }
    }

    private static func each(
        _ number: Int, of message: ArraySlice<UInt8>, _ body: (ArraySlice<UInt8>) throws(PayloadFailure) -> Void
    ) throws(PayloadFailure) {
        var reader = FieldReader(message)
        while let field = try reader.next() {
            if field.number == number, case .bytes(let bytes) = field.value { try body(bytes) }
        }
    }

    private mutating func read(metric: ArraySlice<UInt8>) throws(PayloadFailure) {
        var name = ""
        var data: (number: Int, bytes: ArraySlice<UInt8>)?
        var reader = FieldReader(metric)
        while let field = try reader.next() {
            guard case .bytes(let bytes) = field.value else { continue }
            if field.number == 1 { name = try Self.text(bytes) }
            // Gauge and Sum. Histograms and summaries are of no client that is known.
            if field.number == 5 || field.number == 7 { data = (field.number, bytes) }
        }
        guard let data, !name.isEmpty else { return }
        try readPoints(data.bytes, name: name, isSum: data.number == 7)
    }

    private mutating func readPoints(_ data: ArraySlice<UInt8>, name: String, isSum: Bool) throws(PayloadFailure) {
        var found: [PushedPoint] = []
        var isDelta = false
        var isMonotonic = false
        var reader = FieldReader(data)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let bytes)):
                guard points.count + found.count < Self.maximumPoints else { throw .tooManyPoints }
                if let point = try Self.point(bytes, name: name) { found.append(point) }
            case (2, .number(let value)): isDelta = value == 1
            case (3, .number(let value)): isMonotonic = value != 0
            default: break
            }
        }
        for var point in found {
            if isSum { point.kind = isDelta ? .delta : .cumulative }
            point.isMonotonic = isSum && isMonotonic
            points.append(point)
        }
    }

    private static func point(_ bytes: ArraySlice<UInt8>, name: String) throws(PayloadFailure) -> PushedPoint? {
        var value: Double?
        var attributes: [PushedPoint.Attribute] = []
        var reader = FieldReader(bytes)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (4, .fixed64(let bits)): value = Double(bitPattern: bits)
            case (6, .fixed64(let bits)): value = Double(Int64(bitPattern: bits))
            case (7, .bytes(let bytes)):
                if attributes.count < maximumAttributes, let attribute = try attribute(bytes) { attributes.append(attribute) }
            default: break
            }
        }
        guard let value else { return nil }
        return PushedPoint(name: name, kind: .gauge, value: value, attributes: attributes.sorted { $0.name < $1.name })
    }

    private static func attribute(_ bytes: ArraySlice<UInt8>) throws(PayloadFailure) -> PushedPoint.Attribute? {
        var name: String?
        var value: String?
        var reader = FieldReader(bytes)
        while let field = try reader.next() {
            guard case .bytes(let bytes) = field.value else { continue }
            if field.number == 1 { name = try text(bytes) }
            if field.number == 2 { value = try self.value(bytes) }
        }
        guard let name, let value, !name.isEmpty else { return nil }
        return PushedPoint.Attribute(name: name, value: value)
    }

    /// AnyValue: texts, truth values and numbers.
    private static func value(_ bytes: ArraySlice<UInt8>) throws(PayloadFailure) -> String? {
        var reader = FieldReader(bytes)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let bytes)): return try text(bytes)
            case (2, .number(let value)): return value == 0 ? "false" : "true"
            case (3, .number(let value)): return String(Int64(bitPattern: value))
            case (4, .fixed64(let bits)): return "\(Double(bitPattern: bits))"
            default: break
            }
        }
        return nil
    }

    private static func text(_ bytes: ArraySlice<UInt8>) throws(PayloadFailure) -> String {
        guard bytes.count <= maximumTextBytes else { throw .malformed }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The fields of a message in protocol buffers' encoding.
struct FieldReader {
    enum Value {
        case number(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private var rest: ArraySlice<UInt8>

    init(_ message: ArraySlice<UInt8>) {
        rest = message
    }

    /// The next field; nil at the end.
    mutating func next() throws(PayloadFailure) -> (number: Int, value: Value)? {
        guard !rest.isEmpty else { return nil }
        let tag = try varint()
        let number = Int(truncatingIfNeeded: tag >> 3)
        guard number > 0 else { throw .malformed }
        switch tag & 7 {
        case 0: return (number, .number(try varint()))
        case 1: return (number, .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(rest.count) else { throw .malformed }
            let bytes = rest.prefix(Int(length))
            rest = rest.dropFirst(Int(length))
            return (number, .bytes(bytes))
        case 5: return (number, .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
        default: throw .malformed
        }
    }

    private mutating func varint() throws(PayloadFailure) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while let byte = rest.popFirst() {
            guard shift < 64 else { throw .malformed }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw .malformed
    }

    private mutating func fixed(_ count: Int) throws(PayloadFailure) -> UInt64 {
        guard rest.count >= count else { throw .malformed }
        var value: UInt64 = 0
        for (index, byte) in rest.prefix(count).enumerated() { value |= UInt64(byte) << UInt64(8 * index) }
        rest = rest.dropFirst(count)
        return value
    }
}
