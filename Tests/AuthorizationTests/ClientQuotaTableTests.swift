// Kafka's precedence of quotas, as a table: which of several quotas holds for a client, and with whom the client shares it.
import ClusterMetadata
import KafkaRecords
import Primitives
import Testing

@testable import Authorization

@Suite("Authorization: client quotas")
struct ClientQuotaTableTests {
    /// Entities as `user/client`, `*` for the default and nothing for a part that is absent.
    private func table(_ quotas: [String: Double]) throws -> ClientQuotaTable {
        var replay = MetadataReplay(from: .empty)
        var offset: Offset = 0
        for (entity, value) in quotas.sorted(by: { $0.key < $1.key }) {
            let parts = entity.split(separator: "/", omittingEmptySubsequences: false)
            var record = ClientQuotaRecord()
            record.key = "producer_byte_rate"
            record.value = value
            for (type, name) in zip(["user", "client-id"], parts) where !name.isEmpty {
                var data = ClientQuotaRecord.EntityData()
                data.entityType = type
                data.entityName = name == "*" ? nil : String(name)
                record.entity.append(data)
            }
            try replay.replay(.clientQuota(record), offset: offset, epoch: 1, timestamp: 0)
            offset += 1
        }
        return ClientQuotaTable(.produce, replay.publish()?.image.clientQuotas ?? ClientQuotasImage())
    }

    /// From the one that counts most to the one that counts least; each holds when those before it are gone.
    private static let precedence = ["u/c", "u/*", "u/", "*/c", "*/*", "*/", "/c", "/*"]

    @Test func theMostSpecialOneHolds() throws {
        for first in Self.precedence.indices {
            var quotas: [String: Double] = ["other/c": 1, "u/other": 2, "other/": 3, "/other": 4]
            for index in first..<Self.precedence.count { quotas[Self.precedence[index]] = Double(100 + index) }
            let table = try table(quotas)
            let subject = table.subject(user: "u", clientID: "c")
            #expect(table.bound(of: subject) == Double(100 + first), "\(Self.precedence[first...])")
        }
    }

    @Test func quotasOfOneTypeShareWhatTheyAreFor() throws {
        let clients = try table(["/c": 1])
        #expect(clients.subject(user: "u", clientID: "c") == QuotaSubject(user: "", clientID: "c"))
        #expect(clients.subject(user: "v", clientID: "c") == QuotaSubject(user: "", clientID: "c"))
        #expect(clients.bound(of: QuotaSubject(user: "", clientID: "d")) == nil)
        let users = try table(["*/": 7])
        #expect(users.subject(user: "u", clientID: "c") == QuotaSubject(user: "u", clientID: ""))
        #expect(users.bound(of: QuotaSubject(user: "u", clientID: "")) == 7)
        let both = try table(["u/*": 7])
        #expect(both.subject(user: "u", clientID: "c") == QuotaSubject(user: "u", clientID: "c"))
        #expect(both.bound(of: both.subject(user: "u", clientID: "d")) == 7)
        #expect(both.bound(of: both.subject(user: "v", clientID: "d")) == nil)
    }

    @Test func aUserWithAQuotaSharesItAmongItsClients() throws {
        let table = try table(["u/": 5, "/*": 9])
        #expect(table.subject(user: "u", clientID: "a") == table.subject(user: "u", clientID: "b"))
        #expect(table.bound(of: table.subject(user: "u", clientID: "a")) == 5)
        #expect(table.subject(user: "v", clientID: "a") == QuotaSubject(user: "", clientID: "a"))
        #expect(table.bound(of: table.subject(user: "v", clientID: "a")) == 9)
    }

    @Test func otherKeysAreOtherQuotas() throws {
        #expect(try table([:]).isEmpty)
        let table = try table(["u/": 5])
        #expect(!table.isEmpty)
        #expect(table.subject(user: "u", clientID: "") == QuotaSubject(user: "u", clientID: ""))
    }
}
