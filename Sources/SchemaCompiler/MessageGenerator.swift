// One message → one Swift file: a struct with its nested structs, each with fields, `read` and `write`. The generated code only names
// fields and versions; everything else is in KafkaWire, which keeps it quick to compile.
import KafkaSchema

struct MessageGenerator {
    enum Role {
        case plain
        case request(APIDefinition)
        case response(APIDefinition)
    }

    let text: String

    init(_ message: MessageDefinition, role: Role, path: String, target: String) {
        var output = SwiftText(source: path)
        if target != "KafkaWire" { output.line("import KafkaWire") }
        output.line("import NIOCore")
        output.line("import Primitives")
        output.line()
        output.line("/// Kafka's `\(message.name)`, versions \(message.versions).")
        output.block("public struct \(message.name): \(Self.conformance(message, role))") { output in
            Self.heading(message, role, &output)
            let whole = StructureGenerator(message: message, name: nil, versions: message.versions, fields: message.fields)
            whole.write(to: &output)
            for structure in message.structures {
                output.line()
                output.line("/// Versions \(structure.versions).")
                output.block("public struct \(structure.name): WireStructure") { output in
                    StructureGenerator(
                        message: message, name: structure.name, versions: structure.versions, fields: structure.fields
                    ).write(to: &output)
                }
            }
        }
        text = output.text
    }

    private static func conformance(_ message: MessageDefinition, _ role: Role) -> String {
        switch role {
        case .plain: "KafkaMessage"
        case .request: "KafkaRequest"
        case .response: message.fields.contains { $0.name == "throttleTimeMs" } ? "ThrottledResponse" : "KafkaResponse"
        }
    }

    private static func heading(_ message: MessageDefinition, _ role: Role, _ output: inout SwiftText) {
        switch role {
        case .plain: break
        case .request(let api):
            output.line("public typealias Response = \(api.response.name)")
            output.line("public static var apiKey: ApiKey { .\(SwiftName.lowered(api.name)) }")
        case .response(let api):
            output.line("public static var apiKey: ApiKey { .\(SwiftName.lowered(api.name)) }")
        }
        output.line("public static var messageName: String { \"\(message.name)\" }")
        output.line("public static var validVersions: ClosedRange<Int16> { \(message.versions.lowest)...\(message.versions.highest) }")
        output.line("public static var firstFlexibleVersion: Int16 { \(message.flexible.map { "\($0.lowest)" } ?? ".max") }")
        output.line("public static var definitionText: String {")
        output.line("    \"\"\"")
        for line in message.text.split(separator: "\n") { output.line("    " + line) }
        output.line("    \"\"\"")
        output.line("}")
        output.line()
    }
}

/// The body of one struct.
struct StructureGenerator {
    let message: MessageDefinition
    /// Nil for the message itself.
    let name: String?
    let versions: VersionRange
    let fields: [FieldDefinition]

    private var isEverFlexible: Bool { message.flexible?.intersection(versions) != nil }
    private var isAlwaysFlexible: Bool { message.flexible?.contains(versions) ?? false }
    private var plain: [FieldDefinition] { fields.filter { $0.tag == nil } }
    private var tagged: [FieldDefinition] { fields.filter { $0.tag != nil }.sorted { ($0.tag ?? 0) < ($1.tag ?? 0) } }

    func write(to output: inout SwiftText) {
        for field in fields {
            let code = FieldCode(field, in: name)
            output.line("public var \(SwiftName.declared(field.name)): \(code.swiftType) = \(code.defaultValue)")
        }
        if isEverFlexible { output.line("public var unknownTaggedFields: [UnknownTaggedField] = []") }
        output.line()
        output.line("public init() {}")
        output.line()
        output.line("public static var minimumSize: Int { \(MinimumSize(message).of(fields, versions: versions)) }")
        output.line()
        output.block("public mutating func read(from reader: inout WireReader)") { reading(&$0) }
        output.line()
        output.block("public func write(to writer: inout WireWriter)") { writing(&$0) }
    }

    private func condition(_ range: VersionRange) -> String? {
        FieldCode.condition(range, within: versions)
    }

    private func usesVersion(_ body: (inout SwiftText) -> Void, _ output: inout SwiftText, _ source: String) {
        var trial = SwiftText(source: "")
        body(&trial)
        if trial.text.contains("version >=") || trial.text.contains("version <=") || trial.text.contains("version ==") {
            output.line("let version = \(source).version")
        }
        body(&output)
    }

    private func reading(_ output: inout SwiftText) {
        usesVersion({ readingBody(&$0) }, &output, "reader")
    }

    private func readingBody(_ output: inout SwiftText) {
        for field in plain {
            let statement = FieldCode(field, in: name).read
            output.line(condition(field.versions).map { "if \($0) { \(statement) }" } ?? statement)
        }
        guard isEverFlexible else { return }
        if tagged.isEmpty {
            output.line("self.unknownTaggedFields = reader.unknownTaggedFields()")
            return
        }
        output.line("var tags = reader.taggedFields()")
        output.block("while reader.nextTaggedField(&tags)") { output in
            output.line("switch tags.tag {")
            for field in tagged {
                let guarded = condition(field.versions).map { " where \($0)" } ?? ""
                output.line("case \(field.tag ?? 0)\(guarded): \(FieldCode(field, in: name).read)")
            }
            output.line("default: self.unknownTaggedFields.append(reader.unknownTaggedField(tags))")
            output.line("}")
            output.line("reader.endTaggedField(tags, \"\(name.map { $0 + "." } ?? "")tagged fields\")")
        }
    }

    private func writing(_ output: inout SwiftText) {
        usesVersion({ writingBody(&$0) }, &output, "writer")
    }

    private func writingBody(_ output: inout SwiftText) {
        for field in plain {
            let code = FieldCode(field, in: name)
            guard let condition = condition(field.versions) else {
                output.line(code.write(structureVersions: versions))
                continue
            }
            let otherwise = field.isIgnorable ? "" : " else { \(code.requireDefault) }"
            output.line("if \(condition) { \(code.write(structureVersions: versions)) }\(otherwise)")
        }
        for field in tagged where !field.isIgnorable {
            guard let condition = condition(field.versions) else { continue }
            output.line("if !(\(condition)) { \(FieldCode(field, in: name).requireDefault) }")
        }
        guard isEverFlexible else { return }
        let qualified = "\(name.map { $0 + "." } ?? "")tagged fields"
        if tagged.isEmpty {
            output.line("writer.unknownTaggedFields(self.unknownTaggedFields, \"\(qualified)\")")
        } else if isAlwaysFlexible {
            writingTags(&output)
        } else {
            output.block("if writer.isFlexible") { writingTags(&$0) }
            output.line("else { writer.requireDefault(self.unknownTaggedFields.isEmpty, \"\(qualified)\") }")
        }
    }

    private func writingTags(_ output: inout SwiftText) {
        output.line("var tags = writer.beginTaggedFields(self.unknownTaggedFields)")
        for field in tagged {
            let code = FieldCode(field, in: name)
            let present = condition(field.versions).map { "\($0), " } ?? ""
            output.block("if \(present)!(\(code.isDefault))") { output in
                output.line("writer.beginTaggedField(\(field.tag ?? 0), &tags)")
                output.line(code.write(structureVersions: field.versions))
                output.line("writer.endTaggedField(&tags)")
            }
        }
        output.line("writer.endTaggedFields(&tags)")
    }
}
