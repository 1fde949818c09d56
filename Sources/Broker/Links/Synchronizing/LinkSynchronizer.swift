// Keeps in step what a link was told to keep in step beside the data: access control entries, users, quotas. Done by the broker that
// coordinates links; what the link puts here is recorded before it is put, so another broker goes on where one died.
import ClusterMetadata
import Collections
import KafkaWire
import Linking
import Logging
import MartletClient
import Primitives
import Runtime

/// Why a synchronisation came to nothing, or not to its end, for people.
struct SynchronizationFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// One kind of things, at the source and here, as they were found in one round.
protocol SynchronizedContent: Sendable {
    /// What the source has and the filter lets through: values by name.
    var source: OrderedDictionary<String, String> { get }
    /// What is here, by the newest metadata.
    func here() -> [String: String]
    /// Whether the filter lets something through that the link has put here.
    func admits(_ name: String) -> Bool
    /// Puts things here; those that exist are changed.
    ///
    /// - Returns: what was refused, with the reasons.
    func put(_ items: [SynchronizationPlan.Item]) async throws(LinkCallFailure) -> [String: String]
    /// Takes things away; those that are not here count as taken away.
    ///
    /// - Returns: what was refused, with the reasons.
    func remove(_ names: [String]) async throws(LinkCallFailure) -> [String: String]
}

/// The synchronisations of one link that the coordinator does.
struct LinkSynchronizer: Sendable {
    /// Things recorded and put in one step.
    private static let chunk = 500
    private static let longestPause: Int64 = 1_000
    private static let openingPause: Int64 = 50
    private static let metadataMilliseconds: Int64 = 10_000
    private static let kinds: [SynchronizedKind] = [.acls, .users, .quotas]

    let link: LinkDefinition
    let links: LinkServices
    let logger: Logger

    func run() async {
        guard let settings = try? LinkSettings(link.configuration), !settings.isPaused else { return }
        let enabled = Self.kinds.filter { settings.synchronization.schedule(of: $0)?.isEnabled == true }
        guard !enabled.isEmpty else { return }
        let run = links.synchronizations.begin(link, enabled) { links.runtime.image?.synchronizations[$0] }
        defer { links.synchronizations.end(run) }
        var next: [SynchronizedKind: Int64] = [:]
        while !Task.isCancelled, links.runtime.isActive {
            guard links.source(of: link.name)?.definition == link else {
                // Opened in a moment, when this broker has taken over the newest image.
                try? await Task.sleep(for: .milliseconds(Self.openingPause))
                continue
            }
            for kind in enabled where SystemClock.monotonicMilliseconds() >= next[kind] ?? 0 && !Task.isCancelled {
                await synchronize(kind, settings, run)
                next[kind] = SystemClock.monotonicMilliseconds() + (settings.synchronization.schedule(of: kind)?.milliseconds ?? 0)
            }
            let pause = (next.values.min() ?? 0) - SystemClock.monotonicMilliseconds()
            try? await Task.sleep(for: .milliseconds(min(max(pause, 10), Self.longestPause)))
        }
    }

    private func synchronize(_ kind: SynchronizedKind, _ settings: LinkSettings, _ run: UInt64) async {
        await links.noting(link, kind, run, logger) {
            let source = try await links.checkedSource(of: link)
            let content = try await content(kind, settings, source)
            try await apply(content, kind, run)
        }
        guard !Task.isCancelled, let status = links.synchronizations.status(link.name, kind, run) else { return }
        let (name, id) = (link.name, link.id)
        // Once more with the next round if it cannot be recorded now.
        try? await links.change { coordinator in ((), coordinator.note(status, kind, link: name, id: id)) }
    }

    private func content(
        _ kind: SynchronizedKind, _ settings: LinkSettings, _ source: LinkSource
    ) async throws -> any SynchronizedContent {
        switch kind {
        case .acls: try await AccessContent(source, settings, links)
        case .users: try await CredentialContent(source, settings, links)
        case .quotas: try await QuotaContent(source, settings, links)
        case .offsets, .shareOffsets: preconditionFailure("done by coordinators of groups: \(kind)")
        }
    }

    // MARK: One round

    private func apply(_ content: any SynchronizedContent, _ kind: SynchronizedKind, _ run: UInt64) async throws {
        let own = links.runtime.image?.synchronized.of(link.name, kind).filter { content.admits($0.key) } ?? [:]
        let plan = SynchronizationPlan(source: content.source, here: content.here(), own: own)
        var refused: [String: String] = [:]
        for items in chunks(plan.put) {
            try await claim(items, kind)
            let failures = try await content.put(items)
            // What was never here is nobody's.
            try await forget(items.map(\.name).filter { failures[$0] != nil && own[$0] == nil }, kind)
            let done = items.filter { failures[$0.name] == nil }
            links.synchronizations.update(link.name, kind, run) { status in
                status.created += done.count { $0.former == nil }
                status.changed += done.count { $0.former != nil }
            }
            refused.merge(failures) { $1 }
        }
        for names in chunks(plan.remove) {
            let failures = try await content.remove(names)
            let done = names.filter { failures[$0] == nil }
            try await forget(done, kind)
            links.synchronizations.update(link.name, kind, run) { $0.removed += done.count }
            refused.merge(failures) { $1 }
        }
        try await forget(plan.forget, kind)
        let left = links.runtime.image?.synchronized.of(link.name, kind).count ?? 0
        links.synchronizations.update(link.name, kind, run) { status in
            status.atSource = content.source.count
            status.own = left
            status.foreign = plan.foreign.count
        }
        try await awaitMetadata(content, plan, refused)
        try report(plan, refused)
    }

