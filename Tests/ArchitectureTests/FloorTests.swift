// An import may only point down: fails when a target imports one above it, or a module its floor has no business with.

import Foundation
import Testing

@Suite("Floors")
struct FloorTests {
    private static let sources = SourceFile.all(below: "Sources")

    @Test("Every target under Sources stands on a floor, and every target of the table exists")
    func everyTargetHasAFloor() throws {
        let folders = try FileManager.default.contentsOfDirectory(
            atPath: SourceFile.packageRoot.appendingPathComponent("Sources").path)
        #expect(Set(folders) == Set(House.order))
    }

    @Test("A target imports only targets below it and modules its floor may know")
    func importsPointDown() {
        #expect(Self.sources.count > 20)
        for file in Self.sources {
            guard let floor = House.floor(of: file.target), let position = House.order.firstIndex(of: file.target) else { continue }
            let below = Set(House.order[..<position])
            for (module, number) in file.imports {
                if House.order.contains(module) {
                    #expect(below.contains(module), "\(file):\(number): \(file.target) must not import \(module), which is not below it")
                } else {
                    #expect(
                        floor.foreignModules.contains(module), "\(file):\(number): no target of floor \(floor.name) may import \(module)")
                }
            }
        }
    }

    @Test("A core takes nothing but ByteBuffer from NIOCore")
    func coresKnowNoEventLoops() {
        let forbidden = /\b(?:EventLoop\w*|Channel\w*|NIO(?!Core\b)\w+|TimeAmount|SystemClock|ContinuousClock|Task\s*\{)/
        for file in Self.sources where House.cores.contains(file.target) {
            for (number, text) in file.code where text.contains(forbidden) {
                Issue.record("\(file):\(number): a core has no event loops, channels, clocks or tasks: \(text)")
            }
        }
    }

    @Test("Tests reach the code through its targets, never by path")
    func testsImportTargets() {
        for file in SourceFile.all(below: "Tests") {
            for (module, number) in file.imports where module.hasSuffix("Tests") {
                Issue.record("\(file):\(number): a test target must not import another")
            }
        }
    }
}
