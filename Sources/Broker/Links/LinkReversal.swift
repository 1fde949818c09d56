// Reversing mirrors: once a mirror is writable here, the other cluster is told to mirror it, until it does.
import KafkaWire
import Linking
import Logging
import MartletClient
import Primitives

extension LinkServices {
    /// Makes sure before anything is fenced that both sides have the link, and that it leads here.
    func checkReversal(of name: String) async throws(LinkOperationError) {
        guard let image = runtime.image, let link = image.links[name] else { return }
        if let problem = try await submit({ coordinator in (coordinator.problem(withReversing: name), []) }) {
            throw LinkOperationError(.invalidRequest, problem)
        }
        let there: JSONValue
        do throws(KafkaError) {
            let settings = try LinkSettings(checked: link)
            var configuration = try clientConfiguration(settings, name: name)
            configuration.operationTimeout = .seconds(10)
            let admin = AdminClient(configuration)
            defer { admin.close() }
            there = try await admin.manageLinks(.describe, .object([]))
        } catch {
            throw LinkOperationError(.invalidRequest, "the other cluster cannot be asked whether it can follow: \(error.explanation)")
        }
        let found = there["links"]?.arrayValue?.first { $0["name"]?.stringValue == name }
        guard let found, found["configuration"]?["link.mode"]?.stringValue == LinkMode.bidirectional.rawValue else {
            throw LinkOperationError(
                .invalidRequest,
                "the other cluster has no link '\(name)' with link.mode=BIDIRECTIONAL; `martlet link create` there makes it")
        }
        let leadsTo = found["sourceClusterId"]?.stringValue ?? ""
        guard leadsTo.isEmpty || leadsTo == services?.clusterID else {
            throw LinkOperationError(
                .invalidRequest, "link '\(name)' of the other cluster leads to cluster \(leadsTo), which is not this one")
        }
    }
}

extension LinkWorker {
    private static let reversalPauseMilliseconds: Int64 = 1_000
    private static let dealingsPause = Duration.milliseconds(50)

    /// What this cluster asks of the other one. Beside the rest, which must not wait for a cluster that is gone.
    func runDealings(_ settings: LinkSettings) async {
        var nextReversal: Int64 = 0
        var synchronization = SynchronizationRound()
        while !Task.isCancelled, links.runtime.isActive {
            await completeReversals(&nextReversal)
            await synchronizeMirrors(settings, &synchronization)
            try? await Task.sleep(for: Self.dealingsPause)
        }
    }

    /// Tells the other cluster to mirror what was reversed. Every step may be done again: whoever follows already says so.
    private func completeReversals(_ next: inout Int64) async {
        let asked = mirrors.filter { $0.state == .stopped && $0.reversal.isAsked }
        let now = SystemClock.monotonicMilliseconds()
        guard !asked.isEmpty, now >= next, let source else { return }
        next = now + Self.reversalPauseMilliseconds
        for mirror in asked {
            var problem: String?
            do throws(KafkaError) {
                _ = try await source.admin.manageLinks(
                    .createMirrors,
                    [
                        "link": .string(link.name), "topics": [.string(mirror.name)], "restore": true, "reversal": true,
                        "paused": .bool(mirror.reversal == .askedPaused),
                    ])
            } catch {
                problem = "the other cluster does not mirror it yet: \(error.explanation)"
            }
            let outcome = problem
            try? await links.change { coordinator in ((), coordinator.reversed(mirror.name, problem: outcome)) }
            if outcome == nil { logger.notice("a mirror is reversed", metadata: ["topic": "\(mirror.name)", "link": "\(link.name)"]) }
        }
    }
}

extension LinkWorker {
    /// Topics of the other cluster that mirror topics of this one over the same link: mirrors of them would go round in circles.
    func mirrorsOfTheOtherSide(_ settings: LinkSettings) async throws(KafkaError) -> Set<String> {
        guard settings.mode == .bidirectional, let source else { return [] }
        let mirrors = try await source.admin.manageLinks(.describe, .object([]))["mirrors"]?.arrayValue ?? []
        return Set(
            mirrors.filter { $0["link"]?.stringValue == link.name && $0["state"]?.stringValue != MirrorState.stopped.rawValue }
                .compactMap { $0["topic"]?.stringValue })
    }
}

extension LinkSettings {
    /// The settings of a link that is there.
    init(checked link: LinkDefinition) throws(KafkaError) {
        do throws(LinkSettingError) {
            try self.init(link.configuration)
        } catch {
            throw KafkaError(.invalidArgument, "\(error)")
        }
    }
}
