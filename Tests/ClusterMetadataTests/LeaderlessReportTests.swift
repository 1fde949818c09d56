// What a node says of the others while its quorum has no leader.
import Consensus
import KafkaMessages
import KafkaWire
import Testing

@testable import Runtime

@Suite("Report of a missing leader")
struct LeaderlessReportTests {
    private let peer = QuorumPeer(id: 1, host: "h", port: 9093)
    private let voters = VoterSet([Voter(id: 1, endpoints: [.init(name: "CONTROLLER", host: "h", port: 9093)])])

    private func warning(_ report: inout LeaderlessReport, now: Int64) -> String? {
        report.warning(hasLeader: false, voters: voters, localID: 2, now: now)
    }

    @Test func namesThoseOfAnotherCluster() throws {
        var report = LeaderlessReport()
        #expect(warning(&report, now: 0) == nil)
        var response = FetchResponse()
        response.errorCode = .inconsistentClusterId
        report.sent(to: peer, correlation: 1)
        report.received(.response(.fetch(response)), correlation: 1)
        let text = try #require(warning(&report, now: 6000))
        #expect(text.contains("Of another cluster, by cluster.id: node 1 at h:9093. Correct the addresses, or format this node"))
        #expect(warning(&report, now: 7000) == nil, "it was said a moment ago")
        // One that is corrected, and one that is away.
        response.errorCode = .none
        report.sent(to: peer, correlation: 2)
        report.received(.response(.fetch(response)), correlation: 2)
        report.sent(to: peer, correlation: 3)
        report.received(.failed(.timedOut), correlation: 3)
        let later = try #require(warning(&report, now: 40_000))
        #expect(!later.contains("another cluster") && later.contains("Not reached: node 1 at h:9093 (no answer in time)."))
    }
}
