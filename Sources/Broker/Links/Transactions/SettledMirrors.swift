// How far the mirrors on this broker are settled, as the coordinator of links says, and what it hears in return: which transactions have
// ended in those that this broker leads.
import KafkaWire
import Linking
import Logging
import NIOCore
import Primitives
import Runtime
import Storage

/// What one link's coordinator has said of its mirrors.
struct SettledMirrors: Sendable {
    /// Of the coordinator, by which an earlier one is known.
    var epoch: LeaderEpoch
    /// Of the conversation: every one begins with all mirrors that are waited for.
    var session: Int64
    /// All others show transactions as they come.
    var mirrors: [TopicPartition: SettledMirror] = [:]
    /// When all mirrors were reported last, with or without markers: monotonic milliseconds.
    var allReportedAt: Int64 = .min
    /// Up to where markers have been reported, under which leader epoch, and how often the mirror had been cut by then.
    var reported: [TopicPartition: (epoch: LeaderEpoch, upTo: Offset, breaks: Int)] = [:]

    /// How far a mirror shows committed transactions.
    func limit(of partition: TopicPartition) -> StableLimit {
        mirrors[partition].map { .settled(end: $0.end, from: $0.stable) } ?? .none
    }
}

extension LinkServices {
    private static let reportMilliseconds: Int64 = 100
    /// Another conversation may not have come to say that a mirror was cut.
    private static let breakMilliseconds: Int64 = 60_000

    /// How far committed transactions are shown in a mirror; as it is for links that do not keep them whole.
    func stableLimit(of partition: TopicPartition, link: LinkDefinition?) -> StableLimit {
        guard let link else { return .none }
        // Of a link that is followed here the settings have been read; there may be thousands of partitions.
        let source = source(of: link.name)
        let settings = source?.definition == link ? source?.settings : try? LinkSettings(link.configuration)
        guard settings?.keepsTransactionsWhole == true else { return .none }
        return state.withLock { $0.settled[link.name]?.limit(of: partition) } ?? .unknown
    }

    /// Takes what the coordinator says of one link's mirrors, and answers with what is new in those that are led here. Reads logs: not for
    /// event loops.
    func settleMirrors(_ body: JSONValue) -> JSONValue {
        guard let name = body["link"]?.stringValue, let epoch = body["epoch"]?.integerValue, let session = body["session"]?.integerValue
        else { return ["restart": .bool(true)] }
        let isFirst = body["isFirst"]?.boolValue ?? false
        var changed: [TopicPartition: SettledMirror?] = [:]
        for entry in body["settled"]?.arrayValue ?? [] {
            guard let parts = entry.arrayValue, parts.count == 2 || parts.count == 4, let topic = parts[0].stringValue,
                let number = parts[1].integerValue
            else { continue }
            let ends = parts.dropFirst(2).compactMap(\.integerValue)
            let mirror = ends.count == 2 ? SettledMirror(end: ends[0], stable: ends[1]) : nil
            changed[TopicPartition(topic, Int32(clamping: number))] = .some(mirror)
        }
        let news = changed
        let isTaken = state.withLock { state -> Bool in
            var settled = state.settled[name] ?? SettledMirrors(epoch: -1, session: -1)
            guard epoch >= settled.epoch, isFirst || settled.session == session else { return false }
            if isFirst { settled = SettledMirrors(epoch: LeaderEpoch(clamping: epoch), session: session) }
            for (partition, mirror) in news { settled.mirrors[partition] = mirror }
            state.settled[name] = settled
            return true
        }
        guard isTaken else { return ["restart": .bool(true)] }
        let source = source(of: name)
        for (partition, mirror) in news {
            if let mirror { source?.markers.settled(partition, before: mirror.end) }
        }
        show(isFirst ? nil : Set(news.keys), link: name)
        return ["partitions": .array(reports(name, session))]
    }

    /// Shows in mirrors on this broker what is settled.
    ///
    /// - Parameter partitions: nil for all of the link.
    private func show(_ partitions: Set<TopicPartition>?, link name: String) {
        guard let services else { return }
        let image = image
        for mirror in image.mirrors(of: name) where !mirror.state.isWritable {
            for partition in services.partitions.topic(mirror.name)?.all ?? [] {
                let access = partition.writeAccess
                guard partitions?.contains(partition.topicPartition) ?? true, access == .mirror || access == .ending else { continue }
                // Under the lock of reconciliation: the mirror may become writable meanwhile.
                reconciling.withLock { _ in
                    guard partition.writeAccess == access else { return }
                    partition.setWriteAccess(
                        access, showing: stableLimit(of: partition.topicPartition, link: image.links[name]))
                }
            }
        }
    }

