// Who has numbers to show. Sources are asked one after another when a scrape comes; nothing is collected in between.
import NIOCore
import Synchronization

/// The sources of a process' metrics.
public final class MetricsRegistry: Sendable {
    /// Writes whole families. Runs on the admin endpoint's loop: takes no locks for long and does no slow input or output.
    public typealias Source = @Sendable (inout PrometheusText) -> Void

    private let sources = Mutex<[Source]>([])

    public init() {}

    /// Adds a source; it is asked at every scrape from now on, in the order of registration.
    public func register(_ source: @escaping Source) {
        sources.withLock { $0.append(source) }
    }

    /// All metrics in Prometheus' text format.
    public func scrape() -> ByteBuffer {
        let sources = sources.withLock { $0 }
        var text = PrometheusText()
        for source in sources {
            source(&text)
        }
        return text.buffer
    }
}
