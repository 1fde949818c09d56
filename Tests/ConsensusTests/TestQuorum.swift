// Several members in one loop over a bag of messages, from one seed: messages are lost, late and out of order, members crash and come
// back, links break. What must hold at any moment is checked at every effect.
import Consensus
import KafkaMessages
import KafkaRecords
import NIOCore
import OrderedCollections
import Primitives
import RecordBatches

struct TestQuorum {
    enum Happening {
        case request(QuorumRequest, from: NodeID, to: NodeID, correlation: UInt64, incarnation: Int)
        case response(QuorumResponse, from: NodeID, to: NodeID, correlation: UInt64, incarnation: Int)
        case failure(to: NodeID, correlation: UInt64, incarnation: Int)
        case synced(NodeID, upTo: Offset, incarnation: Int)
        case installed(NodeID, SnapshotID, incarnation: Int)
    }

    /// Whose request it is, and who has it.
    struct Origin { var id: NodeID, correlation: UInt64, incarnation: Int, holder: NodeID }

    struct Link: Hashable { var from: NodeID, to: NodeID }

    static let endpointName = "CONTROLLER"
    static let toolID: NodeID = -100

    static func directory(_ id: NodeID) -> KafkaUUID { KafkaUUID(mostSignificantBits: 7, leastSignificantBits: UInt64(id)) }

    var random: SeededRandom
    var now: Int64 = 0
    var members: OrderedDictionary<NodeID, TestMember> = [:]
    var down: OrderedDictionary<NodeID, Disk> = [:]
    var bag: [(at: Int64, happening: Happening)] = []
    var broken: Set<Link> = []
    var lossPercent = 0
    var maximumDelay: Int64 = 10
    var incarnations = 0

    var leaders: [LeaderEpoch: NodeID] = [:]
    /// What anybody has ever known as committed, in order.
    var committed: [StoredBatch] = []
    var answers: [QuorumResponse] = []
    var stopped: Set<NodeID> = []
    private var tokens: OrderedDictionary<UInt64, Origin> = [:]
    private var lastToken: UInt64 = 0
    private let configurations: OrderedDictionary<NodeID, QuorumConfiguration>

    static func endpoint(_ id: NodeID) -> Voter.Endpoint {
        Voter.Endpoint(name: endpointName, host: "node", port: UInt16(1000 + id))
    }

    /// - Parameter dynamic: whether the voters stand in a snapshot as formatting writes it, instead of in the configuration.
    init(voters: [NodeID], others: [NodeID] = [], dynamic: Bool, seed: UInt64, joins: Bool = false) throws {
        random = SeededRandom(seed: seed)
        let set = VoterSet(
            voters.map { Voter(id: $0, directoryID: dynamic ? Self.directory($0) : .zero, endpoints: [Self.endpoint($0)]) })
        var configurations: OrderedDictionary<NodeID, QuorumConfiguration> = [:]
        for id in voters + others {
            var configuration = QuorumConfiguration(
                localID: id, localDirectoryID: Self.directory(id), localEndpoints: [Self.endpoint(id)],
                staticVoters: dynamic ? nil : set)
            if dynamic { configuration.bootstrapServers = voters.map { .init(host: "node", port: UInt16(1000 + $0)) } }
            configuration.joinsAutomatically = joins
            configuration.clusterID = "cluster"
            configurations[id] = configuration
        }
        self.configurations = configurations
        for id in voters + others {
            var disk = Disk()
            if dynamic, voters.contains(id) {
                let header = Quorum.snapshotHeader(lastContainedTimestamp: 0, kraftVersion: 1, voters: set)
                disk.snapshots[.bootstrap] = StoredSnapshot(header: header, bytes: ByteBuffer(string: "bootstrap"))
            }
            down[id] = disk
        }
        for id in voters + others { try start(id) }
    }

    // MARK: - Members

    mutating func start(_ id: NodeID) throws {
        guard let disk = down.removeValue(forKey: id), let configuration = configurations[id] else { return }
        incarnations += 1
        var member = try TestMember(configuration, disk: disk, seed: random.next(), incarnation: incarnations)
        let effects = try member.quorum.start(now: now)
        members[id] = member
        try perform(id, effects)
    }

    mutating func crash(_ id: NodeID) {
        guard let member = members.removeValue(forKey: id) else { return }
        down[id] = member.crashed(keeping: &random)
        // Its connections close.
        for (token, origin) in tokens where origin.holder == id {
            tokens[token] = nil
            later(.failure(to: origin.id, correlation: origin.correlation, incarnation: origin.incarnation))
        }
    }

    mutating func step(_ id: NodeID, _ body: (inout Quorum) throws -> [QuorumEffect]) throws {
        guard var member = members[id] else { return }
        let effects = try body(&member.quorum)
        members[id] = member
        try perform(id, effects)
    }

