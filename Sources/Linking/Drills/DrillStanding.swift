// Where a topic stands between two clusters, and what a drill on real topics has to do next. It is read off the clusters alone, so that a drill
// that was broken off goes on when it is said again.

/// What is rehearsed.
public enum DrillKind: String, Sendable, Hashable {
    case switchover
    case failover
    case failback
}

/// One of the two clusters of a drill.
public enum DrillSide: Int, Sendable, Hashable {
    /// The link's source.
    case source = 0
    /// The cluster that mirrors.
    case here = 1

    public var other: DrillSide { self == .source ? .here : .source }
    public var name: String { self == .source ? "the source" : "the mirroring cluster" }
}

/// A step of a drill on real topics; those of a drill follow each other in this order.
public enum DrillStage: String, Sendable, Hashable, CaseIterable {
    /// The mirror here is promoted.
    case promote = "promote here"
    /// The source refuses writes, as if it had died.
    case fenceSource = "fence the source"
    case failOver = "fail over here"
    /// The old source becomes a mirror of the topic here.
    case restoreSource = "restore the old source"
    case promoteSource = "promote the old source"
    /// The topic here becomes the mirror that it was.
    case restoreHere = "restore here"

    /// Where clients write from then on; nil where that stays as it was.
    public var writesGo: DrillSide? {
        switch self {
        case .promote, .failOver: .here
        case .promoteSource: .source
        case .fenceSource, .restoreSource, .restoreHere: nil
        }
    }
}

/// What can be said of the other cluster.
public struct DrillSource: Sendable, Hashable {
    /// Whether it is Martlet's, and so can refuse writes and follow.
    public var isMartlet: Bool
    /// Whether somebody says that its producers have been stopped.
    public var hasNoProducers: Bool

    public init(isMartlet: Bool, hasNoProducers: Bool) {
        self.isMartlet = isMartlet
        self.hasNoProducers = hasNoProducers
    }
}

/// A topic on both sides of a link.
public struct DrillStanding: Sendable, Hashable {
    public var topic: String
    /// Of the mirror here; nil where the topic is none.
    public var here: MirrorState?
    /// Of the mirror that the source's topic is by the link back; nil where it is none.
    public var source: MirrorState?
    public var isFencedHere: Bool
    public var isFencedAtSource: Bool
    /// Why the mirror here has not everything, for people.
    public var reason: String

    public init(
        topic: String, here: MirrorState?, source: MirrorState? = nil, isFencedHere: Bool = false, isFencedAtSource: Bool = false,
        reason: String = ""
    ) {
        self.topic = topic
        self.here = here
        self.source = source
        self.isFencedHere = isFencedHere
        self.isFencedAtSource = isFencedAtSource
        self.reason = reason
    }

    private var takesWritesHere: Bool { !isFencedHere && here?.isWritable ?? true }
    private var takesWritesAtSource: Bool { !isFencedAtSource && source?.isWritable ?? true }

    /// The clusters that take writes to the topic.
    public var writable: [DrillSide] { (takesWritesAtSource ? [.source] : []) + (takesWritesHere ? [.here] : []) }

    /// The steps that are left, in their order; none when everything is done.
    public func stages(of kind: DrillKind, _ source: DrillSource) -> [DrillStage] {
        switch kind {
        case .switchover:
            // Said again, promoting waits for what is on its way.
            return here == .stopped ? [] : [.promote]
        case .failover:
            let isClosed = isFencedAtSource || !source.isMartlet
            return (isClosed ? [] : [.fenceSource]) + (here == .stopped ? [] : [.failOver])
        case .failback:
            guard here == .stopped else { return here == .pendingRestore ? [.restoreHere] : [] }
            switch self.source {
            // The source's topic was given back before and handed over again since: only then is it fenced.
            case .stopped: return isFencedHere && !isFencedAtSource ? [.restoreHere] : [.restoreSource, .promoteSource, .restoreHere]
            case .pendingStopped, .pendingSynchronize, .stopping: return [.promoteSource, .restoreHere]
            default: return [.restoreSource, .promoteSource, .restoreHere]
            }
        }
    }

    /// Why the topic cannot take part; nil when it can.
    public func refusal(of kind: DrillKind, _ source: DrillSource, lag: Int64?) -> String? {
        guard let here else { return "is no mirror topic of the link" }
        if kind == .failback {
            if !source.isMartlet { return "the source is not Martlet's: it cannot follow this cluster, nor be given anything back" }
            if [.stopped, .pendingRestore, .active].contains(here) { return nil }
            return "the mirror here is \(here.rawValue)\(because); failing back begins where this cluster has taken over"
        }
        if here == .stopped { return nil }
        if kind == .failover, here == .stopping { return nil }
        if kind == .switchover, here.isPromoting || here == .stopping { return nil }
        guard here == .active else {
            return "the mirror is \(here.rawValue)\(because); a drill on real topics begins with mirrors that are ACTIVE"
        }
        if lag == nil { return "how far the mirror is behind its source is not known\(because)" }
        if !source.isMartlet, !source.hasNoProducers {
            return "the source is not Martlet's and cannot refuse writes: stop its producers, then say so with --producers-stopped"
        }
        return nil
    }

    private var because: String { reason.isEmpty ? "" : " (\(reason))" }
}

/// Which mirror topics somebody means.
public struct DrillSelection: Sendable, Hashable {
    /// Names; with a `*` at the end, beginnings of names.
    public var patterns: [String]

    /// - Parameter text: separated by commas.
    public init(_ text: String) {
        patterns = text.split(separator: ",").map { $0.trimming { $0 == " " } }.filter { !$0.isEmpty }
    }

    /// Those of the names that are meant, in their order; and patterns that mean none.
    public func choose(among names: [String]) -> (chosen: [String], unmatched: [String]) {
        (
            names.filter { name in patterns.contains { Self.matches($0, name) } },
            patterns.filter { pattern in !names.contains { Self.matches(pattern, $0) } }
        )
    }

    private static func matches(_ pattern: String, _ name: String) -> Bool {
        pattern.last == "*" ? name.hasPrefix(pattern.dropLast()) : name == pattern
    }
}

extension Substring {
    fileprivate func trimming(_ isBlank: (Character) -> Bool) -> String {
        var rest = drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return String(rest)
    }
}
