// Links take MirrorMaker 2's settings: what one of its files, or some of its names, say of a flow is said in a link's own settings. Whatever a
// link cannot do is refused or warned about, for a file must not be taken to mean what it does not do here.
import Collections
import Mirroring
import Primitives

/// What became of one setting of MirrorMaker's.
public struct TranslatedSetting: Sendable, Hashable {
    /// As it stands in the file, or as MirrorMaker has it by default.
    public var entry: MirrorEntry
    public var isDefault = false
    /// In a link's words; empty for what a link has no need of.
    public var settings: OrderedDictionary<String, String> = [:]
    /// What else is to be known of it, for people; why it became nothing.
    public var remark = ""
    /// Whether a link does not do what it asks for.
    public var isWarning = false
}

/// A link's settings, said in MirrorMaker 2's.
public struct MirrorMakerTranslation: Sendable {
    /// The link's configuration: what was translated, and over it what was a link's own from the start.
    public private(set) var configuration: OrderedDictionary<String, String> = [:]
    /// Line by line.
    public private(set) var settings: [TranslatedSetting] = []
    /// What MirrorMaker's reader has to say of the rest.
    public private(set) var warnings: [MirrorMistake] = []

    /// Whether some of the keys are MirrorMaker's.
    public static func isNeeded(_ keys: some Sequence<String>) -> Bool { keys.contains { isForeign($0) } }

    private static func isForeign(_ key: String) -> Bool {
        if LinkSettings.table.contains(where: { $0.key == key }) { return false }
        return MirrorConfiguration.knows(key) || key.hasPrefix("consumer.") || key.hasPrefix("admin.") || key.hasPrefix("producer.")
    }

    /// - Parameters:
    ///   - entries: with `clusters`, a file of the dedicated mode, which means what MirrorMaker makes of it, with all of its defaults. Without,
    ///     settings of one flow under MirrorMaker's names, which mean themselves alone.
    ///   - flow: `A->B`, of a file with several; nil for the only one.
    /// - Throws: everything that is wrong, and everything that a link cannot do.
    public init(_ entries: [MirrorEntry], flow name: String? = nil) throws(MirrorMistakes) {
        let isFile = entries.contains { $0.key == "clusters" }
        let own = entries.filter { entry in
            if isFile { return entry.key != "bootstrap.servers" && LinkSettings.table.contains { $0.key == entry.key } }
            return !Self.isForeign(entry.key)
        }
        let foreign = entries.filter { entry in !own.contains { $0.key == entry.key } }
        let file = isFile ? foreign : try Self.completed(foreign, bootstrap: own.last { $0.key == "bootstrap.servers" }?.value)
        let read = try MirrorConfiguration(file)
        let flow = try Self.chosen(name, of: read)
        var meaning = MirrorMakerMeaning(flow, isFile: isFile)
        meaning.translate()
        // Of settings that stand alone, as they were written.
        func written(_ key: String) -> String {
            let prefix = "\(flow.name)."
            return !isFile && key.hasPrefix(prefix) ? String(key.dropFirst(prefix.count)) : key
        }
        let errors = meaning.mistakes.sorted { $0.line < $1.line }.map { mistake in
            MirrorMistake(severity: mistake.severity, line: mistake.line, key: written(mistake.key), message: mistake.message)
        }
        guard errors.isEmpty else { throw MirrorMistakes(errors: errors) }
        let known = Set(meaning.translated.map(\.entry.key))
        warnings = read.warnings.filter { $0.line != MirrorMakerMeaning.synthetic && !known.contains($0.key) }
        settings = meaning.translated.map { setting in
            var setting = setting
            setting.entry.key = written(setting.entry.key)
            return setting
        }
        for setting in settings { configuration.merge(setting.settings) { $1 } }
        for entry in own { configuration[entry.key] = entry.value }
    }

    private static func chosen(_ name: String?, of read: MirrorConfiguration) throws(MirrorMistakes) -> MirrorFlow {
        let flows = read.flows.filter(\.isEnabled)
        let names = flows.map(\.name).joined(separator: ", ")
        func mistake(_ message: String) -> MirrorMistakes {
            MirrorMistakes(errors: [MirrorMistake(severity: .error, line: 0, key: "clusters", message: message)])
        }
        if let name {
            guard let flow = flows.first(where: { $0.name == name }) else {
                throw mistake("no flow '\(name)' is enabled; the file's are \(names)")
            }
            return flow
        }
        guard flows.count == 1 else {
            throw mistake(
                "a link is for one flow, made at its target, and the file has \(names): say which one with --flow 'SOURCE->TARGET'")
        }
        return flows[0]
    }

    /// A file around settings that stand alone.
    private static func completed(_ entries: [MirrorEntry], bootstrap: String?) throws(MirrorMistakes) -> [MirrorEntry] {
        if let flow = entries.first(where: { $0.key.contains("->") }) {
            throw MirrorMistakes(errors: [
                MirrorMistake(
                    severity: .error, line: flow.line, key: flow.key,
                    message: "is a flow's, and 'clusters' is missing, which names its clusters; without it write the name alone")
            ])
        }
        func alias(_ side: String) -> String { entries.last { $0.key == "\(side).cluster.alias" }?.value ?? side }
        let (source, target) = (alias("source"), alias("target"))
        var file = [("clusters", "\(source), \(target)"), ("\(source)->\(target).enabled", "true")].map {
            MirrorEntry(key: $0.0, value: $0.1, line: MirrorMakerMeaning.synthetic)
        }
        for (alias, place) in [(source, bootstrap), (target, nil)] {
            file.append(MirrorEntry(key: "\(alias).bootstrap.servers", value: place ?? "-:1", line: MirrorMakerMeaning.synthetic))
        }
        return file
            + entries.map { entry in
                var entry = entry
                if entry.key.hasPrefix("source.") || entry.key.hasPrefix("target.") { entry.key = "\(source)->\(target).\(entry.key)" }
                return entry
            }
    }
}
