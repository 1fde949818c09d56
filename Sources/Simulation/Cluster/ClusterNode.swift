// What a node of a simulated cluster does around its quorum member, as `Runtime` does it: replays committed records into images, lets the
// controller decide while this node leads, shows what became committed and answers only then.
import ClusterMetadata
import Consensus
import Controlling
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// Something for the active controller to decide.
struct ControllerDecision {
    let decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Void>
    /// Called once the decision is committed, or will not be.
    let complete: (RequestFailure?) -> Void
}

/// One node of a cluster: its metadata, its controller, and its broker if it has one.
final class ClusterNode {
    unowned let world: ClusterWorld
    unowned let node: QuorumNode
    private(set) var broker: SimulatedBroker?
    let channel: ControllerChannelModel

    private var replay = MetadataReplay(from: .empty)
    private var appliedOffset: Offset = 0
    private var committedOffset: Offset = 0
    private(set) var committedImage = MetadataImage.empty
    private(set) var term: ControllerTerm<(RequestFailure?) -> Void>?
    /// Counts terms, so that timers of an earlier one end.
    private(set) var termNumber = 0
    private(set) var termBegan: VirtualTime = 0
    /// What the controller does by the clock waits for what it decided before to be committed: since when it has not waited for long, and
    /// when it came around last.
    private(set) var tickingSince: VirtualTime = 0
    private(set) var lastTick: VirtualTime = 0

    init(world: ClusterWorld, node: QuorumNode, isBroker: Bool) {
        self.world = world
        self.node = node
        channel = ControllerChannelModel(node: node)
        channel.program = self
        if isBroker { broker = SimulatedBroker(world: world, node: node, channel: channel) }
        node.host.closed = { [unowned self] connection in
            guard let heartbeats = connection.heartbeats else { return }
            node.perform { [unowned self] in connectionLost(heartbeats.id, epoch: heartbeats.epoch) }
        }
    }

    var isActive: Bool { term != nil }

    // MARK: The process

    func load(_ id: SnapshotID, _ records: [ByteBuffer]) {
        var delta = MetadataDelta(from: .empty)
        do {
            for value in records { try delta.replay(try MetadataRecord.decode(value).record) }
        } catch {
            return node.fail(.noUnexpectedError, "n\(node.id) cannot read snapshot \(id): \(error)")
        }
        let before = committedImage
        let image = delta.apply(MetadataProvenance(offset: id.endOffset - 1, epoch: id.epoch, timestamp: 0)).image
        replay = MetadataReplay(from: image)
        appliedOffset = id.endOffset
        committedOffset = max(committedOffset, id.endOffset)
        // While a process starts, nobody listens yet.
        if node.quorum == nil {
            committedImage = image
        } else {
            publish(MetadataPublication(image: image, changes: MetadataChanges(from: before, to: image)))
        }
    }

    func snapshotRecords() -> [ByteBuffer] {
        var values: [ByteBuffer] = []
        do throws(WireError) {
            try committedImage.forEachRecord { (record) throws(WireError) in
                values.append(try record.record.encoded(version: record.version))
            }
        } catch {
            node.fail(.noUnexpectedError, "n\(node.id) cannot write a snapshot: \(error)")
        }
        return values
    }

    /// The process has read its disk.
    func started() {
        leadershipChanged()
        broker?.start()
    }

    func ended() {
        term = nil
        termNumber += 1
        replay = MetadataReplay(from: .empty)
        (appliedOffset, committedOffset) = (0, 0)
        committedImage = .empty
        channel.processEnded()
        broker?.processEnded()
    }

    // MARK: Metadata

    func committed(upTo offset: Offset) {
        committedOffset = max(committedOffset, offset)
        applyCommitted()
        beginTermIfReady()
    }

    private func applyCommitted() {
        if term != nil {
            while let publication = term?.popCommitted(below: committedOffset) { publish(publication) }
            appliedOffset = max(appliedOffset, committedOffset)
            while let reply = term?.popReply(at: committedOffset) { answer(reply, nil) }
            return
        }
        guard var index = node.disk.index(of: appliedOffset) else { return }
        while index < node.disk.log.count, node.disk.log[index].nextOffset <= committedOffset {
            let batch = node.disk.log[index]
            do {
                if batch.isControl {
                    replay.skip(to: batch.nextOffset - 1, epoch: batch.epoch, timestamp: 0)
                } else {
                    var records = try RecordBatch(batch.bytes).records()
                    while let stored = try records.next() {
                        guard let value = stored.value else { continue }
                        try replay.replay(try MetadataRecord.decode(value).record, offset: stored.offset, epoch: batch.epoch, timestamp: 0)
                    }
                }
            } catch {
                return node.fail(.noUnexpectedError, "n\(node.id) cannot replay \(batch.fingerprint): \(error)")
            }
            appliedOffset = batch.nextOffset
            if let publication = replay.publish() { publish(publication) }
            index += 1
        }
    }

    private func publish(_ publication: MetadataPublication) {
        committedImage = publication.image
        world.ledger.published(publication, by: node)
        broker?.replayed(publication.image)
        broker?.publish(publication.image, publication.changes)
    }

