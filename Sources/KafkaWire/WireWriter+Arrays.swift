// Arrays and structures, written.
import Primitives

extension WireWriter {
    /// Writes an array that may be null, element by element.
    private mutating func nullableArray<Element>(_ values: [Element]?, _ field: String, _ write: (inout WireWriter, Element) -> Void) {
        length(values?.count, field)
        guard let values else { return }
        for value in values { write(&self, value) }
    }

    /// Writes an array of structures that may be null. Inlinable, so that each module specializes it for its own structures.
    @inlinable
    public mutating func nullableArray<Element: WireStructure>(_ values: [Element]?, _ field: String) {
        length(values?.count, field)
        guard let values else { return }
        for value in values { value.write(to: &self) }
    }

    @inlinable
    public mutating func array<Element: WireStructure>(_ values: [Element], _ field: String) { nullableArray(values, field) }

    /// Writes an array in a version that allows no null.
    @inlinable
    public mutating func presentArray<Element: WireStructure>(_ values: [Element]?, _ field: String) {
        if values == nil { fail(field, .unexpectedNull) }
        nullableArray(values, field)
    }

    public mutating func nullableInt8Array(_ values: [Int8]?, _ field: String) { nullableArray(values, field) { $0.int8($1) } }
    public mutating func int8Array(_ values: [Int8], _ field: String) { nullableInt8Array(values, field) }

    public mutating func nullableInt16Array(_ values: [Int16]?, _ field: String) { nullableArray(values, field) { $0.int16($1) } }
    public mutating func int16Array(_ values: [Int16], _ field: String) { nullableInt16Array(values, field) }

    public mutating func nullableInt32Array(_ values: [Int32]?, _ field: String) { nullableArray(values, field) { $0.int32($1) } }
    public mutating func int32Array(_ values: [Int32], _ field: String) { nullableInt32Array(values, field) }

    public mutating func nullableInt64Array(_ values: [Int64]?, _ field: String) { nullableArray(values, field) { $0.int64($1) } }
    public mutating func int64Array(_ values: [Int64], _ field: String) { nullableInt64Array(values, field) }

    public mutating func nullableUUIDArray(_ values: [KafkaUUID]?, _ field: String) { nullableArray(values, field) { $0.uuid($1) } }
    public mutating func uuidArray(_ values: [KafkaUUID], _ field: String) { nullableUUIDArray(values, field) }

    public mutating func nullableStringArray(_ values: [String]?, _ field: String) {
        nullableArray(values, field) { $0.string($1, field) }
    }
    public mutating func stringArray(_ values: [String], _ field: String) { nullableStringArray(values, field) }

    /// Writes a structure behind its marker, nil for null.
    @inlinable
    public mutating func nullableStructure<Value: WireStructure>(_ value: Value?) {
        int8(value == nil ? -1 : 1)
        value?.write(to: &self)
    }

    /// Writes a structure behind the marker that tagged ones have, nil for null.
    @inlinable
    public mutating func nullableStructureInTag<Value: WireStructure>(_ value: Value?) {
        int8(value == nil ? 0 : 1)
        value?.write(to: &self)
    }
}
