// docs/verification.md says which tests prove which promise. A test that was renamed or deleted must not leave a promise without proof.

import Foundation
import Testing

@Suite("What proves what")
struct VerificationTests {
    /// Names in code on that page that are no tests.
    private static let others: Set<String> = ["doctor"]

    /// The functions of every file below the directory whose name ends like that.
    private static func functions(below directory: String, ext: String, keyword: String) -> Set<String> {
        let pattern = try? Regex("\(keyword) (\\w+)\\(", as: (Substring, Substring).self)
        guard let pattern,
            let files = FileManager.default.enumerator(
                at: SourceFile.packageRoot.appending(path: directory), includingPropertiesForKeys: nil)
        else { return [] }
        var names: Set<String> = []
        for case let file as URL in files where file.pathExtension == ext {
            guard let text = try? String(contentsOf: file, encoding: .utf8) else { continue }
            for match in text.matches(of: pattern) { names.insert(String(match.1)) }
        }
        return names
    }

    @Test("Every test that docs/verification.md names exists")
    func namedTestsExist() throws {
        let page = try String(contentsOf: SourceFile.packageRoot.appending(path: "docs/verification.md"), encoding: .utf8)
        let named = Set(page.matches(of: /`(\w+)`/).map { String($0.1) }).subtracting(Self.others)
        #expect(named.count > 100, "the page is read")
        let known = Self.functions(below: "Tests", ext: "swift", keyword: "func")
            .union(Self.functions(below: "Tests", ext: "py", keyword: "def"))
            .union(Self.functions(below: "Benchmarks", ext: "py", keyword: "def"))
        for name in named.sorted() where !known.contains(name) {
            Issue.record("docs/verification.md names \(name), which no test is called")
        }
    }
}
