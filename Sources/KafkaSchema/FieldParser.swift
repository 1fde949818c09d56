// Fields: the part of a definition where a slip would go unnoticed until another program reads the bytes, so everything that can be
// checked is.

extension DefinitionParser {
    /// Reads the rest of a message's heading and its fields.
    mutating func message(_ heading: inout Heading, name: String) throws(DefinitionError) -> MessageDefinition {
        let first = position - 1
        let versions = try heading.versions()
        let flexible = heading.accept("flexible") ? try heading.versions() : nil
        try heading.finish()
        guard versions.highest != .max else { throw heading.failure("a message's versions need an end") }
        var message = MessageDefinition(name: name, versions: versions, flexible: flexible)
        message.fields = try fields(depth: 1, versions: versions, in: &message)
        var text = "message \(versions)" + (flexible.map { " flexible \($0)" } ?? "") + "\n"
        for line in lines[(first + 1)..<position] {
            text += String(repeating: "    ", count: line.depth) + line.text + "\n"
        }
        message.text = text
        return message
    }

    private mutating func fields(
        depth: Int, versions: VersionRange, in message: inout MessageDefinition
    ) throws(DefinitionError) -> [FieldDefinition] {
        var fields: [FieldDefinition] = []
        while position < lines.count, lines[position].depth >= depth {
            let line = lines[position]
            guard line.depth == depth else { throw failure(line, "indented too far") }
            position += 1
            let field = try field(line, versions: versions, message: message)
            guard !fields.contains(where: { $0.name == field.name }) else { throw failure(line, "\(field.name) is there already") }
            guard field.tag == nil || !fields.contains(where: { $0.tag == field.tag }) else {
                throw failure(line, "tag \(field.tag ?? 0) is taken")
            }
            fields.append(field)
            if let name = field.type.structureName {
                try structure(name, of: field, depth: depth, in: &message)
            }
        }
        return fields
    }

    /// Reads a structure's fields below the first field that uses it, or notes another use.
    private mutating func structure(
        _ name: String, of field: FieldDefinition, depth: Int, in message: inout MessageDefinition
    ) throws(DefinitionError) {
        let hasFields = position < lines.count && lines[position].depth > depth
        if let index = message.structures.firstIndex(where: { $0.name == name }) {
            if hasFields { throw failure(lines[position], "\(name) was described before") }
            widen(index, to: field.versions, in: &message)
            return
        }
        guard hasFields else {
            throw DefinitionError(file: file, line: field.line, reason: "the fields of \(name) are missing")
        }
        let index = message.structures.count
        message.structures.append(StructureDefinition(name: name, versions: field.versions, fields: []))
        message.structures[index].fields = try fields(depth: depth + 1, versions: field.versions, in: &message)
    }

    /// A structure used again is there in more versions, and so are the fields that had all of its versions.
    private func widen(_ index: Int, to versions: VersionRange, in message: inout MessageDefinition) {
        let old = message.structures[index].versions
        let new = VersionRange(min(old.lowest, versions.lowest), max(old.highest, versions.highest))
        if new == old { return }
        message.structures[index].versions = new
        for position in message.structures[index].fields.indices {
            var field = message.structures[index].fields[position]
            let wasAlways = field.versions == old
            let wasNullable = field.nullable == old
            guard wasAlways else { continue }
            field.versions = new
            if wasNullable { field.nullable = new }
            message.structures[index].fields[position] = field
            if let name = field.type.structureName, let inner = message.structures.firstIndex(where: { $0.name == name }) {
                widen(inner, to: new, in: &message)
            }
        }
    }

