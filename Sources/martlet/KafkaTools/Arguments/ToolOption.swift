// What options a tool under Kafka's own name has. Kafka's tools read their arguments by the conventions of two Java libraries, which
// differ from those of `martlet` itself: options may come in any order, repeat, and take values that begin with a hyphen.

/// One option of a tool.
struct ToolOption: Sendable {
    enum Argument: Equatable, Sendable {
        case none
        /// Named as in the usage.
        case required(String)
        case optional(String)
    }

    /// What a value must be.
    enum Kind: Sendable {
        case text
        case integer
        case long
        case double
    }

    /// Without hyphens, the one that messages use first.
    var names: [String]
    var argument: Argument
    var kind: Kind
    var help: String
    var defaultValue: String?
    /// The option makes sense only beside one of these.
    var companions: [String] = []
    /// Whether one option takes as many values as follow it, up to the next option.
    var takesMany = false

    var name: String { names[0] }

    static func flag(_ name: String, with companions: [String] = [], _ help: String) -> ToolOption {
        ToolOption(names: [name], argument: .none, kind: .text, help: help, companions: companions)
    }

    static func flag(_ name: String, _ short: String, _ help: String) -> ToolOption {
        ToolOption(names: [name, short], argument: .none, kind: .text, help: help)
    }

    static func value(
        _ names: String..., as argument: String, default defaultValue: String? = nil, many: Bool = false, _ help: String
    ) -> ToolOption {
        ToolOption(names: names, argument: .required(argument), kind: .text, help: help, defaultValue: defaultValue, takesMany: many)
    }

    static func value(
        _ names: String..., as argument: String, _ kind: Kind, default defaultValue: String? = nil, _ help: String
    ) -> ToolOption {
        ToolOption(names: names, argument: .required(argument), kind: kind, help: help, defaultValue: defaultValue)
    }

    static func optionalValue(_ name: String, as argument: String, with companions: [String] = [], _ help: String) -> ToolOption {
        ToolOption(names: [name], argument: .optional(argument), kind: .text, help: help, companions: companions)
    }

    /// As messages show it, with all of its names.
    var bracketed: String { "[" + names.joined(separator: ", ") + "]" }

    func accepts(_ value: String) -> Bool {
        switch kind {
        case .text: true
        case .integer: Int32(value) != nil
        case .long: Int64(value) != nil
        case .double: Double(value) != nil
        }
    }
}

/// What was given on a command line.
struct ToolOptions {
    private(set) var given: [String: [String]] = [:]
    /// Names in the order in which options came.
    private(set) var order: [String] = []
    private var defaults: [String: String] = [:]
    /// What belongs to no option.
    var rest: [String] = []

    init(_ options: [ToolOption]) {
        for option in options { defaults[option.name] = option.defaultValue }
    }

    mutating func note(_ option: ToolOption, _ value: String?) {
        order.append(option.name)
        given[option.name, default: []].append(contentsOf: value.map { [$0] } ?? [])
    }

    func has(_ name: String) -> Bool { given[name] != nil }

    /// The value, or the default one.
    func value(_ name: String) -> String? { given[name]?.first ?? defaults[name] }
    func values(_ name: String) -> [String] { given[name] ?? defaults[name].map { [$0] } ?? [] }
    /// The same with the values of another option under a name.
    func replacing(_ name: String, with other: String) -> ToolOptions {
        var copy = self
        copy.given[name] = given[other]
        return copy
    }

    func integer(_ name: String) -> Int? { value(name).flatMap { Int($0) } }
    func double(_ name: String) -> Double? { value(name).flatMap { Double($0) } }
}
