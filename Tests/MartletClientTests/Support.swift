// What the tests against a node share: a client's settings, and waiting for what comes about.
import Primitives
import TestKit
import Testing

@testable import MartletClient

extension RunningNode {
    func client() throws -> ClientConfiguration {
        var configuration = try ClientConfiguration(bootstrapServers: bootstrap)
        configuration.operationTimeout = .seconds(20)
        return configuration
    }
}

/// Waits for a condition, with a deadline.
func eventually(
    within seconds: Int64 = 20, _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    let deadline = SystemClock.monotonicMilliseconds() + seconds * 1000
    while SystemClock.monotonicMilliseconds() < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record(what, sourceLocation: sourceLocation)
}
