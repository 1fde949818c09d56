// What a link keeps in step beside the data, as commands show it.
import FoundationEssentials
import Primitives

enum LinkSynchronization {
    private static let counts = ["atSource", "own", "foreign", "created", "changed", "removed"]

    /// - Parameter all: as `LinkReport` has them.
    static func table(_ all: [JSONValue]) -> TextTable {
        var table = TextTable(
            "SYNCHRONISED", "LAST SUCCESS", ">AT SOURCE", ">OWN", ">FOREIGN", ">CREATED", ">CHANGED", ">REMOVED", "ERROR")
        for entry in all {
            let time = entry["lastSuccess"]?.integerValue.map { Date(timeIntervalSince1970: Double($0) / 1000).formatted(.iso8601) }
            table.add(
                [entry["kind"]?.stringValue ?? "", time ?? "never"] + counts.map { "\(entry[$0]?.integerValue ?? 0)" }
                    + [entry["error"]?.stringValue ?? ""])
        }
        return table
    }
}
