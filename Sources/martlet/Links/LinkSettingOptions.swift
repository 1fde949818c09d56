// A link's settings as they are given to commands: in a file, one by one, in a link's own names or in MirrorMaker 2's.
import ArgumentParser
import Collections
import Configuration
import Linking
import Mirroring
import Primitives

/// Where the settings of a new link come from.
struct LinkSettingOptions: ParsableArguments {
    /// Settings, and what they were translated from.
    struct Given {
        var settings: OrderedDictionary<String, String>
        /// Nil where nothing was MirrorMaker's.
        var translation: MirrorMakerTranslation?
    }

    @Option(
        name: [.customShort("c"), .customLong("config")],
        help: ArgumentHelp(
            "The link's settings, and security.protocol, sasl.* and ssl.* for the source; or a file of MirrorMaker 2's.", valueName: "file"),
        completion: .file())
    var config: String?

    @Option(
        help: ArgumentHelp("Which flow of a MirrorMaker 2 file the link is for, where several are enabled.", valueName: "SOURCE->TARGET"))
    var flow: String?

    @Option(help: "A setting, key=value; several if need be. Wins over --config.")
    var set: [Assignment] = []

    func read(bootstrap: String?) throws -> Given {
        var entries: OrderedDictionary<String, MirrorEntry> = [:]
        if let config { for entry in try Self.entries(of: config) { entries[entry.key] = entry } }
        for assignment in set { entries[assignment.name] = MirrorEntry(key: assignment.name, value: assignment.value, line: 0) }
        let isFile = entries["clusters"] != nil
        if let bootstrap, !isFile { entries["bootstrap.servers"] = MirrorEntry(key: "bootstrap.servers", value: bootstrap, line: 0) }
        var given = try Self.read(Array(entries.values), flow: flow, place: config)
        if let bootstrap { given.settings["bootstrap.servers"] = bootstrap }
        return given
    }

    static func entries(of file: String) throws -> [MirrorEntry] {
        let content = ConfigurationFile.read(file)
        if let mistake = content.mistakes.first(where: { $0.severity == .error }) { throw CommandFailure("--config: \(mistake)") }
        return content.entries.map { entry in
            var line = 0
            if case .file(_, let number) = entry.origin { line = number }
            return MirrorEntry(key: entry.key, value: entry.value, line: line)
        }
    }

    /// - Parameter place: of the entries, for what is said about them.
    static func read(_ entries: [MirrorEntry], flow: String? = nil, place: String? = nil) throws -> Given {
        guard MirrorMakerTranslation.isNeeded(entries.map(\.key)) else {
            if flow != nil { throw CommandFailure("--flow is for files of MirrorMaker 2's, and there is none") }
            return Given(settings: OrderedDictionary(entries.map { ($0.key, $0.value) }) { $1 })
        }
        let prefix = place.map { "\($0): " } ?? ""
        do throws(MirrorMistakes) {
            let translation = try MirrorMakerTranslation(entries, flow: flow)
            for warning in translation.warnings { Terminal.complain("Warning: \(prefix)\(warning)") }
            for setting in translation.settings where setting.isWarning {
                let mistake = MirrorMistake(
                    severity: .warning, line: setting.entry.line, key: setting.entry.key,
                    message: "is \(setting.entry.value): \(setting.remark)")
                Terminal.complain("Warning: \(prefix)\(mistake)")
            }
            return Given(settings: translation.configuration, translation: translation)
        } catch {
            throw CommandFailure(error.errors.map { "\(prefix)\($0)" }.joined(separator: "\n       "))
        }
    }
}

extension MirrorMakerTranslation {
    var table: TextTable {
        var table = TextTable("MIRRORMAKER 2", "LINK", "")
        for setting in settings {
            let secret = LinkDefinition.isSecret(setting.entry.key)
            let words = setting.settings.map { "\($0.key)=\(LinkDefinition.isSecret($0.key) ? "…" : $0.value)" }
            table.add(
                "\(setting.entry.key) = \(secret ? "…" : setting.entry.value)\(setting.isDefault ? " (default)" : "")",
                words.isEmpty ? "-" : words.joined(separator: " "), setting.remark)
        }
        return table
    }

    var json: JSONValue {
        .array(
            settings.map { setting in
                let secret = LinkDefinition.isSecret(setting.entry.key)
                return [
                    "key": .string(setting.entry.key), "value": secret ? .null : .string(setting.entry.value),
                    "line": .integer(Int64(setting.entry.line)), "isDefault": .bool(setting.isDefault),
                    "settings": setting.settings.filter { !LinkDefinition.isSecret($0.key) }.json, "remark": .string(setting.remark),
                    "isWarning": .bool(setting.isWarning),
                ]
            })
    }
}
