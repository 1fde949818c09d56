// The way from a node to the active controller, as `ControllerChannel` goes it: requests wait while nobody knows where it is, and are sent
// again when the controller turns out to be another one.
import KafkaWire
import Primitives

/// Sends requests to the active controller.
final class ControllerChannelModel {
    enum Location {
        case here
        case elsewhere(Host)
        case unknown
    }

    private final class Attempt {
        let call: ControllerCall
        let deadline: VirtualTime
        let attemptTimeout: VirtualTime
        var failures: Int64 = 0
        var isDone = false
        let completion: (ControllerAnswer?) -> Void

        init(
            _ call: ControllerCall, _ deadline: VirtualTime, _ attemptTimeout: VirtualTime,
            _ completion: @escaping (ControllerAnswer?) -> Void
        ) {
            self.call = call
            self.deadline = deadline
            self.attemptTimeout = attemptTimeout
            self.completion = completion
        }
    }

    static let purpose = 1
    private unowned let node: QuorumNode
    weak var program: ClusterNode?
    private var location = Location.unknown
    private var waiting: [Attempt] = []

    init(node: QuorumNode) {
        self.node = node
    }

    private var scheduler: Scheduler { node.world.scheduler }
    private var network: SimulatedNetwork { node.world.network }

    /// The active controller is there now. What is on its way to another node is taken back and sent there.
    func controllerMoved(to new: Location) {
        let former = location
        location = new
        switch (former, new) {
        case (.elsewhere(let old), .elsewhere(let host)) where old === host: break
        case (.elsewhere(let old), _): network.disconnect(from: node.host, to: old, purpose: Self.purpose)
        default: break
        }
        if case .unknown = new { return }
        let attempts = waiting
        waiting = []
        for attempt in attempts { later(0) { [self] in self.attempt(attempt) } }
    }

    func processEnded() {
        location = .unknown
        waiting = []
    }

    /// Asks until there is an answer; nil when there is none in time.
    func send(
        _ call: ControllerCall, timeout: VirtualTime, attemptTimeout: VirtualTime, completion: @escaping (ControllerAnswer?) -> Void
    ) {
        attempt(Attempt(call, scheduler.now + timeout, attemptTimeout, completion))
    }

    private func later(_ delay: VirtualTime, _ action: @escaping () -> Void) {
        node.after(delay) { [node] in node.perform(action) }
    }

    private func attempt(_ attempt: Attempt) {
        let left = attempt.deadline - scheduler.now
        guard left > 0 else { return finish(attempt, nil) }
        switch location {
        case .here:
            guard let program else { return }
            program.ask(attempt.call) { [self] answer in took(attempt, answer) }
        case .elsewhere(let host):
            let incarnation = node.host.incarnation
            node.note("sends \(attempt.call.summary) to n\(host.id)")
            network.send(
                .controller(attempt.call), from: node.host, to: host, purpose: Self.purpose, timeout: min(left, attempt.attemptTimeout)
            ) { [self] result in
                guard node.host.isRunning, node.host.incarnation == incarnation else { return }
                node.perform { [self] in
                    if case .success(.controller(let answer)) = result { took(attempt, answer) } else { retry(attempt) }
                }
            }
        case .unknown:
            waiting.append(attempt)
            later(left) { [self] in
                guard let index = waiting.firstIndex(where: { $0 === attempt }) else { return }
                waiting.remove(at: index)
                finish(attempt, nil)
            }
        }
    }

    private func took(_ attempt: Attempt, _ answer: ControllerAnswer) {
        if case .failed(.notController) = answer { return retry(attempt) }
        finish(attempt, answer)
    }

    private func retry(_ attempt: Attempt) {
        let pause = min(Int64(500), Int64(20) << min(attempt.failures, 10))
        attempt.failures += 1
        later(.milliseconds(pause)) { [self] in self.attempt(attempt) }
    }

    private func finish(_ attempt: Attempt, _ answer: ControllerAnswer?) {
        guard !attempt.isDone else { return }
        attempt.isDone = true
        if let answer { node.note("gets \(answer.summary)") }
        attempt.completion(answer)
    }
}
