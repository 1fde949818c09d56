// The coordinator of links over a log in memory.
import Linking
import Primitives
import Runtime
import Synchronization
import TestKit
import Testing

@Suite("Broker: the coordinator of links")
struct LinkCoordinatorRuntimeTests {
    private static let link = LinkDefinition(
        name: "dr", id: .random(), configuration: ["bootstrap.servers": "a:1"], sourceClusterID: "source", createdAt: 1)

    private func active(over log: MemoryCoordinatorLog) throws -> LinkCoordinatorRuntime {
        let runtime = LinkCoordinatorRuntime()
        try runtime.load(term: runtime.beginTerm(), from: log)
        #expect(runtime.isActive)
        return runtime
    }

    private func submit(_ runtime: LinkCoordinatorRuntime, _ step: LinkCoordinatorRuntime.Step<Int>) throws -> Int {
        let outcome = Mutex<Result<Int, LinkFailure>?>(nil)
        runtime.submit(now: 1, step) { result in outcome.withLock { $0 = result } }
        return try #require(outcome.withLock { $0 }).get()
    }

    /// The topic takes batches up to a megabyte only, and a link may have put many things here.
    @Test func manyRecordsGoInBatchesThatTheTopicTakes() throws {
        let log = MemoryCoordinatorLog()
        let runtime = try active(over: log)
        _ = try submit(runtime) { coordinator throws(LinkRefusal) in (0, try coordinator.createLink(Self.link)) }
        let items = (0..<5_000).map { SynchronizationPlan.Item(name: "\($0)" + String(repeating: "x", count: 300), value: "v") }
        let count = try submit(runtime) { coordinator throws(LinkRefusal) in
            let records = try coordinator.claim(items, .acls, link: "dr", id: Self.link.id)
            return (records.count, records)
        }
        #expect(count == 5_000 && runtime.image?.synchronized.of("dr", .acls).count == 5_000)
        let sizes = log.state.withLock { $0.batches.map(\.readableBytes) }
        #expect(sizes.count > 4 && sizes.allSatisfy { $0 < 512 << 10 })
        #expect(runtime.revision == 1, "nobody else has to know of them")

        // Whoever coordinates next knows all of it, and takes all of it away with the link.
        let next = try active(over: log)
        #expect(next.image == runtime.image && next.revision == log.endOffset)
        _ = try submit(next) { coordinator throws(LinkRefusal) in (0, try coordinator.deleteLink("dr", force: false)) }
        #expect(try active(over: log).image == LinkImage())
    }
}
