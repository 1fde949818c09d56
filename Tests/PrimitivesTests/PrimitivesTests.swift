import Primitives
import Testing

@Suite struct KafkaUUIDTests {
    @Test func wellKnownIdsHaveKafkasSpelling() {
        #expect(KafkaUUID.one.description == "AAAAAAAAAAAAAAAAAAAAAQ")
        #expect(KafkaUUID.zero.description == "AAAAAAAAAAAAAAAAAAAAAA")
        #expect(KafkaUUID("AAAAAAAAAAAAAAAAAAAAAQ") == .one)
    }

    @Test func everyIdSurvivesItsSpelling() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<1000 {
            let id = KafkaUUID.random(using: &random)
            #expect(KafkaUUID(id.description) == id)
        }
    }

    @Test(arguments: ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAR", "AAAAAAAAAAAAAAAAAAAA+A", "AAAAAAAAAAAAAAAAAAAAAAA"])
    func nonsenseIsRefused(text: String) {
        #expect(KafkaUUID(text) == nil)
    }
}

@Suite struct SeededRandomTests {
    @Test func sameSeedSameSequence() {
        var first = SeededRandom(seed: 42)
        var second = SeededRandom(seed: 42)
        for _ in 0..<100 { #expect(first.next() == second.next()) }
    }
}
