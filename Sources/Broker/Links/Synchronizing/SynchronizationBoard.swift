// How the synchronisations of links go on this broker: when each last succeeded, what is wrong, and how much it has done. Operators see it in
// `martlet link describe` and in metrics.
import Linking
import Primitives
import Synchronization

/// The synchronisations of one broker.
final class SynchronizationBoard: Sendable {
    private struct Entry {
        /// Who does it; nil when nobody does, and nothing is shown.
        var run: UInt64?
        /// Of the link: another one of the same name begins anew.
        var id: KafkaUUID
        var status = SynchronizationStatus()
    }

    /// Links that are gone and whose synchronisations are still remembered, at most.
    private static let maximumEnded = 1_000

    private let state = Mutex<(next: UInt64, entries: [SynchronizationKey: Entry])>((0, [:]))

    /// Begins to show some kinds of a link.
    ///
    /// - Parameter recorded: how they went for whoever did them before, as far as that is recorded; otherwise as this broker did them last.
    /// - Returns: what whoever does them shows and ends them by.
    func begin(
        _ link: LinkDefinition, _ kinds: [SynchronizedKind], recorded: (SynchronizationKey) -> SynchronizationStatus? = { _ in nil }
    ) -> UInt64 {
        state.withLock { state in
            state.next += 1
            for kind in kinds {
                let key = SynchronizationKey(link: link.name, kind: kind)
                let former = state.entries[key].flatMap { $0.id == link.id ? $0.status : nil }
                state.entries[key] = Entry(run: state.next, id: link.id, status: recorded(key) ?? former ?? SynchronizationStatus())
            }
            return state.next
        }
    }

    /// Nothing is shown any more, unless somebody else does it by now. It is remembered for when it begins again, as with other settings.
    func end(_ run: UInt64) {
        state.withLock { state in
            for (key, entry) in state.entries where entry.run == run { state.entries[key]?.run = nil }
            let ended = state.entries.filter { $0.value.run == nil }
            if ended.count > Self.maximumEnded { for key in ended.keys { state.entries[key] = nil } }
        }
    }

    func status(_ link: String, _ kind: SynchronizedKind, _ run: UInt64) -> SynchronizationStatus? {
        let entry = state.withLock { $0.entries[SynchronizationKey(link: link, kind: kind)] }
        return entry?.run == run ? entry?.status : nil
    }

    func update(_ link: String, _ kind: SynchronizedKind, _ run: UInt64, _ change: (inout SynchronizationStatus) -> Void) {
        let key = SynchronizationKey(link: link, kind: kind)
        state.withLock { state in
            guard state.entries[key]?.run == run else { return }
            change(&state.entries[key]!.status)
        }
    }

    var all: [(key: SynchronizationKey, status: SynchronizationStatus)] {
        let entries = state.withLock { $0.entries.filter { $0.value.run != nil } }
        return entries.map { ($0.key, $0.value.status) }.sorted { ($0.0.link, $0.0.kind.rawValue) < ($1.0.link, $1.0.kind.rawValue) }
    }

    /// For the answer to `progress`.
    var json: JSONValue {
        .array(
            all.map { key, status in
                .object([("link", .string(key.link)), ("kind", .string(key.kind.rawValue))] + status.members)
            })
    }
}
