// What came over a link, and how far compressing it helped, as commands show it.
import Linking
import Primitives

/// What one broker of this cluster has fetched over a link since it began to.
struct LinkTrafficView {
    var broker: Int64
    var isCompressed: Bool
    var bytes: Int64
    var wireBytes: Int64
    /// Why nothing is compressed although it should be.
    var problem: String

    init(_ value: JSONValue) {
        broker = value["broker"]?.integerValue ?? -1
        isCompressed = value["compression"]?.stringValue != "none"
        bytes = value["bytes"]?.integerValue ?? 0
        wireBytes = value["wireBytes"]?.integerValue ?? 0
        problem = value["problem"]?.stringValue ?? ""
    }

    static func table(_ views: [LinkTrafficView]) -> TextTable {
        var table = TextTable(">BROKER", ">FETCHED BYTES", ">OVER THE LINK", ">RATIO", "")
        for view in views {
            let ratio = view.wireBytes > 0 ? "\((Double(view.bytes) / Double(view.wireBytes) * 10).rounded() / 10)" : ""
            table.add("\(view.broker)", "\(view.bytes)", "\(view.wireBytes)", ratio, view.problem)
        }
        return table
    }
}
