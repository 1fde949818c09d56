// `martlet link reverse`: mirror and source change places in one step. And `martlet link asynchronous`, for mirrors that nobody is to wait for.
import ArgumentParser
import Linking
import MartletClient
import Primitives

struct LinkReverseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reverse", abstract: "Planned: promote mirrors, and have the source's topics mirror them from then on.",
        discussion: """
            For BIDIRECTIONAL links. The source takes no more writes, the rest is fetched, the mirror becomes writable, and the other cluster
            makes its topic a mirror of it. Nothing is lost; said again it goes on where it was.
            """,
        aliases: ["reverse-and-start"])

    @OptionGroup var selection: MirrorSelection
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try selection.requireSome() }

    func run() async throws {
        try await MirrorReversalRun(verb: .reverse, selection: selection, cluster: cluster, output: output).run()
    }
}

struct LinkReverseAndPauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reverse-and-pause",
        abstract: "As reverse, but the other cluster's new mirrors fetch nothing before they are resumed.",
        discussion: "`martlet link resume LINK TOPIC` on the other cluster has them follow.")

    @OptionGroup var selection: MirrorSelection
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try selection.requireSome() }

    func run() async throws {
        try await MirrorReversalRun(verb: .reverseAndPause, selection: selection, cluster: cluster, output: output).run()
    }
}

/// Reverses, and waits until the other cluster has been told.
private struct MirrorReversalRun {
    var verb: MirrorVerb
    var selection: MirrorSelection
    var cluster: ClusterOptions
    var output: OutputOptions

    func run() async throws {
        try await MirrorVerbRun(verb: verb, selection: selection, cluster: cluster, output: output, awaited: .stopped).run()
        guard !selection.dryRun else { return }
        try await cluster.withAdmin { admin in
            let names = try await selection.names(admin)
            let deadline = SystemClock.monotonicMilliseconds() + Int64(cluster.timeout * 1000)
            while true {
                let left = try await LinkView(admin).mirrors.filter { mirror in
                    mirror.link == selection.link && names?.contains(mirror.topic) ?? true && mirror.reversal.isAsked
                }
                guard let late = left.first else { return }
                guard SystemClock.monotonicMilliseconds() < deadline else {
                    throw CommandFailure(
                        "'\(late.topic)' is writable here, but is not mirrored yet\(late.reason.isEmpty ? "" : ": \(late.reason)"). It goes on by "
                            + "itself; `martlet link mirrors` shows how far it is")
                }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }
}

struct LinkAsynchronousCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "asynchronous",
        abstract: "At the source: wait no longer for synchronous mirrors of topics, such as of a cluster that is gone for good.",
        discussion: "A link that still mirrors them synchronously (mirror.acks=all) has them waited for again.")

    @Argument(help: "Topics of this cluster.")
    var topics: [String]

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        _ = try await cluster.withAdmin { admin in try await admin.links(.synchronize, ["release": .strings(topics)]) }
        output.show(["topics": .strings(topics)], "Nobody waits for mirrors of \(topics.joined(separator: ", ")) any longer.")
    }
}
