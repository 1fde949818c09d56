// The connections of links that one side opens for the other to use, as commands show them.
import Linking
import Primitives

/// What one broker of this cluster says of a link's connections.
struct LinkConnectionView {
    private struct Row {
        var other: String
        var offered: Int64
        var inUse: Int64
        var state: String
    }

    var link: String
    var broker: NodeID
    /// The other cluster, as its offers say.
    var clusters: [String] = []
    private var rows: [Row] = []

    /// - Parameter value: as `LinkReport` has it.
    init(_ value: JSONValue) {
        link = value["link"]?.stringValue ?? ""
        broker = NodeID(clamping: value["broker"]?.integerValue ?? -1)
        if let accepted = value["accepted"]?.arrayValue {
            if accepted.isEmpty { rows.append(Row(other: "", offered: 0, inUse: 0, state: "waits for the source to connect")) }
            for entry in accepted {
                if let cluster = entry["cluster"]?.stringValue, !clusters.contains(cluster) { clusters.append(cluster) }
                rows.append(Self.row(entry, "from", "connected"))
            }
        }
        guard let offering = value["offering"] else { return }
        if let problem = offering["problem"]?.stringValue { rows.append(Row(other: "", offered: 0, inUse: 0, state: problem)) }
        for entry in offering["brokers"]?.arrayValue ?? [] {
            rows.append(Self.row(entry, "to", entry["problem"]?.stringValue ?? "offers connections"))
        }
    }

    private static func row(_ entry: JSONValue, _ word: String, _ state: String) -> Row {
        Row(
            other: "\(word) \(entry["broker"]?.integerValue ?? -1)", offered: entry["offered"]?.integerValue ?? 0,
            inUse: entry["inUse"]?.integerValue ?? 0, state: state)
    }

    static func table(_ views: [LinkConnectionView]) -> TextTable {
        var table = TextTable(">BROKER", "OTHER SIDE", ">OFFERED", ">IN USE", "STATE")
        for view in views {
            for row in view.rows { table.add("\(view.broker)", row.other, "\(row.offered)", "\(row.inUse)", row.state) }
        }
        return table
    }
}
