// How a synchronisation goes. What the coordinator of links does it records as well, so that whoever coordinates next does not begin with
// "never", and operators hear the truth from it at once.
import Primitives

/// How one synchronisation goes.
public struct SynchronizationStatus: Sendable, Hashable {
    /// Milliseconds since 1970 at which it last came to an end, well or not; nil before the first time.
    public var lastRun: Timestamp?
    /// The same of the last time that all went well.
    public var lastSuccess: Timestamp?
    /// What is wrong since then, for people; empty while nothing is.
    public var problem = ""
    /// What the source has and the filter lets through.
    public var atSource = 0
    /// What the link has put here.
    public var own = 0
    /// What is otherwise here by somebody's hand, and is left so.
    public var foreign = 0
    public var created = 0
    public var changed = 0
    public var removed = 0

    public init() {}

    private static let refreshMilliseconds: Int64 = 60_000
    /// Of an error that is recorded, in characters.
    private static let maximumProblem = 2_000

    /// Whether the record of it has to be written anew: for news at once, for the time alone once a minute.
    public func isWorthRecording(after former: SynchronizationStatus?) -> Bool {
        guard var former else { return true }
        let (run, success) = (former.lastRun ?? 0, former.lastSuccess ?? 0)
        (former.lastRun, former.lastSuccess) = (lastRun, lastSuccess)
        return former != recorded || (lastRun ?? 0) - run >= Self.refreshMilliseconds
            || (lastSuccess ?? 0) - success >= Self.refreshMilliseconds
    }

    /// As it is recorded.
    public var recorded: SynchronizationStatus {
        var status = self
        status.problem = String(problem.prefix(Self.maximumProblem))
        return status
    }

    /// The members of it in JSON.
    public var members: [(String, JSONValue)] {
        [
            ("lastRun", lastRun.map { .integer($0) } ?? .null), ("lastSuccess", lastSuccess.map { .integer($0) } ?? .null),
            ("error", .string(problem)), ("atSource", .integer(Int64(atSource))), ("own", .integer(Int64(own))),
            ("foreign", .integer(Int64(foreign))), ("created", .integer(Int64(created))), ("changed", .integer(Int64(changed))),
            ("removed", .integer(Int64(removed))),
        ]
    }

    init(_ json: JSONValue) {
        func count(_ name: String) -> Int { Int(clamping: json[name]?.integerValue ?? 0) }
        (lastRun, lastSuccess) = (json["lastRun"]?.integerValue, json["lastSuccess"]?.integerValue)
        problem = json["error"]?.stringValue ?? ""
        (atSource, own, foreign) = (count("atSource"), count("own"), count("foreign"))
        (created, changed, removed) = (count("created"), count("changed"), count("removed"))
    }
}

/// Which synchronisation of which link.
public struct SynchronizationKey: Sendable, Hashable {
    public var link: String
    public var kind: SynchronizedKind

    public init(link: String, kind: SynchronizedKind) {
        self.link = link
        self.kind = kind
    }

    var json: JSONValue { ["type": "synchronization", "name": .string(link), "kind": .string(kind.rawValue)] }
}

extension LinkCoordinator {
    /// How a synchronisation of a link went.
    ///
    /// - Parameter id: of the link that it was done for; another one of its name has nothing to do with it.
    public func note(
        _ status: SynchronizationStatus, _ kind: SynchronizedKind, link name: String, id: KafkaUUID
    ) -> [LinkRecord] {
        let key = SynchronizationKey(link: name, kind: kind)
        guard image.links[name]?.id == id, status.isWorthRecording(after: image.synchronizations[key]) else { return [] }
        return [.synchronization(key, status.recorded)]
    }
}
