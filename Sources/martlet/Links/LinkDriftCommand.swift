// `martlet link drift`: what differs between a source and the cluster that mirrors it, beside the records.
import ArgumentParser
import Linking
import MartletClient
import Primitives

struct LinkDriftCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drift", abstract: "Show what differs from the source beside records: settings, ACLs, users, quotas, groups.",
        discussion: """
            A line for each difference; ends with status 1 when there is any. Settings that the link leaves to each cluster
            (topic.config.sync.exclude) do not count, nor do mirrors that have become writable. Offsets of groups are compared when the
            link copies them, or with --only groups; those of a group at work are always a moment old.
            """)

    @Argument(help: "The link's name.")
    var link: String

    @Option(help: "Look for \(DriftKind.allCases.map(\.rawValue).joined(separator: ", ")) only; several if need be.")
    var only: [DriftKind] = []

    @OptionGroup var sourceOptions: LinkSourceOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let check = try await LinkSides.with(link, cluster, sourceOptions) { sides in
            var check = DriftCheck(sides)
            let copiesGroups = sides.settings.syncsOffsets || sides.settings.synchronization.shareOffsets.isEnabled
            let kinds = DriftKind.allCases.filter { only.isEmpty ? $0 != .groups || copiesGroups : only.contains($0) }
            try await check.run(kinds)
            return check
        }
        let lines = check.found.map(\.text)
        for (kind, reason) in check.notCompared where !output.json { Terminal.complain("\(kind.rawValue) were not compared: \(reason)") }
        let skipped = check.notCompared.map { kind, reason -> JSONValue in ["kind": .string(kind.rawValue), "reason": .string(reason)] }
        output.show(
            [
                "link": .string(link), "same": .bool(check.found.isEmpty), "differences": .array(check.found.map(\.json)),
                "notCompared": .array(skipped),
            ],
            lines.isEmpty ? "Nothing differs." : lines.joined(separator: "\n"))
        if !check.found.isEmpty { throw ExitCode.failure }
    }
}

extension DriftKind: ExpressibleByArgument {}
