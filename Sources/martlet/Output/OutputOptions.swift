// How results are shown: tables for people, JSON for programs. Every command that has a result has this option.
import ArgumentParser
import Primitives

/// `--json`, and the two ways to print.
struct OutputOptions: ParsableArguments {
    @Flag(name: .customLong("json"), help: "Print JSON instead of tables.")
    var json = false

    /// A result that is one thing.
    func show(_ value: @autoclosure () -> JSONValue, _ text: @autoclosure () -> String) {
        if json {
            Terminal.print(value().text(indentation: 2))
        } else {
            let text = text()
            if !text.isEmpty { Terminal.print(text) }
        }
    }
}

/// A failure that is told in a sentence, with what to do about it; the process ends with status 1.
struct CommandFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

extension JSONValue {
    /// A whole number of any type.
    static func whole(_ value: some BinaryInteger) -> JSONValue { .integer(Int64(clamping: value)) }
    static func optional(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
    static func optional(_ value: (some BinaryInteger)?) -> JSONValue { value.map { .whole($0) } ?? .null }
    static func strings(_ values: some Sequence<String>) -> JSONValue { .array(values.map { .string($0) }) }
    static func integers(_ values: some Sequence<some BinaryInteger>) -> JSONValue { .array(values.map { .whole($0) }) }
}
