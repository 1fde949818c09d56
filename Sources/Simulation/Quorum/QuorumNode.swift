// One member of the metadata quorum as a process: the core unchanged, and around it what the real shell does, on a simulated disk and
// network. One step at a time; between any two effects the process may die.
import Consensus
import DequeModule
import KafkaMessages
import NIOCore
import Primitives
import RecordBatches

/// What a member works on, one after the other.
enum QuorumInput {
    case start
    case tick
    case request(QuorumRequest, ReplyPath)
    case response(QuorumResponse, UInt64)
    case failure(UInt64, QuorumPeerFailure)
    /// The log is durable up to there, unless it was truncated since.
    case durable(Offset)
    case propose([UInt64], isAtomic: Bool)
    /// Something for the active controller to decide.
    case decide(ControllerDecision)
    case snapshotWritten(SnapshotFile)
    case snapshotInstalled(SnapshotID, [QuorumControlRecord])
    case snapshotFailed(SnapshotID)
    case resign
    case shutDown
}

/// A record that a client waits for.
struct QuorumProposal {
    var value: UInt64
    var offset: Offset
    var epoch: LeaderEpoch
}

/// A request that the core has not answered yet.
struct PendingRequest {
    var path: ReplyPath
    /// The candidate and epoch of a request for a vote that counts.
    var vote: (epoch: LeaderEpoch, candidate: NodeID)?
}

/// A member of the simulated quorum.
final class QuorumNode {
    unowned let world: QuorumWorld
    let host: Host
    var configuration: QuorumConfiguration
    var disk = QuorumDisk()
    var random: SeededRandom
    /// The core; nil while the process does not run.
    var quorum: Quorum?
    /// Added to virtual time: machines do not agree on when time began.
    let clockBase: Int64

    var inbox = Deque<QuorumInput>()
    var effects = Deque<QuorumEffect>()
    var isPaused = false
    /// When the process went on after its last pause.
    private(set) var lastResume: VirtualTime = 0
    /// Waits for its disk before it goes on.
    var isBusy = false
    var isSyncing = false
    var isWritingSnapshot = false
    var stateBeingPersisted: ElectionState?
    var isShuttingDown = false
    /// Dies after so many effects; nil for not.
    var effectsUntilDeath: Int?
    /// Multiplies the time that the disk takes.
    var diskSlowness: Int64 = 1
    var isDiskFull = false

    var pending: [UInt64: PendingRequest] = [:]
    var nextToken: UInt64 = 1
    var proposals: [QuorumProposal] = []
    /// What was applied to the state, which is but a digest of all that was.
    var appliedOffset: Offset = 0
    var appliedEpoch: LeaderEpoch = 0
    var state: UInt64 = 0
    /// The highest one of this incarnation.
    var highWatermark: Offset = 0
    /// The highest epoch in which this member has said anything, restarts included.
    var epochTold: LeaderEpoch = 0
    /// What else the process does: the cluster's metadata, a controller, a broker. Nil in a world that has nothing but a quorum.
    var program: ClusterNode?
    /// What came while the process was paused, but for what the quorum gets.
    private var deferred: [() -> Void] = []
    /// What waits for its turn on an event loop of the process.
    private var tasks = Deque<() -> Void>()
    private var scheduledWake: VirtualTime?
    private var ticksAtOneInstant = 0
    private var lastTick: VirtualTime = -1

    init(world: QuorumWorld, host: Host, configuration: QuorumConfiguration, seed: UInt64) {
        self.world = world
        self.host = host
        self.configuration = configuration
        random = SeededRandom(seed: seed)
        clockBase = random.between(0...10_000_000)
        host.receive = { [unowned self] request, path in
            // The listener answers this one; the quorum does not see it.
            if case .quorum(.apiVersions) = request { return world.network.reply(.quorum(.apiVersions(Self.versions)), to: path) }
            guard case .quorum(let request) = request else { return perform { [unowned self] in program?.receive(request, path) } }
            enqueue(.request(world.mutate(received: request, by: self), path))
        }
    }

    var id: NodeID { host.id }
    var isRunning: Bool { host.isRunning }
    var isLeader: Bool { quorum?.role == .leader }
    var now: Int64 { world.scheduler.now / 1000 + clockBase }

    func note(_ text: @autoclosure () -> String) { world.trace.note(world.scheduler.now, "n\(id)", text()) }

    func fail(_ invariant: Invariant, _ detail: @autoclosure () -> String) { world.fail(invariant, detail()) }

    // MARK: The process

    /// Starts the process from what is on the disk.
    func boot() {
        guard !host.isRunning, host.hasPower else { return }
        host.incarnation += 1
        host.isRunning = true
        applyMutationsAtStart()
        disk.opened()
        do {
            let log = try readLog()
            quorum = try Quorum(configuration, persisted: disk.electionState, log: log, seed: random.next())
        } catch {
            return fail(.noUnexpectedError, "n\(id) cannot start: \(error)")
        }
        highWatermark = 0
        if world.violation == nil { program?.started() }
        note(
            "starts as incarnation \(host.incarnation), log \(disk.startOffset)..<\(disk.endOffset)@\(disk.lastEpoch), "
                + "epoch \(disk.electionState?.leaderEpoch ?? 0)")
        enqueue(.start)
    }