    private mutating func perform(_ id: NodeID, _ effects: [QuorumEffect]) throws {
        guard var member = members[id] else { return }
        let outgoing = try member.perform(effects)
        let incarnation = member.incarnation
        members[id] = member
        for one in outgoing { try dispatch(one, from: id, incarnation) }
    }

    private mutating func dispatch(_ outgoing: Outgoing, from id: NodeID, _ incarnation: Int) throws {
        switch outgoing {
        case .request(let request, let peer, let correlation):
            let to = NodeID(peer.port) - 1000
            if isLost(id, to) { return }
            later(.request(request, from: id, to: to, correlation: correlation, incarnation: incarnation))
        case .reply(let token, let response):
            guard let origin = tokens.removeValue(forKey: token) else { throw Broken("\(id): answered \(token) twice") }
            if origin.id == Self.toolID {
                answers.append(response)
            } else if !isLost(id, origin.id) {
                later(
                    .response(response, from: id, to: origin.id, correlation: origin.correlation, incarnation: origin.incarnation))
            }
        case .sync: later(.synced(id, upTo: members[id]?.disk.end ?? 0, incarnation: incarnation))
        case .install(let snapshot): later(.installed(id, snapshot, incarnation: incarnation))
        case .lead(let epoch): try leads(id, epoch)
        case .commit(let from, let upTo): try commits(id, from: from, upTo: upTo)
        case .resign: break
        case .stopped: stopped.insert(id)
        }
    }

    private mutating func isLost(_ from: NodeID, _ to: NodeID) -> Bool {
        broken.contains(Link(from: from, to: to)) || (lossPercent > 0 && Int.random(in: 0..<100, using: &random) < lossPercent)
    }

    private mutating func later(_ happening: Happening) {
        bag.append((now + Int64.random(in: 1...maximumDelay, using: &random), happening))
    }

    // MARK: - Time

    /// The next thing that happens; false if nothing will.
    @discardableResult
    mutating func advance() throws -> Bool {
        var next = Int64.max
        for entry in bag { next = min(next, entry.at) }
        for member in members.values { next = min(next, member.quorum.nextDeadline ?? .max) }
        guard next < .max else { return false }
        now = max(now, next)
        if let index = bag.firstIndex(where: { $0.at <= now }) {
            let entry = bag.remove(at: index)
            try happen(entry.happening)
            return true
        }
        for id in members.keys where (members[id]?.quorum.nextDeadline ?? .max) <= now {
            let deadline = members[id]?.quorum.nextDeadline
            let time = now
            try step(id) { $0.tick(now: time) }
            if let deadline, members[id]?.quorum.nextDeadline == deadline { throw Broken("\(id): nothing was done at \(deadline)") }
        }
        return true
    }

    /// Goes on until that is true; false if it is not within that time.
    mutating func run(for milliseconds: Int64, until isDone: (TestQuorum) -> Bool = { _ in false }) throws -> Bool {
        let end = now + milliseconds
        while now < end {
            if isDone(self) { return true }
            if try !advance() { return isDone(self) }
        }
        return isDone(self)
    }

    private mutating func happen(_ happening: Happening) throws {
        switch happening {
        case .request(let request, let from, let to, let correlation, let incarnation):
            guard members[to] != nil else {
                later(.failure(to: from, correlation: correlation, incarnation: incarnation))
                return
            }
            if case .apiVersions = request {
                var feature = ApiVersionsResponse.SupportedFeatureKey()
                feature.name = "kraft.version"
                feature.maxVersion = 1
                var response = ApiVersionsResponse()
                response.supportedFeatures = [feature]
                later(.response(.apiVersions(response), from: to, to: from, correlation: correlation, incarnation: incarnation))
                return
            }
            let context = makeContext(from, correlation, incarnation, holder: to)
            let time = now
            try step(to) { $0.received(request, context, now: time) }
        case .response(let response, _, let to, let correlation, let incarnation):
            guard members[to]?.incarnation == incarnation else { return }
            let time = now
            try step(to) { $0.received(response, correlation: correlation, now: time) }
        case .failure(let to, let correlation, let incarnation):
            guard members[to]?.incarnation == incarnation else { return }
            let time = now
            try step(to) { $0.peerFailed(correlation, .disconnected, now: time) }
        case .synced(let id, let offset, let incarnation):
            guard var member = members[id], member.incarnation == incarnation else { return }
            let reached = min(offset, member.disk.end)
            member.disk.durable = max(member.disk.durable, reached)
            members[id] = member
            let time = now
            try step(id) { $0.appended(upTo: reached, now: time) }
        case .installed(let id, let snapshot, let incarnation): try install(id, snapshot, incarnation)
        }
    }

