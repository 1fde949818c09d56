// The leader's side: the term begins when everything before it is applied; decisions are replayed at once and shown when committed.
import ClusterMetadata
import Consensus
import Controlling
import KafkaMessages
import KafkaRecords
import Logging
import NIOCore
import Primitives
import Storage

extension MetadataActor {
    /// Lets the controller begin once this leader has applied everything that its predecessors committed. Records of its own epoch up
    /// to here are control records, which the controller does not see.
    mutating func beginTermIfReady() {
        guard failure == nil, term == nil, quorum.role == .leader else { return }
        // Only what the majority has of the new epoch makes certain that everything before is committed, and that others follow. A sole
        // voter knows without having written anything.
        let isSole = quorum.voters.isSoleVoter(configuration.quorum.localID)
        guard appliedOffset > quorum.epochStartOffset || (isSole && appliedOffset == quorum.epochStartOffset) else { return }
        var controller = Controller(configuration.controller, continuing: replay, seed: KafkaUUID.random().leastSignificantBits)
        let publication = controller.skip(to: quorum.endOffset - 1, epoch: quorum.epoch, timestamp: lastTimestamp)
        controller.activated(now: SystemClock.monotonicMilliseconds())
        var begun = ControllerTerm<@Sendable (RequestFailure?) -> Void>(epoch: quorum.epoch, controller: controller)
        if let publication { begun.add(publication, endOffset: quorum.endOffset) }
        term = begun
        activationFailure = nil
        do throws(RequestFailure) {
            let bootstrap = bootstrap
            _ = try perform { (controller, _) throws(RequestFailure) in try controller.activationRecords(bootstrap: bootstrap) }
            if let registration, term?.controller.image.features.metadataVersion?.supportsControllerRegistration == true {
                _ = try perform { (controller, _) throws(RequestFailure) in try controller.registerController(registration) }
            }
        } catch {
            activationFailure = error
            logger.error("the metadata controller cannot begin its term", metadata: ["reason": "\(error.description)"])
            let now = moment()
            step(quorum.resign(now: now))
            endTerm()
            return
        }
        logger.info(
            "metadata controller is active",
            metadata: [
                "epoch": "\(quorum.epoch)",
                "metadata.version": "\(term?.controller.image.features.level(of: MetadataVersion.featureName) ?? 0)",
            ])
    }

    /// Lets the controller decide and appends what it decided. Committed it is only by the quorum.
    mutating func perform<Response>(
        _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
    ) throws(RequestFailure) -> Response {
        if let failure { throw failure }
        guard term != nil else { throw RequestFailure(.notController) }
        let result = try decideInTerm(decide)
        guard !result.records.isEmpty else { return result.response }
        let baseOffset = quorum.endOffset
        var values: [ByteBuffer] = []
        values.reserveCapacity(result.records.count)
        do throws(MetadataStorageError) {
            for record in result.records { values.append(try MetadataBatches.encode(record)) }
        } catch {
            throw RequestFailure(.unknownServerError, error.description)
        }
        try append(values, isAtomic: result.isAtomic)
        // The quorum may have noticed in the same step that this node has lost the others.
        guard term != nil else { throw RequestFailure(.notController) }
        do throws(MetadataError) {
            let publication = try term?.controller.replay(
                result.records.map(\.record), at: baseOffset, epoch: quorum.epoch, timestamp: lastTimestamp)
            if let publication { term?.add(publication, endOffset: quorum.endOffset) }
        } catch {
            fail("\(error)")
            throw RequestFailure(.unknownServerError, error.description)
        }
        return result.response
    }

    private mutating func decideInTerm<Response>(
        _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
    ) throws(RequestFailure) -> ControllerResult<Response> {
        // Without a second reference to the term, so that the controller changes its state in place.
        guard var current = term else { throw RequestFailure(.notController) }
        term = nil
        defer { term = current }
        return try decide(&current.controller, quorum.endOffset)
    }

    /// Runs a request; its answer waits until what it saw and what it decided are committed.
    mutating func run<Response: Sendable>(
        _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>,
        completion: @escaping @Sendable (Result<Response, RequestFailure>) -> Void
    ) {
        let outcome: Result<Response, RequestFailure>
        do throws(RequestFailure) {
            outcome = .success(try perform(decide))
        } catch {
            outcome = .failure(error)
        }
        guard term != nil else {
            replies.append(MetadataReply(failure: nil) { _ in completion(outcome) })
            return
        }
        term?.add({ failure in completion(failure.map { .failure($0) } ?? outcome) }, endOffset: quorum.endOffset)
    }

    /// Runs UpdateFeatures. kraft.version is the quorum's own: its control records go in front of what the controller decides.
    mutating func updateFeatures(
        _ request: UpdateFeaturesRequest, apiVersion: Int16,
        completion: @escaping @Sendable (Result<UpdateFeaturesResponse, RequestFailure>) -> Void
    ) {
        let kraftVersion = quorum.kraftVersion
        let voters = Array(quorum.voters.voters.keys)
        let quorum = quorum
        let update = request.featureUpdates.first { $0.feature == FeatureName.kraft && $0.maxVersionLevel > kraftVersion }
        let decide = { (controller: Controller) in
            controller.updateFeatures(
                request, apiVersion: apiVersion, kraftVersion: kraftVersion, voters: voters,
                reasonAgainstKraftVersion: quorum.reasonAgainstKraftVersion)
        }
        if let update, !request.validateOnly, failure == nil, let term, decide(term.controller).response.errorCode == .none {
            let now = moment()
            step(self.quorum.raiseKraftVersion(to: update.maxVersionLevel, now: now))
            logger.info("kraft.version is raised; the voters are in the log from now on", metadata: ["level": "\(update.maxVersionLevel)"])
        }
        run({ (controller, _) throws(RequestFailure) in decide(controller) }, completion: completion)
    }

    /// All of the records are in the log then, or none: a disk that is full now may have space again for the next request.
    private mutating func append(_ values: [ByteBuffer], isAtomic: Bool) throws(RequestFailure) {
        let before = quorum
        let effects: [QuorumEffect]
        let now = moment()
        do throws(QuorumError) {
            effects = try quorum.append(values, isAtomic: isAtomic, now: now)
        } catch {
            throw RequestFailure(.invalidRequest, error.description)
        }
        do throws(StorageError) {
            try perform(effects)
        } catch {
            logger.error("metadata cannot be written", metadata: ["reason": "\(error)"])
            if hasSentInStep {
                fail("\(error)")
            } else {
                quorum = before
                do throws(StorageError) {
                    try log.truncate(to: before.endOffset, now: SystemClock.now())
                } catch {
                    fail("\(error)")
                }
            }
            throw failure ?? RequestFailure(.kafkaStorageError, "the metadata log cannot be written: \(error)")
        }
    }
}