    /// The next round goes by this broker's metadata, which come a moment after the controller's answer.
    private func awaitMetadata(_ content: any SynchronizedContent, _ plan: SynchronizationPlan, _ refused: [String: String]) async throws {
        guard !plan.put.isEmpty || !plan.remove.isEmpty else { return }
        let deadline = SystemClock.monotonicMilliseconds() + Self.metadataMilliseconds
        // Ever more slowly, since looking takes as long as there are many.
        var pause: Int64 = 20
        while !Task.isCancelled {
            let here = content.here()
            let isSeen =
                plan.put.allSatisfy { here[$0.name] == $0.value || refused[$0.name] != nil }
                && plan.remove.allSatisfy { here[$0] == nil || refused[$0] != nil }
            if isSeen { return }
            guard SystemClock.monotonicMilliseconds() < deadline else {
                throw SynchronizationFailure("what was put here is not seen in this broker's metadata yet")
            }
            try? await Task.sleep(for: .milliseconds(pause))
            pause = min(pause * 2, Self.longestPause)
        }
    }

    private func report(_ plan: SynchronizationPlan, _ refused: [String: String]) throws(SynchronizationFailure) {
        if let (name, reason) = refused.min(by: { $0.key < $1.key }) {
            let more = refused.count > 1 ? ", and \(refused.count - 1) more" : ""
            throw SynchronizationFailure("refused here: \(name): \(reason)\(more)")
        }
        if plan.surplus > 0 {
            throw SynchronizationFailure(
                "\(plan.surplus) of the source's are left out: a link has at most \(SynchronizedItems.maximumCount) of a kind, with names up to "
                    + "\(SynchronizedItems.maximumNameLength) bytes; filters choose")
        }
    }

    private func chunks<Element>(_ all: [Element]) -> [[Element]] {
        stride(from: 0, to: all.count, by: Self.chunk).map { Array(all[$0..<min($0 + Self.chunk, all.count)]) }
    }

    private func claim(_ items: [SynchronizationPlan.Item], _ kind: SynchronizedKind) async throws(LinkCallFailure) {
        let (name, id) = (link.name, link.id)
        try await links.change { coordinator throws(LinkRefusal) in ((), try coordinator.claim(items, kind, link: name, id: id)) }
    }

    private func forget(_ names: [String], _ kind: SynchronizedKind) async throws(LinkCallFailure) {
        guard !names.isEmpty else { return }
        let (name, id) = (link.name, link.id)
        try await links.change { coordinator throws(LinkRefusal) in ((), try coordinator.forget(names, kind, link: name, id: id)) }
    }
}

extension LinkServices {
    /// A link's source, once it is certain that it is still the cluster that the link was made to: another one, such as a cluster set up anew
    /// under the old address, lacks everything, and all that the link put here would go.
    func checkedSource(of link: LinkDefinition) async throws -> LinkSource {
        guard let source = source(of: link.name), source.definition == link else {
            throw SynchronizationFailure("the link is not open on this broker yet")
        }
        let id = try await source.admin.describeCluster().clusterID ?? ""
        guard link.sourceClusterID.isEmpty || id == link.sourceClusterID else {
            throw SynchronizationFailure(
                "the source is cluster \(id) now, and the link was made to \(link.sourceClusterID); make a link to the new one")
        }
        return source
    }

    /// Runs a synchronisation once, and notes how it went.
    func noting(
        _ link: LinkDefinition, _ kind: SynchronizedKind, _ run: UInt64, _ logger: Logger, _ synchronize: () async throws -> Void
    ) async {
        let problem: String
        do {
            try await synchronize()
            problem = ""
        } catch let error as KafkaError {
            problem = "the source: \(error.explanation)"
        } catch {
            problem = "\(error)"
        }
        if !Task.isCancelled { note(problem, link, kind, run, logger) }
    }

    /// Shows how a round ended, and logs it when that is news.
    private func note(_ problem: String, _ link: LinkDefinition, _ kind: SynchronizedKind, _ run: UInt64, _ logger: Logger) {
        var former = ""
        synchronizations.update(link.name, kind, run) { status in
            former = status.problem
            status.problem = problem
            status.lastRun = SystemClock.now()
            if problem.isEmpty { status.lastSuccess = status.lastRun }
        }
        guard problem != former else { return }
        let place: Logger.Metadata = ["link": "\(link.name)", "what": "\(kind.rawValue)"]
        if problem.isEmpty {
            logger.notice("a link synchronises again", metadata: place)
        } else {
            logger.warning("a link cannot synchronise", metadata: place.merging(["reason": "\(problem)"]) { first, _ in first })
        }
    }
}