    private func reports(_ name: String, _ session: Int64) -> [JSONValue] {
        guard let services, let source = source(of: name), let settled = state.withLock({ $0.settled[name] }), settled.session == session
        else { return [] }
        let now = SystemClock.monotonicMilliseconds()
        let isFull = now - Self.reportMilliseconds >= settled.allReportedAt
        if isFull { state.withLock { $0.settled[name]?.allReportedAt = now } }
        var reports: [JSONValue] = []
        for mirror in image.mirrors(of: name) where mirror.state.fetches {
            for partition in services.partitions.topic(mirror.name)?.all ?? [] where partition.leadership.leader == nodeID {
                let place = partition.topicPartition
                let breaks = source.board.breaks(of: place)
                guard let report = try? report(of: partition, settled, source, breaks, now: now), isFull || !report.markers.isEmpty
                else { continue }
                state.withLock { $0.settled[name]?.reported[place] = (report.leaderEpoch, report.upTo, breaks.count) }
                reports.append(report.json(of: place, now: now))
            }
        }
        return reports
    }

    /// What is new in a mirror that this broker leads.
    private func report(
        of partition: Partition, _ settled: SettledMirrors, _ source: LinkSource, _ breaks: MirrorBreak, now: Int64
    ) throws(StorageError) -> MirrorReport {
        let place = partition.topicPartition
        let epoch = partition.leadership.leaderEpoch
        let (highWatermark, stableOffset, limit) = try partition.withLog { log throws(StorageError) in
            (log.highWatermark, log.lastStableOffset, log.stableLimit)
        }
        let former = settled.reported[place]
        var isBroken = former.map { $0.breaks != breaks.count } ?? (breaks.count > 0 && now - breaks.at < Self.breakMilliseconds)
        let known = former.flatMap { $0.epoch == epoch ? $0.upTo : nil }
        var from = isBroken ? highWatermark : known ?? settled.mirrors[place]?.end ?? highWatermark
        let end = max(from, highWatermark)
        let found = try source.markers.markers(of: partition, from: from, upTo: end, leaderEpoch: epoch)
        if found == nil { (isBroken, from) = (true, end) }
        let upTo = found?.upTo ?? end
        // What was shown before it was held is all in the report.
        let isHeld = limit != .none && upTo >= highWatermark
        var report = MirrorReport(
            leaderEpoch: epoch, from: from, upTo: upTo, markers: found?.markers ?? [], stableOffset: stableOffset, isHeld: isHeld,
            coveredAt: source.board.entry(place)?.coveredAt(highWatermark))
        report.isBroken = isBroken
        return report
    }
}

extension MirroredMarker {
    fileprivate var json: JSONValue {
        [.integer(offset), .integer(producer.id), .integer(Int64(producer.epoch)), .bool(isCommit), .integer(timestamp)]
    }

    fileprivate init?(_ value: JSONValue) {
        guard let parts = value.arrayValue, parts.count == 5, let offset = parts[0].integerValue, let id = parts[1].integerValue,
            let epoch = parts[2].integerValue, let isCommit = parts[3].boolValue, let timestamp = parts[4].integerValue
        else { return nil }
        self.init(
            offset: offset, producer: TransactionProducer(id: id, epoch: Int16(clamping: epoch)), isCommit: isCommit, timestamp: timestamp)
    }
}

extension MirrorReport {
    fileprivate func json(of partition: TopicPartition, now: Int64) -> JSONValue {
        [
            .string(partition.topic), .integer(Int64(partition.partition)), .integer(Int64(leaderEpoch)), .integer(from), .integer(upTo),
            .integer(stableOffset), .bool(isHeld), coveredAt.map { .integer(now - $0) } ?? .null, .array(markers.map(\.json)),
            .bool(isBroken),
        ]
    }

    /// Reads one entry of a broker's answer.
    ///
    /// - Parameter askedAt: monotonic milliseconds: what was so long ago then was so longer ago.
    static func read(_ value: JSONValue, askedAt: Int64) -> (partition: TopicPartition, report: MirrorReport)? {
        guard let parts = value.arrayValue, parts.count == 9 || parts.count == 10, let topic = parts[0].stringValue,
            let number = parts[1].integerValue, let epoch = parts[2].integerValue, let from = parts[3].integerValue,
            let upTo = parts[4].integerValue, let stable = parts[5].integerValue, let isHeld = parts[6].boolValue,
            let markers = parts[8].arrayValue
        else { return nil }
        var report = MirrorReport(
            leaderEpoch: LeaderEpoch(clamping: epoch), from: from, upTo: upTo, markers: markers.compactMap { MirroredMarker($0) },
            stableOffset: stable, isHeld: isHeld, coveredAt: parts[7].integerValue.map { askedAt - $0 })
        report.isBroken = parts.count > 9 && parts[9].boolValue ?? false
        return (TopicPartition(topic, Int32(clamping: number)), report)
    }
}
