// Reads a tool's arguments and says what is wrong with them, in the words that Kafka's tools use.
// Source of the rules: the behaviour of Kafka's tools with joptsimple 5 and argparse4j 0.7, in which most of them are written.

/// Ends a tool; everything was said already.
struct ToolExit: Error {
    var status: Int32

    init(_ status: Int32) {
        self.status = status
    }

    /// Says the sentence on standard error and ends with status 1.
    static func saying(_ message: String) -> ToolExit {
        Terminal.complain(message)
        return ToolExit(1)
    }
}

/// A tool's options and what it does.
struct ToolSyntax: Sendable {
    /// Which Java library's conventions hold.
    enum Style: Sendable {
        /// `joptsimple`: the whole help goes to standard error with every mistake.
        case full
        /// `argparse4j`: a line of usage, then the mistake; options may be shortened while that is unambiguous.
        case brief
    }

    var tool: String
    var summary: String
    var style = Style.full
    var options: [ToolOption]

    init(_ tool: String, _ summary: String, style: Style = .full, _ options: [ToolOption]) {
        self.tool = tool
        self.summary = summary
        self.style = style
        self.options = options + (style == .full ? [.flag("help", "Print usage information."), .flag("version", "Display version.")] : [])
    }

    /// Reads arguments; handles `--help` and `--version`.
    ///
    /// - Parameter helpWithoutArguments: whether an empty command line is a question for help, as in most tools.
    func parse(_ arguments: [String], helpWithoutArguments: Bool = true) throws(ToolExit) -> ToolOptions {
        if style == .full, helpWithoutArguments, arguments.isEmpty { throw mistake(summary) }
        if style == .brief, arguments.contains("-h") || arguments.contains("--help") {
            Terminal.print(usage)
            throw ToolExit(0)
        }
        var parsed = ToolOptions(options)
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                parsed.rest += rest
                break
            }
            guard argument.count > 1, argument.hasPrefix("-"), !(style == .brief && Double(argument) != nil) else {
                parsed.rest.append(argument)
                continue
            }
            try read(argument, &rest, &parsed)
        }
        if style == .full {
            if parsed.has("help") { throw mistake(summary) }
            if parsed.has("version") {
                Terminal.print(Martlet.version)
                throw ToolExit(0)
            }
        }
        for option in options where parsed.has(option.name) && !option.companions.isEmpty {
            guard option.companions.contains(where: { parsed.has($0) }) else {
                throw mistake("Option(s) [\(option.name)] are unavailable given other options on the command line")
            }
        }
        return parsed
    }

    private func read(_ argument: String, _ rest: inout ArraySlice<String>, _ parsed: inout ToolOptions) throws(ToolExit) {
        let bare = argument.drop { $0 == "-" }
        let sign = bare.firstIndex(of: "=")
        let name = String(bare[..<(sign ?? bare.endIndex)])
        let option = try find(name)
        var inline = sign.map { String(bare[bare.index(after: $0)...]) }
        switch option.argument {
        case .none:
            parsed.note(option, nil)
            return
        case .optional:
            if inline == nil, let next = rest.first, !next.hasPrefix("-") || next == "-" { inline = rest.popFirst() }
        case .required:
            if inline == nil { inline = rest.popFirst() }
            guard inline != nil else { throw missingArgument(option) }
        }
        guard let value = inline else { return parsed.note(option, nil) }
        if let values = parsed.given[option.name], !values.isEmpty, style == .full, !isRepeatable(option) {
            throw mistake("Found multiple arguments for option \(option.name), but you asked for only one")
        }
        try note(option, value, &parsed)
        guard option.takesMany else { return }
        while let next = rest.first, !next.hasPrefix("-") { try note(option, next, &parsed, and: &rest) }
    }

    private func note(
        _ option: ToolOption, _ value: String, _ parsed: inout ToolOptions, and rest: inout ArraySlice<String>
    ) throws(ToolExit) {
        rest.removeFirst()
        try note(option, value, &parsed)
    }

    private func note(_ option: ToolOption, _ value: String, _ parsed: inout ToolOptions) throws(ToolExit) {
        guard option.accepts(value) else {
            throw style == .full
                ? mistake("Cannot parse argument '\(value)' of option \(option.name)")
                : mistake("argument --\(option.name): could not convert '\(value)' to \(option.kind == .double ? "Double" : "Integer")")
        }
        parsed.note(option, value)
    }

    /// Options that the tools ask for as a list.
    private func isRepeatable(_ option: ToolOption) -> Bool { option.takesMany || Self.repeatable.contains(option.name) }

    private static let repeatable: Set<String> = [
        "config", "property", "reader-property", "formatter-property", "producer-property", "consumer-property", "command-property",
        "group",
        "topic", "input-topic", "delete-internal-topic", "entity-name", "entity-type", "operation", "allow-principal", "deny-principal",
        "allow-host", "deny-host", "principal",
        "cluster", "delegation-token", "transactional-id", "user-principal", "add-scram", "override", "feature", "metadata",
        "exclude-groups", "owner-principal", "renewer-principal",
    ]

    private func find(_ name: String) throws(ToolExit) -> ToolOption {
        if let option = options.first(where: { $0.names.contains(name) }) { return option }
        if style == .brief {
            let fitting = options.filter { option in option.names.contains { $0.count > 1 && $0.hasPrefix(name) } }
            if fitting.count == 1, name.count > 1 { return fitting[0] }
            throw mistake("unrecognized arguments: '--\(name)'")
        }
        throw mistake("\(name) is not a recognized option")
    }

    private func missingArgument(_ option: ToolOption) -> ToolExit {
        style == .full
            ? mistake("Option \(option.name) requires an argument")
            : mistake("argument \(option.names.map { $0.count == 1 ? "-\($0)" : "--\($0)" }.joined(separator: "/")): expected one argument")
    }

    // MARK: Mistakes

    /// Says what is wrong and how to use the tool.
    func mistake(_ message: String) -> ToolExit {
        switch style {
        case .full: Terminal.complain(message + "\n" + help)
        case .brief: Terminal.complain("usage: \(tool) [-h] ...\n\(tool): error: \(message)")
        }
        return ToolExit(1)
    }

    func require(_ parsed: ToolOptions, _ names: String...) throws(ToolExit) {
        for name in names where !parsed.has(name) {
            throw mistake(
                style == .full
                    ? "Missing required argument \"\(bracketed(name))\""
                    : "argument --\(name) is required")
        }
    }

    /// Options that exclude each other.
    func exclude(_ parsed: ToolOptions, _ used: String, _ others: [String]) throws(ToolExit) {
        guard parsed.has(used) else { return }
        for other in others where parsed.has(other) {
            throw mistake("Option \"\(bracketed(used))\" can't be used with option \"\(bracketed(other))\"")
        }
    }

    func bracketed(_ name: String) -> String { options.first { $0.name == name }?.bracketed ?? "[\(name)]" }

    // MARK: Help

    private var usage: String {
        "usage: \(tool) [-h] ...\n\n\(summary)\n\n" + help
    }

    /// Options and what they mean, in two columns.
    private var help: String {
        let left = options.sorted { $0.name < $1.name }.map(Self.left)
        let width = min(40, max(6, left.map(\.count).max() ?? 6))
        var lines = [Self.row("Option", "Description", width), Self.row("------", "-----------", width)]
        for (option, title) in zip(options.sorted { $0.name < $1.name }, left) {
            let text = option.help + (option.defaultValue.map { " (default: \($0))" } ?? "")
            var pieces = Self.wrap(text, 79 - width - 2)
            var title = title
            if title.count > width {
                lines.append(title)
                title = ""
            }
            lines.append(Self.row(title, pieces.isEmpty ? "" : pieces.removeFirst(), width))
            lines += pieces.map { Self.row("", $0, width) }
        }
        return lines.joined(separator: "\n")
    }

    private static func left(_ option: ToolOption) -> String {
        let names = option.names.map { $0.count == 1 ? "-\($0)" : "--\($0)" }.joined(separator: ", ")
        let type =
            switch option.kind {
            case .text: "String"
            case .integer: "Integer"
            case .long: "Long"
            case .double: "Double"
            }
        switch option.argument {
        case .none: return names
        case .required(let argument): return "\(names) <\(type): \(argument)>"
        case .optional(let argument): return "\(names) [\(type): \(argument)]"
        }
    }

    private static func row(_ left: String, _ right: String, _ width: Int) -> String {
        let line = left + String(repeating: " ", count: max(0, width - left.count) + 2) + right
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private static func wrap(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        return line.isEmpty ? lines : lines + [line]
    }
}
