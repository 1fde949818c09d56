// What happened, for people. A world runs without a trace at first, for speed; a failing seed runs again with one, which shows the very
// same events because nothing but the seed decides them.
import Primitives

/// Lines of a simulated run, the oldest forgotten when there are too many.
public final class Trace {
    /// Whether lines are kept.
    public let isRecording: Bool
    private let limit: Int
    private var kept: [String] = []
    private var forgotten = 0

    /// - Parameter limit: how many lines are kept at least.
    public init(isRecording: Bool, limit: Int = 100_000) {
        self.isRecording = isRecording
        self.limit = limit
    }

    /// Notes what happened to whom.
    public func note(_ time: VirtualTime, _ actor: @autoclosure () -> String, _ text: @autoclosure () -> String) {
        guard isRecording else { return }
        if kept.count >= 2 * limit {
            kept.removeFirst(limit)
            forgotten += limit
        }
        kept.append("\(Self.format(time))  \(actor())  \(text())")
    }

    /// All lines, in order.
    public var lines: [String] {
        forgotten == 0 ? kept : ["... \(forgotten) lines before these are not kept"] + kept
    }

    private static func format(_ time: VirtualTime) -> String {
        let micros = String(time % 1_000_000)
        let seconds = String(time / 1_000_000)
        return String(repeating: " ", count: max(0, 4 - seconds.utf8.count)) + seconds + "."
            + String(repeating: "0", count: 6 - micros.utf8.count) + micros
    }
}
