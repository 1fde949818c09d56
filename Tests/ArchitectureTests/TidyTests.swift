// The rules of the rooms that a machine can check: sizes, opening comments, and words that have no place in the sources.

import Foundation
import Testing

@Suite("Tidiness")
struct TidyTests {
    private static let sources = SourceFile.all(below: "Sources").filter { !$0.isGenerated }
    private static let tests = SourceFile.all(below: "Tests")

    @Test("No source file is longer than 500 lines, no test file longer than 800")
    func filesStaySmall() {
        for file in Self.sources {
            #expect(file.lines.count <= 500, "\(file) has \(file.lines.count) lines and wants a room of its own")
        }
        for file in Self.tests {
            #expect(file.lines.count <= 800, "\(file) has \(file.lines.count) lines and wants a room of its own")
        }
    }

    @Test("Every file opens with a comment that says why it exists")
    func filesSayWhyTheyExist() {
        for file in Self.sources {
            #expect(file.lines.first?.hasPrefix("//") == true, "\(file) does not open with a comment")
        }
    }

    @Test("Functions stay under 70 lines")
    func functionsStaySmall() {
        for file in Self.sources {
            for (name, number, length) in Self.functions(of: file) {
                #expect(length < 70, "\(file):\(number): \(name) has \(length) lines")
            }
        }
    }

    @Test("Nothing left for later, nothing forced")
    func noLeftovers() {
        // The words are put together here so that this file does not contain them.
        let comments = ["TO" + "DO", "FIX" + "ME"]
        let forced = ["try" + "!", "as" + "!"]
        for file in Self.sources {
            for (index, line) in file.lines.enumerated() {
                for word in comments where line.contains(word) { Issue.record("\(file):\(index + 1): \(word)") }
            }
            for (number, text) in file.code {
                for word in forced where text.contains(word + " ") { Issue.record("\(file):\(number): \(word)") }
            }
        }
    }

    /// The functions of a formatted file: the body ends at the first closing brace of the declaration's own indentation.
    private static func functions(of file: SourceFile) -> [(name: String, number: Int, length: Int)] {
        let declaration = /^( *)(?:[a-z@][\w()@]* )*(func [^( ]+|init)[(<?!]/
        return file.lines.indices.compactMap { index in
            guard let match = file.lines[index].firstMatch(of: declaration) else { return nil }
            let closing = match.1 + "}"
            // A signature over several lines closes at its own indentation, with the body's brace behind it; anything else
            // that does not end in a brace has its body on the same line, or none.
            var line = index
            if file.lines[line].hasSuffix("(") {
                line = file.lines[index...].dropFirst().firstIndex { $0.hasPrefix(match.1 + ")") } ?? index
            }
            guard file.lines[line].hasSuffix("{") else { return nil }
            let end = file.lines[line...].firstIndex { $0 == closing }
            guard let end else { return nil }
            return (String(match.2), index + 1, end - index + 1)
        }
    }
}