    private mutating func makeContext(
        _ from: NodeID, _ correlation: UInt64, _ incarnation: Int, holder: NodeID
    ) -> QuorumRequestContext {
        lastToken += 1
        tokens[lastToken] = Origin(id: from, correlation: correlation, incarnation: incarnation, holder: holder)
        return QuorumRequestContext(token: lastToken, version: 18, listenerName: Self.endpointName)
    }

    /// A request of a tool; its answer appears in `answers`.
    mutating func ask(_ request: QuorumRequest, of id: NodeID) throws {
        let context = makeContext(Self.toolID, 0, 0, holder: id)
        let time = now
        try step(id) { $0.received(request, context, now: time) }
    }

    // MARK: - Snapshots

    /// Writes a snapshot of everything committed and forgets the log before it.
    mutating func snapshot(_ id: NodeID) throws {
        guard var member = members[id], member.committed > member.disk.start, member.committed <= member.disk.durable,
            let last = member.disk.batches.last(where: { $0.next <= member.committed })
        else { return }
        let name = SnapshotID(endOffset: last.next, epoch: last.epoch)
        let header = member.quorum.snapshotHeader(endOffset: name.endOffset, lastContainedTimestamp: now)
        member.disk.snapshots = [name: StoredSnapshot(header: header, bytes: ByteBuffer(string: "snapshot \(name) of the log"))]
        member.disk.batches.removeAll { $0.next <= name.endOffset }
        member.disk.start = name.endOffset
        member.quorum.snapshotWritten(name, startOffset: name.endOffset)
        members[id] = member
    }

    private mutating func install(_ id: NodeID, _ name: SnapshotID, _ incarnation: Int) throws {
        guard var member = members[id], member.incarnation == incarnation else { return }
        // Somebody has or had the snapshot: its control records are found there.
        let owner = members.values.first { $0.disk.snapshots[name] != nil }
        guard let snapshot = owner?.disk.snapshots[name], member.disk.partial[name] == snapshot.bytes else {
            let time = now
            try step(id) { $0.snapshotFailed(name, now: time) }
            return
        }
        guard name.endOffset >= member.committed else { throw Broken("\(id): a snapshot takes back what was committed") }
        member.disk.batches = []
        member.disk.start = name.endOffset
        member.disk.durable = name.endOffset
        member.disk.snapshots = [name: snapshot]
        member.disk.partial = [:]
        let effects = try member.quorum.snapshotInstalled(name, controlRecords: snapshot.header, now: now)
        members[id] = member
        try perform(id, effects)
    }

    // MARK: - What must hold

    private mutating func leads(_ id: NodeID, _ epoch: LeaderEpoch) throws {
        if let other = leaders[epoch], other != id { throw Broken("\(id) and \(other) lead epoch \(epoch)") }
        leaders[epoch] = id
        guard let member = members[id] else { return }
        // Whoever leads has everything that was ever committed.
        for batch in committed where batch.next > member.disk.start && !member.disk.batches.contains(batch) {
            throw Broken("\(id) leads epoch \(epoch) without \(batch.base) of epoch \(batch.epoch)")
        }
    }

    private mutating func commits(_ id: NodeID, from: Offset, upTo: Offset) throws {
        guard let member = members[id] else { return }
        for batch in member.disk.batches where batch.next > from && batch.next <= upTo {
            if let known = committed.last, known.next > batch.base {
                guard committed.contains(batch) else { throw Broken("\(id) commits another batch at \(batch.base)") }
            } else {
                guard batch.base == (committed.last?.next ?? 0) else { throw Broken("\(id): a gap before \(batch.base)") }
                committed.append(batch)
            }
        }
    }

    /// Who is what, for the message of a test that fails.
    var summary: String {
        members.values.map { member in
            let quorum = member.quorum
            return "\(member.id): \(quorum.role) of \(quorum.leaderID) in \(quorum.epoch), voters \(quorum.voters.voters.keys.elements), "
                + "\(member.disk.start)..<\(member.disk.end), committed \(member.committed), due \(quorum.nextDeadline ?? -1)"
        }.joined(separator: "; ") + " at \(now)"
    }

    /// The member that leads the newest epoch, if any does.
    var leader: NodeID? {
        members.values.filter { $0.quorum.role == .leader }.max { $0.quorum.epoch < $1.quorum.epoch }?.id
    }

    /// Whether all running members have the leader's log, all of it committed.
    var isSettled: Bool {
        guard let leader, let first = members[leader], first.committed == first.disk.end else { return false }
        return members.values.allSatisfy { $0.quorum.epoch == first.quorum.epoch && $0.committed == first.committed }
    }
}
