// Links as consoles see them.
import Primitives
import Testing

@testable import Linking

struct LinkReportTests {
    private static let described: JSONValue = [
        "links": [
            ["name": "dr", "configuration": ["cluster.link.paused": "false"]],
            ["name": "idle", "configuration": ["cluster.link.paused": "true"]],
        ],
        "mirrors": [
            ["topic": "t", "link": "dr", "state": "ACTIVE", "reason": ""], ["topic": "u", "link": "idle", "state": "ACTIVE", "reason": ""],
            ["topic": "v", "link": "idle", "state": "STOPPED", "reason": "promoted"],
        ],
    ]

    private static func partition(_ number: Int64, epoch: Int64, source: Int64, end: Int64, problem: String = "") -> JSONValue {
        [
            "topic": "t", "partition": .integer(number), "leaderEpoch": .integer(epoch), "sourceEndOffset": .integer(source),
            "logEndOffset": .integer(end), "records": 100, "bytes": 1_000, "caughtUpAgoMs": 7, "problem": .string(problem),
            "failure": .null,
            "synchronous": "",
        ]
    }

    @Test func theNewestLeaderIsBelieved() throws {
        let report = LinkReport(
            described: Self.described,
            answers: [
                ["broker": 1, "partitions": [Self.partition(0, epoch: 3, source: 200, end: 150)]],
                [
                    "broker": 2,
                    "partitions": [
                        Self.partition(0, epoch: 2, source: 900, end: 1), Self.partition(1, epoch: 1, source: 10, end: 10, problem: "gone"),
                    ],
                ],
            ])
        let mirror = try #require(report.page("dr")?["mirrors"]?.arrayValue?.first)
        #expect(mirror["lag"]?.integerValue == 50 && mirror["state"]?.stringValue == "ACTIVE")
        let partitions = try #require(mirror["partitions"]?.arrayValue)
        #expect(partitions.map { $0["leader"]?.integerValue } == [1, 2])
        #expect(partitions[0]["lagBytes"]?.integerValue == 500 && partitions[0]["lagMs"]?.integerValue == 7)
        #expect(partitions[1]["reason"]?.stringValue == "gone" && partitions[1]["lagBytes"]?.integerValue == 0)
        #expect(report.page("none") == nil)
    }

    @Test func aPausedLinkPausesWhatFetches() throws {
        let report = LinkReport(described: Self.described, answers: [])
        let states = try #require(report.page("idle")?["mirrors"]?.arrayValue).map { $0["state"]?.stringValue }
        #expect(states == ["LINK_PAUSED", "STOPPED"])
        let summary = try #require(report.summary.arrayValue)
        #expect(summary.map { $0["state"]?.stringValue } == ["ACTIVE", "LINK_PAUSED"])
        #expect(summary[1]["mirrorsByState"] == ["LINK_PAUSED": 1, "STOPPED": 1])
        #expect(summary[1]["lag"] == .null, "nobody said how far it is")
    }

    @Test func synchronisationsAreAsFarAsTheSlowestBroker() throws {
        func status(_ run: Int64?, _ success: Int64?, _ error: String) -> JSONValue {
            [
                "link": "dr", "kind": "offsets", "lastRun": run.map { .integer($0) } ?? .null,
                "lastSuccess": success.map { .integer($0) } ?? .null, "error": .string(error), "own": 2,
            ]
        }
        func all(_ statuses: JSONValue...) -> JSONValue? {
            LinkReport(
                described: Self.described,
                answers: statuses.enumerated().map { ["broker": .integer(Int64($0.offset)), "synchronizations": [$0.element]] }
            ).page("dr")?["synchronizations"]?.arrayValue?.first
        }
        let both = all(status(9, 9, ""), status(8, 5, "no way"))
        #expect(
            both?["lastSuccess"]?.integerValue == 5 && both?["own"]?.integerValue == 4 && both?["error"]?.stringValue == "broker 1: no way")
        #expect(all(status(9, 9, ""), status(8, nil, "no way"))?["lastSuccess"] == .null, "one never has")
        #expect(all(status(9, 9, ""), status(nil, nil, ""))?["lastSuccess"]?.integerValue == 9, "one has just started")
    }
}
