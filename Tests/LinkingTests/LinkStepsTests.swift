import Primitives
import Testing

@testable import Linking

struct LinkStepsTests {
    private static let id = KafkaUUID.random()
    private static let topic = LinkedTopic(name: "t", id: id, partitions: 1)

    private static func mirror(_ state: MirrorState) -> MirrorTopic {
        MirrorTopic(name: "t", topicID: id, link: "dr", sourceName: "t", sourceID: id, state: state, since: 1)
    }

    /// A broker that was away takes itself for the leader that it was until it has heard of the present one.
    @Test(arguments: [false, true]) func whoLedBeforeIsNotBelieved(_ isLast: Bool) {
        func answer(_ epoch: Int64, _ end: Int64) -> JSONValue {
            let partition: JSONValue = [
                "topic": "t", "partition": 0, "leaderEpoch": .integer(epoch), "logEndOffset": .integer(end), "highWatermark": .integer(end),
            ]
            return ["revision": 1, "partitions": [partition]]
        }
        let answers = [answer(3, 90), answer(4, 80)]
        let survey = MirrorSurvey(isLast ? answers.reversed() : answers)
        #expect(survey.entries[TopicPartition("t", 0)]?.highWatermark == 80)
    }

    private static func survey(_ entry: MirrorSurvey.Entry) -> MirrorSurvey { MirrorSurvey([TopicPartition("t", 0): entry]) }

    @Test func aMirrorIsDrainedWhenWhatIsCommittedReachesTheFencedEnds() {
        let mirror = Self.mirror(.pendingStopped)
        var steps = LinkSteps()
        func isDrained(_ highWatermark: Offset, _ topic: LinkedTopic = Self.topic) -> Bool {
            let survey = Self.survey(MirrorSurvey.Entry(logEndOffset: 10, highWatermark: highWatermark, revision: 1))
            return !steps.drained([mirror], topics: ["t": topic], survey).isEmpty
        }
        #expect(steps.toFence([mirror], now: 0) == [mirror] && !isDrained(10))
        steps.fenced(mirror, ends: [10], at: 0)
        #expect(steps.toFence([mirror], now: 1).isEmpty && isDrained(10) && !isDrained(9))
        // The source has had another partition since.
        steps.fenced(mirror, ends: [10, 0], at: 1)
        #expect(!isDrained(10))
        #expect(steps.growing(["t": Self.topic]) == [TopicGrowth(topic: "t", partitions: 2)])
    }

    /// First it is known to have all records, then what goes with them is brought over.
    @Test func aPromotedMirrorIsSynchronizedBeforeItStops() {
        func after(_ state: MirrorState) -> [MirrorState] {
            var steps = LinkSteps()
            steps.fenced(Self.mirror(state), ends: [10], at: 0)
            let survey = Self.survey(MirrorSurvey.Entry(logEndOffset: 10, highWatermark: 10, revision: 1))
            return steps.drained([Self.mirror(state)], topics: ["t": Self.topic], survey).compactMap { step in
                guard case .enter(let state, _) = step.outcome else { return nil }
                return state
            }
        }
        #expect(after(.pendingStopped) == [.pendingSynchronize] && after(.pendingSynchronize) == [.stopping] && after(.active).isEmpty)
        var steps = LinkSteps()
        #expect(steps.toFence([Self.mirror(.pendingSynchronize)], now: 0).count == 1, "the fence is looked after")
        let failed = steps.fencingFailed([Self.mirror(.pendingSynchronize)], "gone")
        guard case .enter(.pendingStopped, _) = failed.first?.outcome else {
            Issue.record("\(failed)")
            return
        }
    }

    /// A source that answers and refuses is another matter than one that does not answer.
    @Test func aLinkThatIsRefusedHasFailed() {
        var steps = LinkSteps()
        func states(_ found: [MirrorStep]) -> [MirrorState] {
            found.compactMap { step in
                guard case .enter(let state, let reason) = step.outcome, state == .active || reason.contains("not you") else { return nil }
                return state
            }
        }
        let mirrors = [MirrorState.active, .sourceUnavailable, .linkFailed, .pendingStopped, .paused].map { Self.mirror($0) }
        #expect(states(steps.sourceFailed(mirrors, threshold: 2, "not you", isRefused: true)) == [.linkFailed, .linkFailed, .linkFailed])
        #expect(states(steps.sourceFailed(mirrors, threshold: 2, "not you")) == [.sourceUnavailable, .sourceUnavailable])
        #expect(states(steps.sourceAnswered(mirrors)) == [.active, .active])
        #expect(states(steps.sourceFailed(mirrors, threshold: 2, "not you")).isEmpty)
    }

    @Test func aFenceHoldsForOneTakeOver() {
        let mirror = Self.mirror(.pendingStopped)
        var steps = LinkSteps()
        steps.fenced(mirror, ends: [0], at: 0)
        #expect(steps.toFence([Self.mirror(.stopped)], now: 1).isEmpty)
        #expect(steps.toFence([mirror], now: 2) == [mirror])
    }

    @Test func onlyWhatIsSaidByTheNewestImageSettlesAMirror() {
        func settled(_ state: MirrorState, revision: Offset, isAnnounced: Bool = true) -> [MirrorStep] {
            let entry = MirrorSurvey.Entry(logEndOffset: 1, highWatermark: 1, sourceEndOffset: 1, isEnded: true, revision: revision)
            return LinkSteps().settled(
                [Self.mirror(state)], topics: ["t": Self.topic], Self.survey(entry), revision: 5, isAnnounced: isAnnounced, now: 1)
        }
        #expect(settled(.stopping, revision: 4).isEmpty && settled(.stopping, revision: 5).count == 1)
        #expect(settled(.pendingRestore, revision: 4).isEmpty && settled(.pendingRestore, revision: 5).count == 1)
        #expect(settled(.pendingRestore, revision: 5, isAnnounced: false).isEmpty)
    }

    @Test func whatHasComeFromHereIsNotMirroredBack() throws {
        let link = LinkDefinition(
            name: "back", id: .random(), configuration: ["bootstrap.servers": "a:1", "cluster.link.prefix": "b."], sourceClusterID: "B",
            createdAt: 0)
        var settings = try LinkSettings(link.configuration)
        settings.autoCreateFilter = .everything(.topics)
        let sources = ["a.x": SourceMirror(origins: ["A"], isWritable: false), "c.y": SourceMirror(origins: ["C", "A"], isWritable: true)]
        let topics = ["a.x", "c.y", "z"].map { LinkedTopic(name: $0, id: Self.id, partitions: 1) }
        let found = NewMirrors.found(
            topics, link, settings, LinkImage(), own: [], sources: sources, clusterID: "A", now: 0)
        #expect(found.map(\.name) == ["b.z"])
        #expect(NewMirrors.problem(withRestoring: "a.x", sources["a.x"], clusterID: "A") != nil)
        #expect(NewMirrors.problem(withRestoring: "c.y", sources["c.y"], clusterID: "A") == nil)
    }

    @Test func offsetsAreCopiedUpToWhatIsCommittedOfAFollowedSource() {
        func admitted(_ offset: Offset, sourceEnd: Offset) -> Bool {
            let entry = MirrorSurvey.Entry(logEndOffset: 10, highWatermark: 8, sourceEndOffset: sourceEnd, revision: 1)
            let name = TopicPartition("t", 0)
            return MirrorOffsets.admitted([name: offset], [Self.mirror(.active)], Self.survey(entry))[name] == name
        }
        #expect(admitted(8, sourceEnd: 10) && !admitted(9, sourceEnd: 10) && !admitted(8, sourceEnd: -1))
    }
}
