// Counters of one topic, incremented on the data path without a lock and read when somebody scrapes.
import Synchronization

/// One topic's counters since the start of the process.
final class TopicMetrics: Sendable {
    let messagesIn = Atomic<UInt64>(0)
    let bytesIn = Atomic<UInt64>(0)
    let bytesOut = Atomic<UInt64>(0)
    let produceRequests = Atomic<UInt64>(0)
    let failedProduceRequests = Atomic<UInt64>(0)
    let fetchRequests = Atomic<UInt64>(0)

    func produced(records: Int, bytes: Int) {
        messagesIn.wrappingAdd(UInt64(records), ordering: .relaxed)
        bytesIn.wrappingAdd(UInt64(bytes), ordering: .relaxed)
        produceRequests.wrappingAdd(1, ordering: .relaxed)
    }

    func produceFailed() {
        produceRequests.wrappingAdd(1, ordering: .relaxed)
        failedProduceRequests.wrappingAdd(1, ordering: .relaxed)
    }

    func fetched(bytes: Int) {
        bytesOut.wrappingAdd(UInt64(bytes), ordering: .relaxed)
        fetchRequests.wrappingAdd(1, ordering: .relaxed)
    }
}