    /// The process ends at once, wherever it is.
    func die(_ reason: String) {
        guard host.isRunning else { return }
        note("dies: \(reason)")
        program?.ended()
        deferred.removeAll()
        tasks.removeAll()
        if let state = stateBeingPersisted, random.chance(500) { disk.write(state) }
        host.isRunning = false
        quorum = nil
        inbox.removeAll()
        effects.removeAll()
        pending.removeAll()
        proposals.removeAll()
        stateBeingPersisted = nil
        (isPaused, isBusy, isSyncing, isWritingSnapshot, isShuttingDown) = (false, false, false, false, false)
        effectsUntilDeath = nil
        scheduledWake = nil
        disk.processEnded()
        world.network.processStopped(host)
    }

    /// The whole machine loses power, and with it what was not synced.
    func losePower() {
        host.hasPower = false
        die("no power")
        let before = disk.endOffset
        disk.powerLost(&random, keepingTorn: world.mutation == .acceptTornBatches)
        if disk.endOffset != before { note("its log ends at \(disk.endOffset) after the loss of power, at \(before) before") }
    }

    private func applyMutationsAtStart() {
        switch world.mutation {
        case .forgetEpochAtStart: disk.write(nil)
        case .forgetVoteAtStart:
            if var state = disk.electionState {
                state.votedID = -1
                state.votedDirectoryID = .zero
                disk.write(state)
            }
        case .dropTailAtStart: if host.incarnation > 1 { disk.dropLastBatch() }
        default: break
        }
    }

    private func readLog() throws -> QuorumLog {
        var log = QuorumLog(endOffset: disk.endOffset, lastEpoch: disk.lastEpoch)
        (appliedOffset, appliedEpoch, state) = (0, 0, 0)
        log.startOffset = disk.startOffset
        log.snapshots = disk.snapshots.map(\.id).filter { $0 != .bootstrap }
        if let newest = disk.snapshots.last {
            let (controls, state, records) = try newest.read()
            for control in controls { try log.replay(control, inBootstrapSnapshot: newest.id == .bootstrap) }
            if newest.id != .bootstrap {
                adopt(newest.id, state)
                program?.load(newest.id, records)
            }
        }
        if disk.startOffset > 0, let first = disk.snapshots.first(where: { $0.id.endOffset == disk.startOffset }) {
            log.epochs.append(EpochStart(epoch: first.id.epoch, startOffset: disk.startOffset))
        }
        for batch in disk.log {
            if batch.epoch > log.epochs.last?.epoch ?? -1 {
                log.epochs.append(EpochStart(epoch: batch.epoch, startOffset: batch.baseOffset))
            }
            guard batch.isControl, batch.baseOffset >= appliedOffset else { continue }
            var records = try RecordBatch(batch.bytes).records()
            while let record = try records.next() {
                guard let control = try QuorumControlRecord.decode(record) else { continue }
                if world.mutation == .forgetVotersAtStart, case .voters = control { continue }
                try log.replay(control, at: record.offset)
            }
        }
        return log
    }

    /// The state of a snapshot takes the place of this member's.
    func adopt(_ id: SnapshotID, _ digest: UInt64) {
        if let truth = world.ledger.state(at: id.endOffset), truth != digest {
            fail(.snapshotIsTrue, "snapshot \(id) of n\(self.id) holds another state than what was committed")
        }
        (appliedOffset, appliedEpoch, state) = (id.endOffset, id.epoch, digest)
    }

    // MARK: Steps

    /// Gives the process something to work on.
    func enqueue(_ input: QuorumInput) {
        guard host.isRunning else { return }
        inbox.append(input)
        pump()
    }

    func resume() {
        isPaused = false
        lastResume = world.scheduler.now
        let work = deferred
        deferred = []
        for (index, action) in work.enumerated() {
            guard host.isRunning else { return }
            if isPaused { return deferred.insert(contentsOf: work[index...], at: 0) }
            action()
        }
        pump()
    }

    /// Runs what another thread of the process does: not before the process goes on again if it is paused.
    func perform(_ action: @escaping () -> Void) {
        guard host.isRunning, world.violation == nil else { return }
        if isPaused { return deferred.append(action) }
        if let left = effectsUntilDeath {
            guard left > 0 else { return die("killed in the middle of its work") }
            effectsUntilDeath = left - 1
        }
        action()
    }

    /// Performs effects and takes steps until there is nothing to do, or something has to be waited for.
    func pump() {
        while host.isRunning, !isPaused, !isBusy, world.violation == nil {
            if let effect = effects.popFirst() {
                if let left = effectsUntilDeath {
                    guard left > 0 else { return die("killed before it could \(effect.summary)") }
                    effectsUntilDeath = left - 1
                }
                perform(effect)
            } else if let input = inbox.popFirst() {
                step(input)
            } else {
                return scheduleWake()
            }
        }
    }

