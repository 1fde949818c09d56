// A share partition against the simplest thing that could be one: an array with a state for every record. Random steps from a seed.
import KafkaWire
import Primitives
import ShareCoordination
import Testing

/// One record in the model.
private struct ModelRecord {
    enum State { case free, held(String, until: Int64), done }
    var state = State.free
    var deliveries = 0
}

@Suite("Share partition against a model")
struct SharePartitionModelTests {
    private static let lock: Int64 = 50
    private static let limit: Int16 = 4

    @Test("Every record has one holder at most and one end, whatever happens in between", arguments: 0..<200)
    func random(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        var settings = SharePartitionSettings()
        settings.lockDurationMilliseconds = Self.lock
        settings.deliveryCountLimit = Self.limit
        settings.maximumInFlight = 40
        var partition = SharePartition(state: .uninitialized, leaderEpoch: 1, startOffset: 0, settings: settings)
        var model = [ModelRecord](repeating: ModelRecord(), count: 120)
        var now: Int64 = 0
        for _ in 0..<300 {
            now += Int64.random(in: 0...10, using: &random)
            let member = ["a", "b", "c"].randomElement(using: &random) ?? "a"
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4: acquire(&partition, member, &model, now: now, &random)
            case 4..<8: try acknowledge(&partition, member, &model, now: now, &random)
            case 8: release(&partition, member, &model, now: now, isStored: Bool.random(using: &random))
            default: expire(&partition, &model, now: now)
            }
            check(partition, model)
        }
        // In the end all of it can be consumed.
        for _ in 0..<2_000 {
            now += Self.lock
            expire(&partition, &model, now: now)
            acquire(&partition, "z", &model, now: now, &random)
            for (offset, record) in model.enumerated() {
                guard case .held("z", _) = record.state else { continue }
                let done = try partition.acknowledge("z", [ShareAcknowledgement(at: Offset(offset), .accept)], now: now)
                if let done { _ = partition.complete(done.id, isStored: true, now: now) }
                model[offset].state = .done
            }
            check(partition, model)
            if partition.startOffset == 120 { return }
        }
        Issue.record("offset \(partition.startOffset) was never done")
    }

    private func acquire(
        _ partition: inout SharePartition, _ member: String, _ model: inout [ModelRecord], now: Int64, _ random: inout SeededRandom
    ) {
        let offset = partition.nextFetchOffset
        guard partition.canAcquire, offset < 120 else { return }
        var batches: [ShareRead.Batch] = []
        var base = offset / 8 * 8
        while base < 120, batches.count < 4 {
            batches.append(.init(baseOffset: base, lastOffset: min(base + 7, 119)))
            base += 8
        }
        let limits = ShareFetchLimits(
            maximumRecords: Int.random(in: 1...30, using: &random), batchSize: Int.random(in: 1...30, using: &random),
            isStrict: Bool.random(using: &random))
        let acquired = partition.acquire(member, ShareRead(fetchOffset: offset, batches: batches), limits, now: now)
        if limits.isStrict { #expect(acquired.reduce(0) { $0 + $1.count } <= limits.maximumRecords) }
        #expect(!acquired.isEmpty, "what is free and read can be had")
        var previous: Offset = -1
        for records in acquired {
            #expect(records.firstOffset > previous && records.lastOffset >= records.firstOffset)
            previous = records.lastOffset
            for offset in records.firstOffset...records.lastOffset {
                guard case .free = model[Int(offset)].state else {
                    Issue.record("offset \(offset) was given out while somebody had it, or after its end")
                    continue
                }
                model[Int(offset)].deliveries += 1
                #expect(Int(records.deliveryCount) == model[Int(offset)].deliveries)
                model[Int(offset)].state = .held(member, until: now + Self.lock)
            }
        }
    }

    private func acknowledge(
        _ partition: inout SharePartition, _ member: String, _ model: inout [ModelRecord], now: Int64, _ random: inout SeededRandom
    ) throws {
        let first = Int.random(in: 0..<120, using: &random)
        let last = min(119, first + Int.random(in: 0..<12, using: &random))
        let types = (first...last).map { _ in [AcknowledgeType.accept, .release, .reject, .gap].randomElement(using: &random) ?? .accept }
        let isStored = Int.random(in: 0..<4, using: &random) > 0
        let start = Int(partition.startOffset)
        let mayBe = (first...last).allSatisfy { offset in
            if offset < start { return true }
            if case .held(member, _) = model[offset].state { return true }
            return false
        }
        let request = ShareAcknowledgement(firstOffset: Offset(first), lastOffset: Offset(last), types: types)
        do throws(ShareStateRefusal) {
            let transition = try partition.acknowledge(member, [request], now: now)
            #expect(mayBe, "\(member) acknowledged what it did not have")
            guard let transition else { return }
            _ = partition.complete(transition.id, isStored: isStored, now: now)
        } catch {
            #expect(!mayBe, "\(member) was refused what it had: \(error)")
            return
        }
        for offset in max(first, start)...max(last, start) where offset <= last && offset >= first {
            guard case .held(_, let until) = model[offset].state else { continue }
            if isStored {
                let isReleased = types[offset - first] == .release && model[offset].deliveries < Self.limit
                model[offset].state = isReleased ? .free : .done
            } else if until <= now {
                returnToLog(&model[offset])
            }
        }
    }

    private func release(_ partition: inout SharePartition, _ member: String, _ model: inout [ModelRecord], now: Int64, isStored: Bool) {
        guard let transition = partition.release(member) else { return }
        _ = partition.complete(transition.id, isStored: isStored, now: now)
        for offset in model.indices {
            guard case .held(member, let until) = model[offset].state, isStored || until <= now else { continue }
            returnToLog(&model[offset])
        }
    }

    private func expire(_ partition: inout SharePartition, _ model: inout [ModelRecord], now: Int64) {
        if let transition = partition.expire(now: now) { _ = partition.complete(transition.id, isStored: false, now: now) }
        for offset in model.indices {
            guard case .held(_, let until) = model[offset].state, until <= now else { continue }
            returnToLog(&model[offset])
        }
    }

    private func returnToLog(_ record: inout ModelRecord) {
        record.state = record.deliveries >= Self.limit ? .done : .free
    }

    private func check(_ partition: SharePartition, _ model: [ModelRecord]) {
        let firstUndone = model.firstIndex { if case .done = $0.state { false } else { true } } ?? model.count
        #expect(Int(partition.startOffset) == firstUndone)
        let firstFree = model.firstIndex { if case .free = $0.state { true } else { false } } ?? model.count
        #expect(Int(partition.nextFetchOffset) == firstFree)
        let deadline = model.compactMap { record -> Int64? in if case .held(_, let until) = record.state { until } else { nil } }.min()
        #expect(partition.nextDeadline == deadline)
    }
}

extension ShareAcknowledgement {
    fileprivate init(at offset: Offset, _ type: AcknowledgeType) {
        self.init(firstOffset: offset, lastOffset: offset, types: [type])
    }
}
