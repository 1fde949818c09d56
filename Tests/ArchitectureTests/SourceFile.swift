// The package's own source files as text, for the tests that look at the code instead of running it.

import Foundation

/// One Swift file of the package.
struct SourceFile: Sendable, CustomStringConvertible {
    /// The path below the package's root, for messages.
    let path: String
    let lines: [Substring]

    var description: String { path }

    /// The target a file of `Sources` or `Tests` belongs to.
    var target: String {
        let parts = path.split(separator: "/")
        return parts.count > 2 ? String(parts[1]) : ""
    }

    /// Written by SchemaCompiler, so the rules for people do not apply.
    var isGenerated: Bool { path.contains("/Generated/") }

    /// Every line that is not a comment as a whole, with its number.
    var code: [(number: Int, text: Substring)] {
        lines.enumerated().compactMap { index, line in
            line.utf8.drop(while: { $0 == UInt8(ascii: " ") }).starts(with: "//".utf8) ? nil : (index + 1, line)
        }
    }

    /// The modules this file imports, with the line of the import. Generated files import at their top.
    var imports: [(module: String, number: Int)] {
        (isGenerated ? Array(code.prefix(20)) : code).compactMap { number, text in
            let pattern =
                /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|func|protocol|typealias|var|let)\s+)?(\w+)/
            // Tens of thousands of generated lines go through here, so most are turned away by their first letter.
            guard let first = text.utf8.first(where: { $0 != UInt8(ascii: " ") }), "@ipf".utf8.contains(first) else { return nil }
            guard let match = text.firstMatch(of: pattern) else { return nil }
            return (String(match.1), number)
        }
    }
}

extension SourceFile {
    /// The package's root, found from where this very file is.
    static let packageRoot = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// All Swift files below a folder of the package, in the order of their paths.
    static func all(below folder: String) -> [SourceFile] {
        let base = packageRoot.appendingPathComponent(folder)
        guard let names = FileManager.default.enumerator(atPath: base.path) else { return [] }
        return names.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }.sorted().compactMap { name in
            guard let text = try? String(contentsOf: base.appendingPathComponent(name), encoding: .utf8) else { return nil }
            var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            if lines.last?.isEmpty == true { lines.removeLast() }
            return SourceFile(path: folder + "/" + name, lines: lines)
        }
    }
}
