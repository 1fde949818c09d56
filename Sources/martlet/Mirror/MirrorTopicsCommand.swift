// `martlet mirror topics`: which topics are replicated, and changes of that while mirrors run.
import ArgumentParser
import MartletClient
import MirrorMaker
import Mirroring
import Primitives

struct MirrorTopicsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topics", abstract: "Add and block topics while mirrors run.",
        discussion: """
            What is said is kept in mm2-topics.SOURCE.internal on the target of the flow. Mirrors that run take it over within a second, \
            others when they start.
            """,
        subcommands: [
            MirrorTopicsListCommand.self, MirrorTopicsAddCommand.self, MirrorTopicsRemoveCommand.self, MirrorTopicsBlockCommand.self,
            MirrorTopicsUnblockCommand.self,
        ])
}

struct MirrorTopicsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List topics that are replicated, and those that were added or blocked.")

    @OptionGroup var options: MirrorFileOptions
    @Option(help: ArgumentHelp("Only this flow, such as 'A->B'.", valueName: "flow"))
    var flow: String?
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let list = try await withTopics(options) { (topics) async throws(MirrorTopicError) in try await topics.list(flow) }
        var table = TextTable("FLOW", "TOPIC", "CHOSEN BY", "REPLICATED")
        for standing in list {
            let isReplicated = standing.isReplicated && standing.exists
            table.add(
                standing.flow, standing.topic, standing.rule == nil ? "file" : standing.rule == .added ? "added" : "blocked",
                isReplicated ? "yes" : standing.isReplicated ? "no, the source has no such topic" : "no")
        }
        output.show(.array(list.map(\.json)), table.text)
    }
}

/// The file, the flow and the topics of a change.
struct MirrorTopicsOptions: ParsableArguments {
    @OptionGroup var file: MirrorFileOptions

    @Argument(help: "Topics by their names on the source.")
    var topics: [String]

    @Option(help: ArgumentHelp("The flow, such as 'A->B'; may be left out when there is only one.", valueName: "flow"))
    var flow: String?

    func change(_ change: TopicChange, _ done: String) async throws {
        try await withTopics(file) { (topics) async throws(MirrorTopicError) in
            try await topics.change(change, self.topics, flow: flow)
        }
        for topic in topics { Terminal.print("\(topic): \(done)") }
    }
}

struct MirrorTopicsAddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Replicate topics although the file does not name them.")
    @OptionGroup var options: MirrorTopicsOptions
    func run() async throws { try await options.change(.add, "added") }
}

struct MirrorTopicsRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Take back that topics were added; what was copied stays.")
    @OptionGroup var options: MirrorTopicsOptions
    func run() async throws { try await options.change(.remove, "removed") }
}

struct MirrorTopicsBlockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "block", abstract: "Replicate topics no more, whatever names them; what was copied stays.")
    @OptionGroup var options: MirrorTopicsOptions
    func run() async throws { try await options.change(.block, "blocked") }
}

struct MirrorTopicsUnblockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unblock", abstract: "Take back that topics were blocked; copying goes on where it was.")
    @OptionGroup var options: MirrorTopicsOptions
    func run() async throws { try await options.change(.unblock, "unblocked") }
}

private func withTopics<Result>(
    _ options: MirrorFileOptions, _ body: (MirrorTopics) async throws(MirrorTopicError) -> Result
) async throws -> Result {
    let configuration = try options.read()
    let topics: MirrorTopics
    do throws(KafkaError) {
        topics = try MirrorTopics(configuration)
    } catch {
        throw CommandFailure(error.explanation)
    }
    let result: Swift.Result<Result, MirrorTopicError>
    do throws(MirrorTopicError) {
        result = .success(try await body(topics))
    } catch {
        result = .failure(error)
    }
    await topics.close()
    switch result {
    case .success(let value): return value
    case .failure(let error): throw CommandFailure("\(error)")
    }
}
