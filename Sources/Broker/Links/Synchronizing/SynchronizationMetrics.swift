// The synchronisations that this broker does, as metrics.
import Linking
import Observability
import Primitives

extension LinkServices {
    func writeSynchronizations(to text: inout PrometheusText) {
        let entries = synchronizations.all
        guard !entries.isEmpty else { return }
        let prefix = "martlet_link_sync_"
        func family(
            _ name: String, _ type: PrometheusText.MetricType, _ help: String, _ value: (SynchronizationStatus) -> Double?
        ) {
            text.family(prefix + name, type, help: help)
            for (key, status) in entries {
                guard let value = value(status) else { continue }
                text.sample(prefix + name, ["link": key.link, "kind": key.kind.rawValue], value)
            }
        }
        family("last_success_timestamp_seconds", .gauge, "When it last succeeded, in seconds since 1970.") { status in
            status.lastSuccess.map { Double($0) / 1000 }
        }
        family("error", .gauge, "1 while it does not succeed; `martlet link describe` says why.") { $0.problem.isEmpty ? 0 : 1 }
        family("source_items", .gauge, "What the source has and the link's filter lets through.") { Double($0.atSource) }
        family("own_items", .gauge, "What the link has put here.") { Double($0.own) }
        family("foreign_items", .gauge, "What is otherwise here than at the source by somebody's hand, and left so.") { Double($0.foreign) }
        family("created_total", .counter, "What was created here.") { Double($0.created) }
        family("changed_total", .counter, "What was changed here.") { Double($0.changed) }
        family("removed_total", .counter, "What was removed here.") { Double($0.removed) }
    }
}
