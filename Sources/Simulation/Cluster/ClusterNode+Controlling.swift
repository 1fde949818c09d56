// The controller's side of a node: requests of brokers, and what it does unasked, as `ControllerServices` and `BrokerLiveness` do it.
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension ClusterNode {
    private static let tickMilliseconds: ClosedRange<Int64> = 10...500
    private static let patienceMilliseconds: Int64 = 150

    /// A request that came over the network.
    func receive(_ request: SimulatedRequest, _ path: ReplyPath) {
        switch request {
        case .quorum: break
        case .controller(let call):
            node.note("gets \(call.summary) from n\(path.connection.client.id)")
            if case .heartbeat(let request) = call, isActive {
                path.connection.heartbeats = (request.brokerId, request.brokerEpoch)
            }
            ask(call) { [world] answer in world.network.reply(.controller(answer), to: path) }
        case .broker(let call):
            node.note("gets \(call.summary) from n\(path.connection.client.id)")
            guard let broker else { return }
            broker.receive(call) { [world, node] answer in
                node.note("answers n\(path.connection.client.id) \(answer.summary)")
                world.network.reply(.broker(answer), to: path)
            }
        }
    }

    /// Has this node's controller decide about a request.
    func ask(_ call: ControllerCall, completion: @escaping (ControllerAnswer) -> Void) {
        guard isActive else { return completion(.failed(.notController)) }
        func run<Response>(
            _ wrap: @escaping (Response) -> ControllerAnswer,
            _ body: @escaping (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
        ) {
            decide(body) { result in
                switch result {
                case .success(let response): completion(wrap(response))
                case .failure(let failure): completion(.failed(failure.code))
                }
            }
        }
        switch call {
        case .register(let request):
            run(ControllerAnswer.register) { [node] (controller, offset) throws(RequestFailure) in
                try controller.registerBroker(request, nextOffset: offset, now: node.now)
            }
        case .heartbeat(let request):
            run(ControllerAnswer.heartbeat) { [node, world] (controller, offset) throws(RequestFailure) in
                let result = try controller.brokerHeartbeat(request, nextOffset: offset, now: node.now)
                world.heard(of: request.brokerId)
                return result
            }
        case .alterPartition(let request):
            run(ControllerAnswer.alterPartition) { [world] (controller, _) throws(RequestFailure) in
                let image = controller.image
                let result = try controller.alterPartition(world.mutate(request, in: image), apiVersion: 3)
                world.ledger.decided(request, result.response, in: image)
                return result
            }
        }
    }

    // MARK: By the clock

    func beginLiveness() {
        let number = termNumber
        decide { [node] (controller, _) throws(RequestFailure) in
            controller.activated(now: node.now)
            return ControllerResult(())
        } completion: { (_: Result<Void, RequestFailure>) in
        }
        schedule(tickIn: Self.tickMilliseconds.upperBound, number)
        later(Self.patienceMilliseconds) { [self] in probeUnheard(number) }
    }

    private func later(_ milliseconds: Int64, _ action: @escaping () -> Void) {
        node.after(.milliseconds(milliseconds)) { [node] in node.perform(action) }
    }

    private func isCurrent(_ number: Int) -> Bool { isActive && termNumber == number }

    private func schedule(tickIn milliseconds: Int64, _ number: Int) {
        later(milliseconds) { [self] in
            guard isCurrent(number) else { return }
            decide { [node, world] (controller, _) throws(RequestFailure) -> ControllerResult<Int64?> in
                if world.mutation == .sessionNeverExpires { return ControllerResult(nil) }
                let due = controller.tick(now: node.now, time: node.now)
                return ControllerResult(controller.nextDeadline, records: due.records, isAtomic: due.isAtomic)
            } completion: { [self] result in
                ticked()
                let deadline = (try? result.get()).flatMap { $0 } ?? .max
                let limits = Self.tickMilliseconds
                schedule(
                    tickIn: deadline > node.now + limits.upperBound ? limits.upperBound : max(limits.lowerBound, deadline - node.now),
                    number)
            }
        }
    }

    // MARK: By sockets

    /// A connection that carried the broker's heartbeats has ended.
    func connectionLost(_ id: NodeID, epoch: Int64) {
        guard isActive else { return }
        let number = termNumber
        decide { [node] (controller, _) throws(RequestFailure) in
            ControllerResult(controller.brokerConnectionLost(id, epoch: epoch, now: node.now))
        } completion: { [self] result in
            if case .success(let probe?) = result { self.probe(probe, number) }
        }
    }

    private func probeUnheard(_ number: Int) {
        guard isCurrent(number) else { return }
        decide { (controller, _) throws(RequestFailure) in
            ControllerResult(controller.unheardBrokers)
        } completion: { [self] result in
            guard case .success(let probes) = result else { return }
            for probe in probes { self.probe(probe, number) }
        }
    }

    private func probe(_ broker: BrokerProbe, _ number: Int) {
        guard isCurrent(number), let host = world.network.host(broker.id) else { return }
        node.note("tries the listeners of n\(broker.id)")
        world.network.probe(from: node.host, to: host, timeout: .seconds(2)) { [self] answer in
            node.perform { [self] in probed(broker, answer.map { $0 ? .accepted : .refused } ?? .unknown, number) }
        }
    }

    private func probed(_ broker: BrokerProbe, _ outcome: BrokerProbeOutcome, _ number: Int) {
        decide { [node] (controller, _) throws(RequestFailure) in
            controller.brokerProbed(broker, outcome, now: node.now)
        } completion: { [self] result in
            guard case .success(let verdict) = result else { return }
            switch verdict {
            case .settled: break
            case .probeAgain(let broker, let time): later(max(1, time - node.now)) { [self] in probe(broker, number) }
            case .gone: node.note("finds n\(broker.id) gone")
            }
        }
    }
}
