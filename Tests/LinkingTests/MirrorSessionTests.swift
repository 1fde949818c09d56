import Primitives
import Testing

@testable import Linking

struct MirrorSessionTests {
    private static func position(_ end: Offset, from start: Offset = 0, epoch: LeaderEpoch = 1, mayCut: Bool = true) -> MirrorPosition {
        MirrorPosition(leaderEpoch: epoch, logStartOffset: start, logEndOffset: end, mayCut: mayCut)
    }

    private static func batch(_ offset: Offset, _ crc: UInt32 = 1) -> BatchIdentity {
        BatchIdentity(baseOffset: offset, lastOffset: offset, crc: crc)
    }

    /// Compares one offset, where the source has the same batch or another.
    private func compare(_ session: inout MirrorSession, at offset: Offset, isSame: Bool, _ position: MirrorPosition) -> MirrorAction {
        session.compared(
            at: offset, own: Self.batch(offset), source: Self.batch(offset, isSame ? 1 : 2), sourceEpoch: 3, isComparable: true,
            sourceEnd: 100, position)
    }

    @Test func anEmptyMirrorFollowsAndOneWithRecordsComparesFirst() {
        #expect(MirrorSession.begin(Self.position(7, from: 7)).question == .records(from: 7, sourceEpoch: -1))
        var (session, question) = MirrorSession.begin(Self.position(10))
        #expect(question == .batch(at: 9))
        #expect(compare(&session, at: 9, isSame: true, Self.position(10)) == .ask(.records(from: 10, sourceEpoch: 3)))
        #expect(session.appended(upTo: 12, lastSourceEpoch: 4) == .ask(.records(from: 12, sourceEpoch: 4)))
    }

    @Test func whatTheSourceHasNotIsKeptAndCut() {
        let position = Self.position(4)
        var (session, _) = MirrorSession.begin(position)
        guard case .askBounds = compare(&session, at: 3, isSame: false, position) else { return #expect(Bool(false), "asks for no bounds") }
        #expect(session.bounds(start: 0, end: 4, policy: .fail, position) == .ask(.batch(at: 3)))
        // Asked for twice: the second answer says nothing.
        #expect(session.bounds(start: 0, end: 4, policy: .fail, position) == .wait)
        #expect(compare(&session, at: 3, isSame: false, position) == .ask(.batch(at: 2)))
        #expect(compare(&session, at: 2, isSame: true, position) == .keep(from: 3, position))
        var other = session
        #expect(session.kept(true, from: 3, before: position, position) == .cut(to: 3))
        #expect(session.wasCut(Self.position(3)) == .ask(.batch(at: 2)))
        // Not while what is to go could not be kept, or has changed meanwhile.
        guard case .rest = other.kept(true, from: 3, before: position, Self.position(5)) else { return #expect(Bool(false), "cuts") }
    }

    @Test func aCutNeedsAnEpochOfItsOwn() {
        let position = Self.position(1, mayCut: false)
        var (session, _) = MirrorSession.begin(position)
        _ = session.parted(position)
        #expect(session.bounds(start: 0, end: 0, policy: .fail, position) == .needEpoch(cut: 0, .batch(at: 0)))
        #expect(session.bounds(start: 0, end: 0, policy: .fail, Self.position(1, epoch: 2)) == .drop)
    }

    @Test func aSourceThatDoesNotKnowItsEndYetCutsNothing() {
        // The last batch is not shown because a new leader does not know that it is committed; its end says that it is.
        let position = Self.position(10)
        var (session, _) = MirrorSession.begin(position)
        let hidden = session.compared(
            at: 9, own: Self.batch(9), source: nil, sourceEpoch: -1, isComparable: true, sourceEnd: 5, position)
        guard case .askBounds = hidden else { return #expect(Bool(false), "believes it: \(hidden)") }
        #expect(session.bounds(start: 0, end: 10, policy: .fail, position) == .ask(.batch(at: 9)))
        #expect(compare(&session, at: 9, isSame: true, position) == .ask(.records(from: 10, sourceEpoch: -1)))
    }

    @Test func anotherBatchAtTheEndIsCutWhereTheSourcesBegins() {
        let position = Self.position(43)
        var (session, _) = MirrorSession.begin(position)
        #expect(session.overlapped(from: 41, position) == .keep(from: 41, position))
    }

    @Test(arguments: [(Offset(0), Offset(0)), (0, 10), (10, 10)])
    func aGapIsPassedOverOnlyByAMirrorThatNeverHadAnything(start: Offset, end: Offset) {
        let position = Self.position(end, from: start)
        for policy in [LinkSettings.GapPolicy.fail, .skip] {
            var (session, _) = MirrorSession.begin(position)
            _ = session.outOfRange(position)
            let action = session.bounds(start: 20, end: 30, policy: policy, position)
            switch (action, end, policy) {
            case (.restart(20), 0, _), (.fail, 10, .fail), (.skip(_, .records(from: 20, sourceEpoch: -1)), 10, .skip): break
            default: #expect(Bool(false), "\(position), \(policy): \(action)")
            }
        }
    }
}
