// The values of `sasl.jaas.config`: the syntax of Java's login configuration files, as far as Kafka reads it.

/// One entry: `org.apache.kafka.common.security.plain.PlainLoginModule required username="a" password="b";`. Printing it shows no value.
public struct JAASEntry: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible {
    public var loginModule: String
    /// In the order given; a key that comes twice counts with its last value.
    public var options: [(key: String, value: String)]

    public func option(_ key: String) -> String? { options.last { $0.key == key }?.value }

    public static func == (left: Self, right: Self) -> Bool {
        left.loginModule == right.loginModule && left.options.elementsEqual(right.options, by: ==)
    }

    public var description: String { "\(loginModule) with \(options.map(\.key).joined(separator: ", "))" }
    public var debugDescription: String { description }

    /// The users of PLAIN on a server: every option `user_NAME="password"`.
    public var plainUsers: [String: String] {
        var users: [String: String] = [:]
        for (key, value) in options where key.hasPrefix("user_") { users[String(key.dropFirst(5))] = value }
        return users
    }
}

/// What is wrong with a JAAS value; never contains a value of an option.
public struct JAASError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    public init(description: String) {
        self.description = description
    }
}

/// Reads JAAS values.
public enum JAASConfiguration {
    private enum Token: Equatable {
        case word(String)
        case equals
        case semicolon
    }

    private static let flags = ["required", "requisite", "sufficient", "optional"]

    /// The value's only entry, as Kafka demands for listeners.
    public static func parse(_ text: String) throws(JAASError) -> JAASEntry {
        var tokens = try tokens(text)[...]
        var entries: [JAASEntry] = []
        while !tokens.isEmpty { entries.append(try entry(&tokens)) }
        guard let entry = entries.first else { throw JAASError(description: "names no login module") }
        guard entries.count == 1 else { throw JAASError(description: "has \(entries.count) entries, and only one is allowed") }
        return entry
    }

    private static func entry(_ tokens: inout ArraySlice<Token>) throws(JAASError) -> JAASEntry {
        guard case .word(let module) = tokens.popFirst() else { throw JAASError(description: "does not begin with a login module") }
        guard case .word(let flag) = tokens.popFirst(), flags.contains(flag.lowercased()) else {
            throw JAASError(description: "has no control flag behind the login module; write 'required'")
        }
        var options: [(key: String, value: String)] = []
        while let token = tokens.popFirst() {
            switch token {
            case .semicolon: return JAASEntry(loginModule: module, options: options)
            case .equals: throw JAASError(description: "has a '=' without a key")
            case .word(let key):
                guard tokens.popFirst() == .equals, case .word(let value) = tokens.popFirst() else {
                    throw JAASError(description: "has no value for the option \(key)")
                }
                options.append((key, value))
            }
        }
        throw JAASError(description: "does not end with a semicolon")
    }

    private static func tokens(_ text: String) throws(JAASError) -> [Token] {
        var tokens: [Token] = []
        var rest = Substring(text)
        while let first = rest.first {
            if first.isWhitespace {
                rest.removeFirst()
            } else if rest.hasPrefix("//") {
                rest = rest.drop { !$0.isNewline }
            } else if rest.hasPrefix("/*") {
                rest = rest.dropFirst(2)
                while !rest.isEmpty, !rest.hasPrefix("*/") { rest.removeFirst() }
                rest = rest.dropFirst(2)
            } else if first == ";" || first == "=" {
                tokens.append(first == ";" ? .semicolon : .equals)
                rest.removeFirst()
            } else if first == "\"" || first == "'" {
                tokens.append(.word(try quoted(&rest, by: first)))
            } else {
                let word = rest.prefix { !$0.isWhitespace && $0 != ";" && $0 != "=" && $0 != "\"" && $0 != "'" }
                tokens.append(.word(String(word)))
                rest = rest.dropFirst(word.count)
            }
        }
        return tokens
    }

    /// A quoted word with the escapes of Java's StreamTokenizer.
    private static func quoted(_ rest: inout Substring, by quote: Character) throws(JAASError) -> String {
        rest.removeFirst()
        var word = ""
        while let character = rest.popFirst() {
            if character == quote { return word }
            guard character == "\\" else {
                word.append(character)
                continue
            }
            guard let escaped = rest.popFirst() else { break }
            switch escaped {
            case "n": word.append("\n")
            case "r": word.append("\r")
            case "t": word.append("\t")
            default: word.append(escaped)
            }
        }
        throw JAASError(description: "has a quotation mark that is not closed")
    }
}

extension Substring {
    fileprivate mutating func popFirst() -> Character? { isEmpty ? nil : removeFirst() }
}
