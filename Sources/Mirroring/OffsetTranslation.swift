// Which offset of a copy belongs to which offset of the source, exactly: not samples, but every place where the difference changes.
//
// While records are copied one after another, copy and source stay the same distance apart, so one pair of offsets says everything about
// the run that begins with it. A new run begins where the source has a gap (markers, compaction, what was aborted), where the target has
// one, and where copying began again. Each beginning is also written to the offset-syncs topic before the position that lies behind it
// counts as reached, so that nothing is forgotten when the process dies.

/// The runs of one partition.
public struct OffsetTranslation: Sendable {
    /// Records that were copied one after another.
    public struct Run: Hashable, Sendable {
        public var upstream: Int64
        public var downstream: Int64
        /// Whether every record behind the first is known to be as far on the target as on the source. What others wrote, and what had
        /// to be thinned out, is only known at its first offset.
        public var isExact: Bool
    }

    /// Runs that are kept; beyond that the older half is thinned out.
    public static let defaultLimit = 20_000

    private let limit: Int
    public private(set) var runs: [Run] = []
    /// The next offset that has not been copied, and the next one of the target; nil while nothing is known of either.
    public private(set) var end: (upstream: Int64, downstream: Int64)?

    public init(limit: Int = defaultLimit) {
        precondition(limit >= 4, "there is something to thin out")
        self.limit = limit
    }

    // MARK: What was copied

    /// Takes note of records that were copied one after another without gaps on either side.
    ///
    /// - Returns: whether a run began, whose first pair of offsets has to be written down.
    public mutating func copied(upstream: Int64, downstream: Int64, count: Int64) -> Bool {
        defer { end = (upstream + count, downstream + count) }
        // A gap of the same length on both sides changes nothing: whoever reads from inside of it meets the next record.
        if let end, let last = runs.last, last.isExact, upstream >= end.upstream, downstream >= end.downstream,
            upstream - last.upstream == downstream - last.downstream
        {
            return false
        }
        begin(Run(upstream: upstream, downstream: downstream, isExact: true))
        return true
    }

    /// The source goes on at an offset without anything having been copied: a marker, or something that compaction took away.
    public mutating func passed(upstream: Int64) {
        guard let end, upstream > end.upstream else { return }
        self.end = (upstream, end.downstream)
    }

    private mutating func begin(_ run: Run) {
        // Copied again after a crash, or written over after the target lost its end: the later copy counts, for what reads on from there
        // meets no record twice.
        while let last = runs.last, last.upstream >= run.upstream || last.downstream > run.downstream { runs.removeLast() }
        runs.append(run)
        if runs.count > limit { thinOut() }
    }

    /// Every second run of the older half goes; those before it then only know their first offset, which is never too late.
    private mutating func thinOut() {
        let half = runs.count / 2
        var kept: [Run] = []
        for index in stride(from: 0, to: half, by: 2) {
            var run = runs[index]
            run.isExact = false
            kept.append(run)
        }
        runs = kept + runs[half...]
    }

    // MARK: What is read back

    /// A pair of offsets out of the offset-syncs topic, in the topic's order.
    ///
    /// - Parameter isRun: whether this process's kind wrote it, which writes every beginning; MirrorMaker 2 leaves some out.
    public mutating func load(upstream: Int64, downstream: Int64, isRun: Bool) {
        if let last = runs.last, last.isExact, isRun, upstream > last.upstream,
            upstream - last.upstream == downstream - last.downstream
        {
            return
        }
        begin(Run(upstream: upstream, downstream: downstream, isExact: isRun))
    }

    /// Something is missing between what was loaded and what follows, since the topic was compacted.
    public mutating func loadingSkipped() {
        for index in runs.indices { runs[index].isExact = false }
    }

    /// What was loaded ends here.
    ///
    /// - Parameters:
    ///   - upstream: the offset that copying goes on at.
    ///   - downstream: the target's end, where the next copy goes to.
    public mutating func loaded(upstream: Int64, downstream: Int64) {
        while let last = runs.last, last.upstream >= upstream || last.downstream >= downstream { runs.removeLast() }
        end = (upstream, downstream)
    }

    // MARK: Translation

    /// The target's offset for a group that reads `upstream` next on the source: the copy of that record, or of the first one behind it
    /// that exists. For a group that is further than copying is, the target's end.
    ///
    /// - Returns: nil when it is not known: the group stays where it is.
    public func downstream(of upstream: Int64) -> Int64? {
        guard let end else { return nil }
        if upstream >= end.upstream { return end.downstream }
        guard !runs.isEmpty else { return nil }
        guard let index = lastRun(at: upstream) else {
            // Nothing lies before the target's first record, wherever the group is on the source.
            return runs[0].downstream == 0 ? 0 : nil
        }
        let run = runs[index]
        let next = index + 1 < runs.count ? runs[index + 1].downstream : end.downstream
        guard run.isExact else { return upstream == run.upstream ? run.downstream : min(run.downstream + 1, next) }
        return min(run.downstream + (upstream - run.upstream), next)
    }

    /// The other way: the first offset of the source whose copy is at or behind an offset of the target, or is not there yet. Whoever
    /// has read the target up to that offset has read everything of the source before it.
    ///
    /// - Returns: nil when it is not known.
    public func upstream(of downstream: Int64) -> Int64? {
        guard let end else { return nil }
        if downstream >= end.downstream { return end.upstream }
        guard let first = runs.first else { return nil }
        guard let index = runs.lastIndex(where: { $0.downstream <= downstream }) else { return first.isExact ? first.upstream : 0 }
        let run = runs[index]
        let next = index + 1 < runs.count ? runs[index + 1].upstream : end.upstream
        return run.isExact ? min(run.upstream + (downstream - run.downstream), next) : run.upstream
    }

    private func lastRun(at upstream: Int64) -> Int? {
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upstream <= upstream { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? low - 1 : nil
    }
}

/// When a pair of offsets is written although no run begins: MirrorMaker 2's own readers only know the pairs (`offset.lag.max`).
public struct OffsetSyncPace: Sendable {
    private let maximumLag: Int64
    private var lastWritten: Int64?

    public init(maximumLag: Int64) {
        self.maximumLag = maximumLag
    }

    /// Whether the pair with this offset of the target is due; it then counts as written.
    public mutating func isDue(downstream: Int64) -> Bool {
        if let lastWritten, downstream > lastWritten, downstream - lastWritten - 1 < maximumLag { return false }
        lastWritten = downstream
        return true
    }

    /// A pair was written for another reason.
    public mutating func wrote(downstream: Int64) { lastWritten = downstream }

    /// Whether the last copied record is behind the last pair: written when positions are stored, so that idle partitions are exact too.
    public func isBehind(downstream: Int64) -> Bool { lastWritten.map { $0 < downstream } ?? true }
}
