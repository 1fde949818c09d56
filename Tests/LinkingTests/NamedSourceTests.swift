import Primitives
import Testing

@testable import Linking

/// Sources whose topics have no ids: what a mirror makes of records that nobody compared with what is here.
struct NamedSourceTests {
    private static func position(_ end: Offset, from start: Offset = 0) -> MirrorPosition {
        MirrorPosition(leaderEpoch: 1, logStartOffset: start, logEndOffset: end, mayCut: true)
    }

    private static func batch(_ offset: Offset, _ crc: UInt32 = 1) -> BatchIdentity {
        BatchIdentity(baseOffset: offset, lastOffset: offset, crc: crc)
    }

    private func compare(
        _ session: inout MirrorSession, at offset: Offset, isSame: Bool, epoch: LeaderEpoch = 3, _ position: MirrorPosition
    ) -> MirrorAction {
        session.compared(
            at: offset, own: Self.batch(offset), source: Self.batch(offset, isSame ? 1 : 2), sourceEpoch: epoch, isComparable: true,
            sourceEnd: 100, position)
    }

    private func isFailure(_ action: MirrorAction, _ words: String) -> Bool {
        guard case .fail(let reason) = action else { return false }
        return reason.contains(words)
    }

    @Test func doubtfulRecordsAreComparedBeforeTheyAreAppended() {
        let position = Self.position(10)
        var (session, _) = MirrorSession.begin(position, isNamed: true)
        #expect(session.doubted(position) == .wait)
        _ = compare(&session, at: 9, isSame: true, position)
        #expect(session.isFollowing && session.sourceEpoch == 3)
        #expect(session.doubted(position) == .ask(.batch(at: 9)))
        #expect(!session.isFollowing)
        #expect(compare(&session, at: 9, isSame: true, position) == .ask(.records(from: 10, sourceEpoch: 3)))
        // Nothing is there that could be compared.
        var (empty, _) = MirrorSession.begin(Self.position(0), isNamed: true)
        #expect(empty.doubted(Self.position(0)) == .wait)
        #expect(session.doubted(nil) == .drop)
    }

    @Test func aTopicThatSharesNothingIsAnotherOne() {
        for isNamed in [true, false] {
            let position = Self.position(2)
            var (session, _) = MirrorSession.begin(position, isNamed: isNamed)
            _ = compare(&session, at: 1, isSame: false, position)
            #expect(session.bounds(start: 0, end: 50, policy: .fail, position) == .ask(.batch(at: 1)))
            _ = compare(&session, at: 1, isSame: false, position)
            let action = compare(&session, at: 0, isSame: false, position)
            #expect(isNamed ? isFailure(action, "shares no record") : action == .keep(from: 0, position))
        }
    }

    @Test func whatIsSharedInPartIsCutAsEver() {
        let position = Self.position(2)
        var (session, _) = MirrorSession.begin(position, isNamed: true)
        _ = compare(&session, at: 1, isSame: false, position)
        _ = session.bounds(start: 0, end: 50, policy: .fail, position)
        _ = compare(&session, at: 1, isSame: false, position)
        #expect(compare(&session, at: 0, isSame: true, position) == .keep(from: 1, position))
    }

    @Test func leaderEpochsDoNotGoBack() {
        let position = Self.position(10)
        var (session, _) = MirrorSession.begin(position, isNamed: true)
        _ = compare(&session, at: 9, isSame: true, epoch: 7, position)
        #expect(isFailure(session.wentBack(to: 0), "from leader epoch 7 to 0"))
    }

    @Test func aTopicWithoutAnIdIsTheSameWhateverIdItGets() {
        var mirror = MirrorTopic(name: "a", topicID: .random(), link: "l", sourceName: "a", sourceID: .zero, state: .active, since: 0)
        let own = ["a": LinkedTopic(name: "a", id: mirror.topicID, partitions: 1)]
        func fails(_ id: TopicID?) -> Bool {
            let source = id.map { ["a": LinkedTopic(name: "a", id: $0, partitions: 1)] } ?? [:]
            return !TopicVerdicts([mirror], own: own, source: source, now: 1).steps.isEmpty
        }
        #expect(!fails(.zero) && !fails(.random()) && fails(nil))
        mirror.sourceID = .random()
        #expect(fails(.zero) && fails(.random()) && !fails(mirror.sourceID))
    }

    /// It would never have all that its source has not; a source's broker that has not heard of new partitions yet is no reason.
    @Test func aMirrorIsNotRestoredWithMorePartitionsThanItsSource() {
        let id = KafkaUUID.random()
        let mirror = MirrorTopic(name: "a", topicID: id, link: "l", sourceName: "a", sourceID: id, state: .pendingRestore, since: 0)
        func steps(own: Int, source: Int, now: Timestamp) -> [MirrorStep] {
            TopicVerdicts(
                [mirror], own: ["a": LinkedTopic(name: "a", id: id, partitions: own)],
                source: ["a": LinkedTopic(name: "a", id: id, partitions: source)], now: now
            ).steps
        }
        let late = LinkSteps.announcementMilliseconds + 1
        #expect(steps(own: 3, source: 3, now: late).isEmpty && steps(own: 3, source: 2, now: late - 1).isEmpty)
        guard case .enter(.failed, let reason) = steps(own: 3, source: 2, now: late).first?.outcome else {
            Issue.record("it goes on")
            return
        }
        #expect(reason.contains("3 partitions here and 2 at the source"))
    }
}