    func ticked() {
        if world.scheduler.now - lastTick > .milliseconds(1_500) { tickingSince = world.scheduler.now }
        lastTick = world.scheduler.now
    }

    /// Off the queue, as answers leave by other threads.
    private func answer(_ reply: @escaping (RequestFailure?) -> Void, _ failure: RequestFailure?) {
        node.execute { reply(failure) }
    }

    // MARK: The term

    private func beginTermIfReady() {
        guard term == nil, let quorum = node.quorum, quorum.role == .leader else { return }
        let isSole = quorum.voters.isSoleVoter(node.id)
        guard appliedOffset > quorum.epochStartOffset || (isSole && appliedOffset == quorum.epochStartOffset) else { return }
        var controller = Controller(world.controllerConfiguration(node.id), continuing: replay, seed: node.random.next())
        let publication = controller.skip(to: quorum.endOffset - 1, epoch: quorum.epoch, timestamp: 0)
        controller.activated(now: node.now)
        var begun = ControllerTerm<(RequestFailure?) -> Void>(epoch: quorum.epoch, controller: controller)
        if let publication { begun.add(publication, endOffset: quorum.endOffset) }
        term = begun
        termNumber += 1
        termBegan = world.scheduler.now
        node.note("its controller is active in epoch \(quorum.epoch)")
        let bootstrap = world.bootstrap
        decide { (controller, _) throws(RequestFailure) in
            try controller.activationRecords(bootstrap: bootstrap)
        } completion: { [node] (result: Result<Void, RequestFailure>) in
            if case .failure(let failure) = result, failure.code != .notController {
                node.fail(.noUnexpectedError, "n\(node.id) cannot begin its term: \(failure)")
            }
        }
        beginLiveness()
        leadershipChanged()
    }

    /// This node leads no longer: what was decided beyond what is committed may never be.
    func endTerm() {
        applyCommitted()
        guard let ended = term else { return }
        term = nil
        termNumber += 1
        replay = MetadataReplay(from: committedImage)
        appliedOffset = committedImage.provenance.offset + 1
        for reply in ended.waitingReplies { answer(reply, RequestFailure(.notController)) }
        node.note("its controller is active no longer")
    }

    /// Lets the active controller decide.
    func decide<Response>(
        _ body: @escaping (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>,
        completion: @escaping (Result<Response, RequestFailure>) -> Void
    ) {
        var response: Response?
        node.enqueue(
            .decide(
                ControllerDecision(
                    decide: { (controller, offset) throws(RequestFailure) in
                        let result = try body(&controller, offset)
                        response = result.response
                        return ControllerResult((), records: result.records, isAtomic: result.isAtomic)
                    },
                    complete: { failure in
                        if let failure { return completion(.failure(failure)) }
                        if let response { completion(.success(response)) }
                    })))
    }

    /// Performs a decision in the quorum's step.
    func perform(_ decision: ControllerDecision, _ core: inout Quorum) throws(QuorumError) -> [QuorumEffect] {
        guard var current = term, core.role == .leader else {
            answer(decision.complete, RequestFailure(.notController))
            return []
        }
        // One owner, so that the controller changes its state in place.
        term = nil
        defer { term = current }
        var result: ControllerResult<Void>
        do throws(RequestFailure) {
            result = try decision.decide(&current.controller, core.endOffset)
        } catch {
            current.add({ decision.complete($0 ?? error) }, endOffset: core.endOffset)
            if core.endOffset <= committedOffset { node.enqueueSettle() }
            return []
        }
        if world.mutation != nil { result.records = world.mutate(result.records, in: current.controller.image) }
        let base = core.endOffset
        var effects: [QuorumEffect] = []
        if !result.records.isEmpty {
            var values: [ByteBuffer] = []
            do throws(WireError) {
                for record in result.records { values.append(try record.record.encoded(version: record.version)) }
            } catch {
                node.fail(.messagesCanBeSent, "n\(node.id) cannot write a record: \(error)")
            }
            effects = try core.append(values, isAtomic: result.isAtomic, now: node.now)
            do throws(MetadataError) {
                let publication = try current.controller.replay(
                    result.records.map(\.record), at: base, epoch: core.epoch, timestamp: 0)
                if let publication { current.add(publication, endOffset: core.endOffset) }
            } catch {
                node.fail(.noUnexpectedError, "n\(node.id) cannot replay what its controller decided: \(error)")
            }
        }
        current.add(decision.complete, endOffset: core.endOffset)
        if core.endOffset <= committedOffset { node.enqueueSettle() }
        return effects
    }

    /// What waits for nothing but what is committed already.
    func settle() { applyCommitted() }

    func leadershipChanged() {
        let location: ControllerChannelModel.Location
        if term != nil {
            location = .here
        } else if let leader = node.quorum?.leaderID, leader >= 0, leader != node.id, let host = world.network.host(leader) {
            location = .elsewhere(host)
        } else {
            location = .unknown
        }
        channel.controllerMoved(to: location)
    }
}
