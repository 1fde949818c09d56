// What has to be done so that this cluster has what the source has, without touching what others made here. Names and values are texts, so
// that one rule holds for access control entries, users and quotas.
import Collections

/// The difference between a source and this cluster, as far as a link has to do with it.
public struct SynchronizationPlan: Sendable, Equatable {
    /// Something to put here.
    public struct Item: Sendable, Hashable {
        public var name: String
        public var value: String
        /// What is here now; nil for nothing.
        public var former: String?

        public init(name: String, value: String = "", former: String? = nil) {
            self.name = name
            self.value = value
            self.former = former
        }
    }

    /// To create or to change, in the source's order.
    public private(set) var put: [Item] = []
    /// The link's, and gone at the source.
    public private(set) var remove: [String] = []
    /// Somebody here has changed it since: it is not the link's any more.
    public private(set) var forget: [String] = []
    /// Of the source, and otherwise here by somebody's hand; stays as it is.
    public private(set) var foreign: [String] = []
    /// Of the source, and more than a link may have, or longer.
    public private(set) var surplus = 0

    public var isEmpty: Bool { put.isEmpty && remove.isEmpty && forget.isEmpty }

    /// - Parameters:
    ///   - source: what this cluster ought to have; only what the link's filter lets through.
    ///   - here: what it has.
    ///   - own: what the link has put here; only what the filter lets through, so that a narrower filter takes nothing away.
    public init(
        source: OrderedDictionary<String, String>, here: [String: String], own: [String: SynchronizedItem.Value],
        maximumCount: Int = SynchronizedItems.maximumCount
    ) {
        var count = own.count
        for (name, value) in source {
            guard name.utf8.count <= SynchronizedItems.maximumNameLength else {
                surplus += 1
                continue
            }
            let present = here[name]
            guard present != value else { continue }
            if let mine = own[name] {
                if let present, !mine.accounts(for: present) {
                    foreign.append(name)
                    forget.append(name)
                } else {
                    put.append(Item(name: name, value: value, former: present))
                }
            } else if present != nil {
                foreign.append(name)
            } else if count < maximumCount {
                count += 1
                put.append(Item(name: name, value: value))
            } else {
                surplus += 1
            }
        }
        for name in own.keys.sorted() where source[name] == nil {
            // What is not seen here may just not be seen yet: taking it away again does no harm.
            if let present = here[name], own[name]?.accounts(for: present) != true { forget.append(name) } else { remove.append(name) }
        }
    }
}
