// Arrays: one place that compares a count with the bytes left before it allocates, for every kind of element.
import NIOCore
import Primitives

extension WireReader {
    /// Reads an array's count: nil for null. A count of elements that cannot fit the bytes left is a failure.
    ///
    /// - Parameter minimum: the fewest bytes that an element takes, at least 1.
    public mutating func arrayCount(_ field: String, minimum: Int) -> Int? {
        guard let count = length(field, { Int($0.integer(field, as: Int32.self)) }) else { return nil }
        guard count <= remaining / minimum else {
            fail(field, .invalidLength(length: count, remaining: remaining))
            return nil
        }
        return count
    }

    private mutating func nullableArray<Element>(
        _ field: String, minimum: Int, _ element: (inout WireReader) -> Element
    ) -> [Element]? {
        guard let count = arrayCount(field, minimum: minimum) else { return nil }
        var elements: [Element] = []
        // A structure can be far larger in memory than on the wire: what is reserved ahead stays small, the rest grows as it is read.
        elements.reserveCapacity(min(count, 1024))
        for _ in 0..<count {
            elements.append(element(&self))
            if failure != nil { break }
        }
        return elements
    }

    private mutating func required<Value>(_ value: [Value]?, _ field: String) -> [Value] {
        if let value { return value }
        fail(field, .unexpectedNull)
        return []
    }

    /// Reads an array of structures that may be null. Inlinable, so that each module specializes it for its own structures.
    @inlinable
    public mutating func nullableArray<Element: WireStructure>(_ field: String, of: Element.Type) -> [Element]? {
        guard let count = arrayCount(field, minimum: Element.minimumSize) else { return nil }
        var elements: [Element] = []
        elements.reserveCapacity(min(count, 1024))
        for _ in 0..<count {
            var element = Element()
            element.read(from: &self)
            elements.append(element)
            if hasFailed { break }
        }
        return elements
    }

    @inlinable
    public mutating func array<Element: WireStructure>(_ field: String, of type: Element.Type) -> [Element] {
        if let elements = nullableArray(field, of: type) { return elements }
        fail(field, .unexpectedNull)
        return []
    }

    public mutating func nullableInt8Array(_ field: String) -> [Int8]? { nullableArray(field, minimum: 1) { $0.int8(field) } }
    public mutating func int8Array(_ field: String) -> [Int8] { required(nullableInt8Array(field), field) }

    public mutating func nullableInt16Array(_ field: String) -> [Int16]? { nullableArray(field, minimum: 2) { $0.int16(field) } }
    public mutating func int16Array(_ field: String) -> [Int16] { required(nullableInt16Array(field), field) }

    public mutating func nullableInt32Array(_ field: String) -> [Int32]? { nullableArray(field, minimum: 4) { $0.int32(field) } }
    public mutating func int32Array(_ field: String) -> [Int32] { required(nullableInt32Array(field), field) }

    public mutating func nullableInt64Array(_ field: String) -> [Int64]? { nullableArray(field, minimum: 8) { $0.int64(field) } }
    public mutating func int64Array(_ field: String) -> [Int64] { required(nullableInt64Array(field), field) }

    public mutating func nullableUUIDArray(_ field: String) -> [KafkaUUID]? { nullableArray(field, minimum: 16) { $0.uuid(field) } }
    public mutating func uuidArray(_ field: String) -> [KafkaUUID] { required(nullableUUIDArray(field), field) }

    public mutating func nullableStringArray(_ field: String) -> [String]? { nullableArray(field, minimum: 1) { $0.string(field) } }
    public mutating func stringArray(_ field: String) -> [String] { required(nullableStringArray(field), field) }
}
