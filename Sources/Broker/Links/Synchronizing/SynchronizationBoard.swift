// How the synchronisations of links go on this broker: when each last succeeded, what is wrong, and how much it has done. Operators see it in
// `martlet link describe` and in metrics.
import Linking
import Primitives
import Synchronization

/// How one synchronisation goes.
struct SynchronizationStatus: Sendable {
    /// Milliseconds since 1970; nil before the first success of whoever does it now.
    var lastSuccess: Timestamp?
    /// What is wrong since then, for people; empty while nothing is.
    var problem = ""
    /// What the source has and the filter lets through.
    var atSource = 0
    /// What the link has put here.
    var own = 0
    /// What is otherwise here by somebody's hand, and is left so.
    var foreign = 0
    /// Since this broker began to do it.
    var created = 0
    var changed = 0
    var removed = 0
}

/// The synchronisations of one broker.
final class SynchronizationBoard: Sendable {
    struct Key: Hashable, Sendable {
        var link: String
        var kind: SynchronizedKind
    }

    private struct Entry {
        var run: UInt64
        var status = SynchronizationStatus()
    }

    private let state = Mutex<(next: UInt64, entries: [Key: Entry])>((0, [:]))

    /// Begins to show some kinds of a link, anew.
    ///
    /// - Returns: what whoever does them shows and ends them by.
    func begin(_ link: String, _ kinds: [SynchronizedKind]) -> UInt64 {
        state.withLock { state in
            state.next += 1
            for kind in kinds { state.entries[Key(link: link, kind: kind)] = Entry(run: state.next) }
            return state.next
        }
    }

    /// Nothing is shown any more, unless somebody else does it by now.
    func end(_ run: UInt64) {
        state.withLock { state in state.entries = state.entries.filter { $0.value.run != run } }
    }

    func update(_ link: String, _ kind: SynchronizedKind, _ run: UInt64, _ change: (inout SynchronizationStatus) -> Void) {
        let key = Key(link: link, kind: kind)
        state.withLock { state in
            guard state.entries[key]?.run == run else { return }
            change(&state.entries[key]!.status)
        }
    }

    var all: [(key: Key, status: SynchronizationStatus)] {
        let entries = state.withLock { $0.entries }
        return entries.map { ($0.key, $0.value.status) }.sorted { ($0.0.link, $0.0.kind.rawValue) < ($1.0.link, $1.0.kind.rawValue) }
    }

    /// For the answer to `progress`.
    var json: JSONValue {
        .array(
            all.map { key, status in
                [
                    "link": .string(key.link), "kind": .string(key.kind.rawValue),
                    "lastSuccess": status.lastSuccess.map { .integer($0) } ?? .null, "error": .string(status.problem),
                    "atSource": .integer(Int64(status.atSource)), "own": .integer(Int64(status.own)),
                    "foreign": .integer(Int64(status.foreign)), "created": .integer(Int64(status.created)),
                    "changed": .integer(Int64(status.changed)), "removed": .integer(Int64(status.removed)),
                ]
            })
    }
}
