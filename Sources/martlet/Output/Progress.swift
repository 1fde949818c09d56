// Progress of long work, drawn over and over in one line, and only where a person looks.
import Primitives

/// A line on standard error that follows a count.
struct Progress {
    private let isShown: Bool
    private let started = SystemClock.monotonicMilliseconds()
    private var lastDrawn: Int64 = 0

    /// - Parameter isWanted: false where output of the command itself fills the terminal.
    init(isWanted: Bool = true) {
        isShown = isWanted && Terminal.showsProgress
    }

    /// Draws the text, made from the seconds since the beginning, at most five times a second.
    mutating func update(_ text: (Double) -> String) {
        guard isShown else { return }
        let now = SystemClock.monotonicMilliseconds()
        guard now - lastDrawn >= 200 else { return }
        lastDrawn = now
        Terminal.progress(text(Double(max(1, now - started)) / 1000))
    }

    /// Takes the line away.
    func finish() {
        if isShown { Terminal.progress("") }
    }

    /// `[#####     ] 50 %`
    static func bar(_ done: Int, of total: Int) -> String {
        guard total > 0 else { return "" }
        let share = min(1, Double(done) / Double(total))
        let filled = Int(share * 30)
        return "[" + String(repeating: "#", count: filled) + String(repeating: " ", count: 30 - filled) + "] \(Int(share * 100)) %"
    }
}