    private func step(_ input: QuorumInput) {
        guard var core = quorum else { return }
        // One owner: otherwise every step would copy the core's collections.
        quorum = nil
        do throws(QuorumError) {
            try effects.append(contentsOf: take(input, &core))
        } catch .notLeader {
        } catch {
            fail(.noUnexpectedError, "n\(id): \(error)")
        }
        quorum = core
        if core.epoch < epochTold { fail(.epochNeverGoesBack, "n\(id) told others of epoch \(epochTold) and is in \(core.epoch)") }
        world.scheduler.mix(UInt64(UInt32(bitPattern: core.epoch)) << 32 ^ UInt64(bitPattern: core.endOffset))
    }

    private func take(_ input: QuorumInput, _ core: inout Quorum) throws(QuorumError) -> [QuorumEffect] {
        switch input {
        case .start:
            let effects = try core.start(now: now)
            return core.highWatermark > 0 ? [.commit(upTo: core.highWatermark)] + effects : effects
        case .tick: return tick(&core)
        case .request(let request, let path): return receive(request, path, &core)
        case .response(let response, let correlation): return core.received(response, correlation: correlation, now: now)
        case .failure(let correlation, let failure): return core.peerFailed(correlation, failure, now: now)
        case .durable(let offset):
            let reached = min(offset, world.mutation == .acknowledgeUnsynced ? disk.endOffset : disk.durableOffset)
            var effects = core.appended(upTo: reached, now: now)
            if world.mutation == .commitWithoutMajority, core.role == .leader { effects.append(.commit(upTo: reached)) }
            return effects
        case .propose(let values, let isAtomic):
            let offset = core.endOffset
            let effects = try core.append(values.map { ByteBuffer(integer: $0) }, isAtomic: isAtomic, now: now)
            for (index, value) in values.enumerated() {
                proposals.append(QuorumProposal(value: value, offset: offset + Offset(index), epoch: core.epoch))
            }
            return effects
        case .decide(let decision): return try program?.perform(decision, &core) ?? []
        case .snapshotWritten(let file):
            isWritingSnapshot = false
            finish(file, &core)
            return []
        case .snapshotInstalled(let id, let controls): return try core.snapshotInstalled(id, controlRecords: controls, now: now)
        case .snapshotFailed(let id): return core.snapshotFailed(id, now: now)
        case .resign: return core.resign(now: now)
        case .shutDown:
            isShuttingDown = true
            return core.shutDown(now: now)
        }
    }

    private func tick(_ core: inout Quorum) -> [QuorumEffect] {
        if lastTick == world.scheduler.now {
            ticksAtOneInstant += 1
            if ticksAtOneInstant > 1000 { fail(.noUnexpectedError, "n\(id) asks for ticks without end") }
        } else {
            (lastTick, ticksAtOneInstant) = (world.scheduler.now, 0)
        }
        return core.tick(now: now)
    }

    private func receive(_ request: QuorumRequest, _ path: ReplyPath, _ core: inout Quorum) -> [QuorumEffect] {
        let token = nextToken
        nextToken += 1
        var vote: (LeaderEpoch, NodeID)?
        if case .vote(let message) = request, let part = message.topics.first?.partitions.first, !part.preVote {
            vote = (part.replicaEpoch, part.replicaId)
        }
        pending[token] = PendingRequest(path: path, vote: vote)
        note("gets \(request.summary) from n\(path.connection.client.id)")
        let context = QuorumRequestContext(token: token, version: request.version, listenerName: configuration.listenerName)
        return core.received(request, context, now: now)
    }

    private func scheduleWake() {
        guard let deadline = quorum?.nextDeadline else { return }
        let time = max(world.scheduler.now, (deadline - clockBase) * 1000)
        if let scheduledWake, scheduledWake <= time { return }
        scheduledWake = time
        let incarnation = host.incarnation
        world.scheduler.at(time) { [self] in
            guard host.isRunning, host.incarnation == incarnation, scheduledWake == time else { return }
            scheduledWake = nil
            enqueue(.tick)
        }
    }
}

extension QuorumNode {
    /// What a member says it can do.
    private static var versions: ApiVersionsResponse {
        var response = ApiVersionsResponse()
        var feature = ApiVersionsResponse.SupportedFeatureKey()
        feature.name = "kraft.version"
        feature.minVersion = 0
        feature.maxVersion = 1
        response.supportedFeatures = [feature]
        return response
    }

    /// Runs the action soon, after everything that was handed over before.
    func execute(_ action: @escaping () -> Void) {
        tasks.append(action)
        after(0) { [self] in perform { [self] in takeTask()?() } }
    }

    private func takeTask() -> (() -> Void)? { tasks.popFirst() }

    /// Lets the program look again at what became committed, once the present step is over.
    func enqueueSettle() {
        after(0) { [self] in perform { [self] in program?.settle() } }
    }
}
