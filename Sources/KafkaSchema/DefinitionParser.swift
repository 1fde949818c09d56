// Reads the project's own form of message definitions (Definitions/README.md). Small and strict: a word that it does not know is an
// error with its line, for a definition that is half understood would put wrong bytes on the wire.

/// Why a definition cannot be read, and where.
public struct DefinitionError: Error, Hashable, CustomStringConvertible {
    public var file: String
    /// From 1.
    public var line: Int
    public var reason: String

    public var description: String { "\(file):\(line): \(reason)" }
}

/// One line without its indentation.
struct SourceLine {
    var number: Int
    /// In steps of four spaces.
    var depth: Int
    var words: [Substring]
    var text: Substring
}

/// Reads one file of definitions.
public struct DefinitionParser {
    let file: String
    var lines: [SourceLine] = []
    var position = 0

    /// Splits `text` into lines; comments (`#`) and empty lines are skipped.
    public init(_ text: String, file: String) throws(DefinitionError) {
        self.file = file
        var number = 0
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            number += 1
            let content = line.drop { $0 == " " }
            if content.isEmpty || content.first == "#" { continue }
            let spaces = line.count - content.count
            guard spaces % 4 == 0 else {
                throw DefinitionError(file: file, line: number, reason: "indent by four spaces a level, not by \(spaces)")
            }
            let words = content.split(separator: " ")
            lines.append(SourceLine(number: number, depth: spaces / 4, words: words, text: content))
        }
    }

    /// Reads a whole file.
    public mutating func definition() throws(DefinitionError) -> Definition {
        let definition: Definition
        switch lines.first?.words.first {
        case "api": definition = .api(try api())
        case "record": definition = .coordinator(try coordinatorRecord())
        case "metadata", "remoteLogMetadata":
            let kind = lines[0].words[0]
            var heading = try Heading(next(), file: file)
            let id = try heading.integer("the record's type")
            let message = try message(&heading, name: try heading.name())
            definition = kind == "metadata" ? .metadata(id: id, message) : .remoteLogMetadata(id: id, message)
        case "header", "data":
            let kind = lines[0].words[0]
            var heading = try Heading(next(), file: file)
            let message = try message(&heading, name: try heading.name())
            definition = kind == "header" ? .header(message) : .data(message)
        case .some(let word):
            throw failure(lines[0], "expected api, record, metadata, remoteLogMetadata, header or data, not '\(word)'")
        case nil:
            throw DefinitionError(file: file, line: 1, reason: "no definition")
        }
        if position < lines.count { throw failure(lines[position], "expected nothing more") }
        return definition
    }

    /// Reads one message under the heading `request`, `response`, `key`, `value` or the like, as `MessageDefinition.text` holds it.
    public mutating func message(named name: String) throws(DefinitionError) -> MessageDefinition {
        guard !lines.isEmpty else { throw DefinitionError(file: file, line: 1, reason: "no definition") }
        var heading = try Heading(next(), file: file)
        return try message(&heading, name: name)
    }

    private mutating func api() throws(DefinitionError) -> APIDefinition {
        var heading = try Heading(next(), file: file)
        let key = try heading.integer("the API's key")
        let name = try heading.name()
        try heading.expect("on")
        var listeners: [String] = []
        while let word = heading.peek(), word == "broker" || word == "broker," || word == "controller" || word == "controller," {
            _ = try heading.word("a listener")
            listeners.append(word.hasSuffix(",") ? String(word.dropLast()) : String(word))
            if !word.hasSuffix(",") { break }
        }
        guard !listeners.isEmpty else { throw failure(heading.line, "expected the listeners: broker, controller") }
        let isClusterAction = heading.accept("clusterAction")
        let isForwardable = heading.accept("forwardable")
        let stable = heading.accept("stable") ? try heading.versions() : nil
        try heading.finish()
        let request = try part("request", of: name + "Request")
        let response = try part("response", of: name + "Response")
        return APIDefinition(
            key: key, name: name, listeners: listeners, isClusterAction: isClusterAction, isForwardable: isForwardable, stable: stable,
            request: request, response: response)
    }

    private mutating func coordinatorRecord() throws(DefinitionError) -> CoordinatorRecordDefinition {
        var heading = try Heading(next(), file: file)
        let id = try heading.integer("the record's type")
        let name = try heading.name()
        try heading.expect("in")
        let topic = String(try heading.word("the topic"))
        try heading.finish()
        let key = try part("key", of: name + "Key")
        let value = try part("value", of: name + "Value")
        return CoordinatorRecordDefinition(id: id, name: name, topic: topic, key: key, value: value)
    }

    private mutating func part(_ kind: String, of name: String) throws(DefinitionError) -> MessageDefinition {
        guard position < lines.count, lines[position].words[0] == kind else {
            let line = position < lines.count ? lines[position] : lines[lines.count - 1]
            throw failure(line, "expected '\(kind) VERSIONS'")
        }
        var heading = try Heading(next(), file: file)
        return try message(&heading, name: name)
    }

    mutating func next() throws(DefinitionError) -> SourceLine {
        let line = lines[position]
        guard line.depth == 0 else { throw failure(line, "expected a heading at the left edge") }
        position += 1
        return line
    }

    func failure(_ line: SourceLine, _ reason: String) -> DefinitionError {
        DefinitionError(file: file, line: line.number, reason: reason)
    }
}

extension DefinitionParser {
    /// Reads the table of error codes: `CODE NAME [retriable] [refreshesMetadata] ["message"]` a line.
    public static func errors(_ text: String, file: String) throws(DefinitionError) -> [ErrorDefinition] {
        let parser = try DefinitionParser(text, file: file)
        var errors: [ErrorDefinition] = []
        for line in parser.lines {
            let parts = line.text.split(separator: "\"", maxSplits: 1, omittingEmptySubsequences: false)
            var heading = Heading(words: parts.first?.split(separator: " ") ?? [], line: line, file: file)
            let code = try heading.integer("the error's code")
            let name = String(try heading.word("the error's name"))
            let isRetriable = heading.accept("retriable")
            let refreshesMetadata = heading.accept("refreshesMetadata")
            try heading.finish()
            guard parts.count == 1 || parts[1].hasSuffix("\"") else { throw parser.failure(line, "the message lacks its closing quote") }
            guard !errors.contains(where: { $0.code == code || $0.name == name }) else {
                throw parser.failure(line, "\(code) or \(name) is there already")
            }
            let message = parts.count == 1 ? nil : String(parts[1].dropLast())
            errors.append(
                ErrorDefinition(code: code, name: name, isRetriable: isRetriable, refreshesMetadata: refreshesMetadata, message: message))
        }
        return errors
    }
}
