// The examples of docs/configuration.md load, and what the page says about mistakes is what is said.
import Foundation
import Testing

@testable import Configuration

@Suite struct DocumentationTests {
    private struct Block {
        var kind: String
        var text: String
    }

    private func blocks() throws -> [Block] {
        let page = try String(contentsOf: packageRoot.appendingPathComponent("docs/configuration.md"), encoding: .utf8)
        var blocks: [Block] = []
        var open: Block?
        for line in page.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") {
                if let block = open {
                    blocks.append(block)
                    open = nil
                } else {
                    open = Block(kind: String(line.dropFirst(3)), text: "")
                }
            } else {
                open?.text += line + "\n"
            }
        }
        #expect(open == nil, "a code block does not end")
        return blocks
    }

    @Test func examplesLoadWithoutWarnings() throws {
        let examples = try blocks().filter { $0.kind == "properties" || $0.kind == "yaml" }
        #expect(examples.count >= 5)
        for example in examples {
            let loaded = try load(example.text, path: example.kind == "yaml" ? "server.yaml" : "server.properties")
            #expect(loaded.warnings.isEmpty, "\(example.text)")
        }
    }

    @Test func mistakesAreReportedAsShown() throws {
        let all = try blocks()
        for (index, block) in all.enumerated() where block.kind == "properties mistakes" {
            #expect(errors(block.text).joined(separator: "\n") + "\n" == all[index + 1].text)
        }
        for (index, block) in all.enumerated() where block.kind == "properties warnings" {
            #expect(try load(block.text).warnings.map(\.description).joined(separator: "\n") + "\n" == all[index + 1].text)
        }
        #expect(all.count { $0.kind == "properties mistakes" || $0.kind == "properties warnings" } == 2)
    }
}
