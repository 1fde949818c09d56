// The produce requests of one connection that wait for their replicas while its next ones are already appended. Live on the connection's
// event loop.
import KafkaWire
import NIOCore

/// A produce request whose answer is deferred.
final class PendingProduce {
    /// The request, with the results that its answer tells.
    fileprivate(set) var request: ProduceRequestView
    fileprivate var operation: ProduceOperation?

    fileprivate init(_ request: ProduceRequestView) {
        self.request = request
    }

    /// - Parameter complete: called once on the loop, unless the connection ends before.
    func start(on eventLoop: any EventLoop, complete: @escaping () -> Void) {
        let operation = ProduceOperation(request.waits) { [unowned self] index, error in
            request.partitions[index].result.error = error
        } complete: {
            complete()
        }
        self.operation = operation
        request.waits = []
        operation.start(on: eventLoop, timeoutMilliseconds: request.timeoutMilliseconds)
    }
}

/// The produce requests of one connection that wait for their replicas, in the order in which they came.
struct PendingProduces {
    private var waiting: [PendingProduce] = []
    /// Views of requests that have been answered, whose memory the next ones use.
    private var spare: [ProduceRequestView] = []

    private static let maximumSpare = 8

    /// Takes a request over; a view to be filled anew takes its place.
    mutating func add(_ request: inout ProduceRequestView) -> PendingProduce {
        var taken = spare.popLast() ?? ProduceRequestView()
        swap(&taken, &request)
        let pending = PendingProduce(taken)
        waiting.append(pending)
        return pending
    }

    /// Lets a request go that has been answered.
    mutating func remove(_ pending: PendingProduce) {
        waiting.removeAll { $0 === pending }
        if spare.count < Self.maximumSpare { spare.append(pending.request) }
        pending.request = ProduceRequestView()
    }

    /// The connection is gone.
    mutating func cancelAll() {
        for pending in waiting { pending.operation?.cancel() }
        waiting = []
    }
}