    /// `name: type[?] [VERSIONS] [nullable VERSIONS] [tag N] [= DEFAULT] [ignorable] [key] [inflexible] [entity NAME] [zeroCopy]`
    private func field(
        _ line: SourceLine, versions: VersionRange, message: MessageDefinition
    ) throws(DefinitionError) -> FieldDefinition {
        guard line.words[0].hasSuffix(":") else { throw failure(line, "expected 'name: type'") }
        let name = String(line.words[0].dropLast())
        guard let first = name.first, first.isLowercase, name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) else {
            throw failure(line, "'\(name)' is no field name: letters and digits, the first one small")
        }
        var words = try Heading(line, file: file)
        var typeText = try words.word("a type")
        let isNullable = typeText.hasSuffix("?")
        if isNullable { typeText = typeText.dropLast() }
        let type = try type(typeText, line)
        var field = FieldDefinition(name: name, type: type, versions: versions, line: line.number)
        if let next = words.peek(), let range = VersionRange(next) {
            _ = try words.word("versions")
            guard let present = range.intersection(versions) else { throw words.failure("\(name) is in no version of what holds it") }
            field.versions = present
        }
        if words.accept("nullable") {
            guard !isNullable else { throw words.failure("either '?' or 'nullable'") }
            field.nullable = try words.versions().intersection(field.versions)
        } else if isNullable {
            field.nullable = field.versions
        }
        guard field.nullable == nil || type.canBeNull else { throw words.failure("\(typeText) cannot be null") }
        if words.accept("tag") {
            guard let flexible = message.flexible, flexible.contains(field.versions) else {
                throw words.failure("a tagged field needs flexible versions")
            }
            let word = try words.word("a tag")
            guard let tag = UInt32(word) else { throw words.failure("expected a tag, not '\(word)'") }
            field.tag = tag
        }
        if words.accept("=") {
            let text = String(try words.word("a default"))
            try checkDefault(text, of: field, line)
            field.defaultText = text
        }
        field.isIgnorable = words.accept("ignorable")
        field.isKey = words.accept("key")
        field.isInflexible = words.accept("inflexible")
        if words.accept("entity") { field.entity = String(try words.word("what the value names")) }
        field.isZeroCopy = words.accept("zeroCopy")
        try words.finish()
        return field
    }

    private func type(_ text: Substring, _ line: SourceLine) throws(DefinitionError) -> FieldType {
        if text.hasPrefix("["), text.hasSuffix("]"), text.count > 2 {
            let element = try type(text.dropFirst().dropLast(), line)
            if case .array = element { throw failure(line, "arrays of arrays do not exist") }
            return .array(element)
        }
        if let simple = FieldType.simple[String(text)] { return simple }
        guard let first = text.first, first.isUppercase, text.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) else {
            throw failure(line, "unknown type '\(text)'")
        }
        return .structure(String(text))
    }

    private func checkDefault(_ text: String, of field: FieldDefinition, _ line: SourceLine) throws(DefinitionError) {
        let isValid: Bool
        switch field.type {
        case .bool: isValid = text == "true" || text == "false"
        case .int8: isValid = DefaultValue.integer(text, as: Int8.self) != nil
        case .int16: isValid = DefaultValue.integer(text, as: Int16.self) != nil
        case .int32: isValid = DefaultValue.integer(text, as: Int32.self) != nil
        case .int64: isValid = DefaultValue.integer(text, as: Int64.self) != nil
        case .uint16: isValid = DefaultValue.integer(text, as: UInt16.self) != nil
        case .uint32: isValid = DefaultValue.integer(text, as: UInt32.self) != nil
        case .string, .bytes, .records, .structure, .array: isValid = text == "null" && field.nullable == field.versions
        case .float64, .uuid: isValid = false
        }
        if !isValid { throw failure(line, "'\(text)' is no default for \(field.name)") }
    }
}

/// Defaults as definitions write them.
public enum DefaultValue {
    /// Decimal or `0x…`.
    public static func integer<Value: FixedWidthInteger>(_ text: String, as: Value.Type) -> Value? {
        text.hasPrefix("0x") ? Value(text.dropFirst(2), radix: 16) : Value(text)
    }
}
