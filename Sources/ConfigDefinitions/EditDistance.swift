// How far apart two names are, for "did you mean".

/// Edits between two strings: insertions, deletions, replacements and swaps of neighbours count one each.
public enum EditDistance {
    /// The distance when it is at most `limit`, else nil. Case is not a difference; `-`, `_` and `.` are all one separator.
    public static func between(_ left: String, _ right: String, limit: Int) -> Int? {
        let first = left.utf8.map(folded)
        let second = right.utf8.map(folded)
        if limit < 0 || abs(first.count - second.count) > limit { return nil }
        if first.isEmpty { return second.count }
        var beforePrevious: [Int] = []
        var previous = Array(0...second.count)
        for row in 1...first.count {
            var current = [row]
            current.reserveCapacity(second.count + 1)
            for column in stride(from: 1, through: second.count, by: 1) {
                let replacement = previous[column - 1] + (first[row - 1] == second[column - 1] ? 0 : 1)
                var distance = min(replacement, previous[column] + 1, current[column - 1] + 1)
                if row > 1, column > 1, first[row - 1] == second[column - 2], first[row - 2] == second[column - 1] {
                    distance = min(distance, beforePrevious[column - 2] + 1)
                }
                current.append(distance)
            }
            // Distances only grow from row to row, so a row beyond the limit settles it.
            if let least = current.min(), least > limit { return nil }
            beforePrevious = previous
            previous = current
        }
        return previous[second.count] <= limit ? previous[second.count] : nil
    }

    private static func folded(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte + 32
        case UInt8(ascii: "-"), UInt8(ascii: "_"): UInt8(ascii: ".")
        default: byte
        }
    }
}
