// Who does which share of the work, told by a log that all processes read: its order decides, whoever writes at the same time. A share goes
// to another process when its own one gives it up or gives no sign of life; all others stay where they are.
import NIOCore
import Primitives

/// What a record of the log says.
public enum WorkRecord: Hashable, Sendable {
    case alive(member: String)
    case left(member: String)
    /// Counts if its term is later than that of the last claim that counted.
    case claimed(share: Int, member: String, term: Int64)
    case released(share: Int, member: String, term: Int64)

    private static let memberPrefix = "member:"
    private static let sharePrefix = "share:"

    public var key: ByteBuffer {
        switch self {
        case .alive(let member), .left(let member): ByteBuffer(string: Self.memberPrefix + member)
        case .claimed(let share, _, _), .released(let share, _, _): ByteBuffer(string: "\(Self.sharePrefix)\(share)")
        }
    }

    /// - Parameter time: milliseconds since 1970, for people.
    public func value(time: Int64) -> ByteBuffer? {
        let content: JSONValue
        switch self {
        case .left: return nil
        case .alive: content = .object([("time", .integer(time))])
        case .claimed(_, let member, let term): content = .object([("member", .string(member)), ("term", .integer(term))])
        case .released(_, let member, let term):
            content = .object([("member", .string(member)), ("term", .integer(term)), ("released", .bool(true))])
        }
        return ByteBuffer(string: content.text())
    }

    /// Nil for anything else.
    public init?(key: ByteBuffer?, value: ByteBuffer?) {
        guard let key, let name = String(validating: key.readableBytesView, as: UTF8.self) else { return nil }
        if let member = name.dropping(Self.memberPrefix) {
            self = (value?.readableBytes ?? 0) > 0 ? .alive(member: member) : .left(member: member)
            return
        }
        guard let share = name.dropping(Self.sharePrefix).flatMap({ Int($0) }), let value,
            let content = try? JSONValue(parsing: Array(value.readableBytesView)), let member = content["member"]?.stringValue,
            let term = content["term"]?.integerValue
        else { return nil }
        let isReleased = content["released"]?.boolValue == true
        self = isReleased ? .released(share: share, member: member, term: term) : .claimed(share: share, member: member, term: term)
    }
}

/// What one process knows of all.
public struct WorkShares: Sendable {
    /// Members that are kept in mind.
    static let maximumMembers = 1_000

    private struct Share: Sendable {
        var owner: String?
        var term: Int64 = 0
    }

    public let member: String
    private let timeout: Int64
    private var shares: [Share]
    /// When members were last heard of, by this process's own clock.
    private var heard: [String: Int64] = [:]
    /// Shares that are being given up: nothing is done for them any more.
    public private(set) var leaving: Set<Int> = []
    /// Shares whose claim has to be written once more, since a later record of another member could outlive it.
    private var contested: Set<Int> = []

    /// - Parameters:
    ///   - member: this process; no other one is called so.
    ///   - timeout: milliseconds without a sign of life after which others take over.
    public init(member: String, shares: Int, timeout: Int64) {
        self.member = member
        self.timeout = timeout
        self.shares = [Share](repeating: Share(), count: shares)
    }

    // MARK: The log

    /// - Parameter now: this process's monotonic milliseconds.
    public mutating func apply(_ record: WorkRecord, now: Int64) {
        switch record {
        case .alive(let member):
            if heard[member] != nil || heard.count < Self.maximumMembers { heard[member] = now }
        case .left(let member): heard[member] = nil
        case .claimed(let share, let member, let term):
            guard shares.indices.contains(share) else { return }
            guard term > shares[share].term else {
                if shares[share].owner == self.member, member != self.member { contested.insert(share) }
                return
            }
            shares[share] = Share(owner: member, term: term)
            if member != self.member { leaving.remove(share) }
        case .released(let share, let member, let term):
            guard shares.indices.contains(share), shares[share].owner == member, term >= shares[share].term else { return }
            shares[share] = Share(owner: nil, term: term)
            leaving.remove(share)
        }
    }

    // MARK: Who is who

    /// This process and those that were heard of in time.
    private func living(_ now: Int64) -> Set<String> {
        Set(heard.filter { now - $0.value <= timeout }.keys).union([member])
    }

    /// Whether others may think by now, or soon, that this process is dead.
    public func isCutOff(now: Int64) -> Bool { heard[member].map { now - $0 > timeout * 2 / 3 } ?? true }

    /// Shares that this process does.
    public func owned(now: Int64) -> Set<Int> {
        isCutOff(now: now) ? [] : Set(shares.indices.filter { shares[$0].owner == member && !leaving.contains($0) })
    }

    public func owner(of share: Int) -> String? { shares[share].owner }

    private func free(_ living: Set<String>) -> [Int] {
        shares.indices.filter { share in shares[share].owner.map { !living.contains($0) } ?? true }
    }

    private func count(_ member: String) -> Int { shares.count { $0.owner == member } }

    // MARK: What to do

    /// Records to write now: claims of shares that nobody has, and signs that somebody is gone for good.
    public mutating func claims(now: Int64) -> [WorkRecord] {
        guard !isCutOff(now: now) else { return [] }
        var records: [WorkRecord] = contested.sorted().filter { shares[$0].owner == member }.map {
            .claimed(share: $0, member: member, term: shares[$0].term + 1)
        }
        contested = []
        let living = living(now)
        let most = (shares.count + living.count - 1) / living.count
        let room = max(0, most - count(member))
        let free = free(living)
        // Each member begins elsewhere, so that they seldom want the same.
        let start = free.isEmpty ? 0 : Int(member.utf8.reduce(0 as UInt32) { $0 &* 31 &+ UInt32($1) } % UInt32(free.count))
        for share in (free[start...] + free[..<start]).prefix(room) {
            records.append(.claimed(share: share, member: member, term: shares[share].term + 1))
        }
        if living.min() == member {
            for (other, last) in heard.sorted(by: { $0.key < $1.key }) where now - last > timeout * 10 {
                records.append(.left(member: other))
            }
        }
        return records
    }

    /// Shares to stop doing, since another member has too few.
    ///
    /// - Returns: when nothing is done for them any more, `releases` are to be written.
    public mutating func giveUp(now: Int64) -> Set<Int> {
        guard !isCutOff(now: now) else { return [] }
        let living = living(now)
        let mine = shares.indices.filter { shares[$0].owner == member && !leaving.contains($0) }
        let most = (shares.count + living.count - 1) / living.count
        var surplus = max(0, mine.count - most)
        let least = shares.count / living.count
        if surplus == 0, mine.count > least, free(living).isEmpty, living.contains(where: { count($0) < least }) {
            let largest = living.max { (count($0), $1) < (count($1), $0) }
            if largest == member, leaving.isEmpty { surplus = 1 }
        }
        let given = Set(mine.suffix(surplus))
        leaving.formUnion(given)
        return given
    }

    /// That shares are given up; also all of them, at the end.
    public func releases(_ given: Set<Int>) -> [WorkRecord] {
        given.sorted().filter { shares[$0].owner == member }.map { .released(share: $0, member: member, term: shares[$0].term) }
    }
}
