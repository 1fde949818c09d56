import Collections
import Primitives
import Testing

@testable import Linking

struct SynchronizationPlanTests {
    private typealias Value = SynchronizedItem.Value
    private typealias Item = SynchronizationPlan.Item

    @Test func whatIsMissingIsPutAndWhatIsGoneIsRemoved() {
        let plan = SynchronizationPlan(
            source: ["new": "1", "same": "1", "changed": "2"], here: ["same": "1", "changed": "1", "gone": "1"],
            own: ["same": Value("1"), "changed": Value("1"), "gone": Value("1")])
        #expect(plan.put == [Item(name: "new", value: "1"), Item(name: "changed", value: "2", former: "1")])
        #expect(plan.remove == ["gone"])
        #expect(plan.forget.isEmpty && plan.foreign.isEmpty && plan.surplus == 0)
    }

    @Test func whatOthersMadeHereIsLeftAlone() {
        let plan = SynchronizationPlan(
            source: ["other": "1", "same": "1"], here: ["other": "2", "same": "1", "hand": "1"], own: [:])
        #expect(plan.isEmpty)
        #expect(plan.foreign == ["other"])
    }

    @Test func whatOthersChangedHereIsTheirsFromThenOn() {
        let plan = SynchronizationPlan(
            source: ["kept": "2"], here: ["kept": "9", "gone": "9"], own: ["kept": Value("1"), "gone": Value("1")])
        #expect(plan.put.isEmpty && plan.remove.isEmpty)
        #expect(plan.forget == ["kept", "gone"])
        #expect(plan.foreign == ["kept"])
    }

    /// Whoever recorded a change may have died before making it.
    @Test func whatWasRecordedAndNotDoneIsDone() {
        let own = ["created": Value("1"), "changed": Value("2", former: "1"), "gone": Value("2", former: "1")]
        let plan = SynchronizationPlan(source: ["created": "1", "changed": "2"], here: ["changed": "1", "gone": "1"], own: own)
        #expect(plan.put == [Item(name: "created", value: "1"), Item(name: "changed", value: "2", former: "1")])
        #expect(plan.remove == ["gone"])
    }

    @Test func aLinkHasOnlySoMuch() {
        let long = String(repeating: "x", count: SynchronizedItems.maximumNameLength + 1)
        let plan = SynchronizationPlan(
            source: ["a": "1", "b": "1", "c": "1", long: "1"], here: [:], own: ["a": Value("1")], maximumCount: 2)
        #expect(plan.put.map(\.name) == ["a", "b"])
        #expect(plan.surplus == 2)
    }

    /// Against a dumb model, with a coordinator that dies between any two steps and an operator who interferes: when all is quiet, this
    /// cluster has what the source has, what the operator made is as he left it, and nothing of the link's is left behind.
    @Test(arguments: 0..<50) func comesToRestWhateverHappens(_ seed: UInt64) {
        var random = SplitMix(seed)
        let names = (0..<6).map { "n\($0)" }
        var source: OrderedDictionary<String, String> = [:]
        var here: [String: String] = [:]
        var hand: [String: String] = [:]
        var own: [String: Value] = [:]
        func round(dying: Bool) {
            let plan = SynchronizationPlan(source: source, here: here, own: own)
            for item in plan.put { own[item.name] = Value(item.value, former: item.former) }
            if dying, Bool.random(using: &random) { return }
            for item in plan.put where !dying || Bool.random(using: &random) { here[item.name] = item.value }
            for name in plan.remove where !dying || Bool.random(using: &random) {
                here[name] = nil
                if !dying || Bool.random(using: &random) { own[name] = nil }
            }
            if !dying { for name in plan.forget { own[name] = nil } }
        }
        for _ in 0..<60 {
            let name = names.randomElement(using: &random) ?? ""
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1: source[name] = "\(Int.random(in: 0..<3, using: &random))"
            case 2: source[name] = nil
            case 3 where here[name] == nil && own[name] == nil:
                here[name] = "hand"
                hand[name] = "hand"
            default: round(dying: true)
            }
        }
        for _ in 0..<3 { round(dying: false) }
        for name in names {
            #expect(here[name] == hand[name] ?? source[name], "\(name)")
            #expect(own[name] == nil || source[name] != nil)
        }
    }
}

private struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

struct SynchronizedNamesTests {
    private static func rule(
        _ name: String, type: String = "TOPIC", pattern: String = "LITERAL", operation: String = "READ"
    ) -> AccessRule {
        AccessRule(
            resourceType: type, patternType: pattern, resourceName: name, principal: "User:a\"b", host: "*", operation: operation,
            permission: "ALLOW")
    }

    @Test(arguments: [
        rule("orders"), rule("orders", pattern: "PREFIXED"), rule("*"), rule("g", type: "GROUP"), rule("kafka-cluster", type: "CLUSTER"),
    ])
    func namesOfRulesCanBeReadAgain(_ rule: AccessRule) {
        #expect(AccessRule(name: rule.name) == rule)
        for prefix in ["", "eu."] { #expect(rule.mirrored(prefix: prefix).source(prefix: prefix) == rule) }
    }

    @Test func rulesAboutTopicsGetThePrefix() {
        #expect(Self.rule("orders").mirrored(prefix: "eu.") == Self.rule("eu.orders"))
        #expect(Self.rule("*").mirrored(prefix: "eu.") == Self.rule("eu.", pattern: "PREFIXED"))
        #expect(Self.rule("*", type: "GROUP").mirrored(prefix: "eu.") == Self.rule("*", type: "GROUP"))
        #expect(Self.rule("orders").source(prefix: "eu.") == nil)
        #expect(Self.rule("eu.").source(prefix: "eu.") == nil)
    }

    @Test func namesOfQuotasAndUsersCanBeReadAgain() {
        let quota = QuotaName([.init(type: "user", name: "a,\"b"), .init(type: "client-id", name: nil)], key: "request_percentage")
        #expect(QuotaName(name: quota.name) == quota)
        #expect(quota.filterNames == ["client-id:<default>", "user:a,\"b"])
        #expect(QuotaName.text(1_048_576) == "1048576" && QuotaName.text(0.5) == "0.5")
        let user = CredentialName(user: "al,ice", mechanism: "SCRAM-SHA-512")
        #expect(CredentialName(name: user.name) == user)
    }

    @Test func filtersOfRulesAreClusterLinkings() throws {
        let filter = try AccessRuleFilter(
            parsing: """
                {"aclFilters":[
                  {"resourceFilter":{"resourceType":"Topic","patternType":"any"},"accessFilter":{"operation":"read","permissionType":"allow"}},
                  {"resourceFilter":{"resourceType":"any","name":"g"},"accessFilter":{"principal":"User:a\\"b"}}]}
                """, key: "k")
        #expect(filter.admits(Self.rule("orders")) && filter.admits(Self.rule("orders", pattern: "PREFIXED")))
        #expect(!filter.admits(Self.rule("orders", operation: "WRITE")) && !filter.admits(Self.rule("h", type: "GROUP")))
        #expect(filter.admits(Self.rule("g", type: "GROUP", operation: "ALL")))
        #expect(AccessRuleFilter.everything.admits(Self.rule("x")))
        #expect(!AccessRuleFilter().admits(Self.rule("x")))
    }

    @Test func rulesAreFilteredByPrefixAndPatternAndLeftOut() throws {
        let filter = try AccessRuleFilter(
            parsing: #"""
                {"aclFilters":[
                  {"resourceFilter":{"resourceType":"topic","name":"orders\\.(eu|us)","nameMatch":"REGEX"}},
                  {"accessFilter":{"principal":"User:team-","principalMatch":"PREFIXED"}},
                  {"resourceFilter":{"name":"*"},"filterType":"EXCLUDE"},
                  {"accessFilter":{"operation":"write"},"filterType":"exclude"}]}
                """#, key: "k")
        #expect(filter.admits(Self.rule("orders.eu")) && !filter.admits(Self.rule("orders.as")))
        #expect(!filter.admits(Self.rule("orders.eu", operation: "WRITE")))
        var rule = Self.rule("x")
        rule.principal = "User:team-1"
        #expect(filter.admits(rule))
        rule.resourceName = "*"
        #expect(!filter.admits(rule), "an asterisk is the name of what holds for all topics")
    }

    @Test func excludedSettingsOfTopicsAreNamesAndPatterns() throws {
        var settings = try LinkSettings(["bootstrap.servers": "a:1"])
        #expect(settings.excludesTopicConfig("min.insync.replicas") && !settings.excludesTopicConfig("retention.ms"))
        settings = try LinkSettings(["bootstrap.servers": "a:1", "topic.config.sync.exclude": "retention.ms, local\\..*"])
        #expect(settings.excludesTopicConfig("retention.ms") && settings.excludesTopicConfig("local.retention.ms"))
        #expect(!settings.excludesTopicConfig("retention.bytes") && !settings.excludesTopicConfig("min.insync.replicas"))
        #expect(throws: LinkSettingError.self) {
            try LinkSettings(["bootstrap.servers": "a:1", "topic.config.sync.exclude": "a(?=b)"])
        }
    }

    @Test(arguments: [
        ("[]", "one member, aclFilters"), (#"{"aclFilters":[{"resource":{}}]}"#, "'resource'"), ("{", "not JSON"),
        (#"{"aclFilters":[{"resourceFilter":{"resourceType":"topics"}}]}"#, "resourceType 'topics'"),
        (#"{"aclFilters":[{"accessFilter":{"operation":"reed"}}]}"#, "operation 'reed'"),
        (#"{"aclFilters":[{"accessFilter":{"principal":""}}]}"#, "empty principal"),
        (#"{"aclFilters":["x"]}"#, "no object"),
        (#"{"aclFilters":[{"resourceFilter":{"name":"a","nameMatch":"GLOB"}}]}"#, "LITERAL, PREFIXED or REGEX"),
        (#"{"aclFilters":[{"filterType":"MAYBE"}]}"#, "INCLUDE or EXCLUDE"),
    ])
    func mistakesInFiltersAreNamed(_ text: String, _ words: String) throws {
        let error = #expect(throws: LinkSettingError.self) { try AccessRuleFilter(parsing: text, key: "acl.filters") }
        #expect(error?.key == "acl.filters")
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test func quotasAreFilteredByAnyOfTheirParts() throws {
        let filter = try NameFilter(
            parsing: #"""
                {"quotaFilters":[{"name":"user:","patternType":"PREFIXED"},{"name":"client-id:private","filterType":"EXCLUDE"}]}
                """#, subject: .quotas, key: "k")
        #expect(filter.admits(oneOf: ["client-id:x", "user:alice"]))
        #expect(!filter.admits(oneOf: ["client-id:private", "user:alice"]))
        #expect(!filter.admits(oneOf: ["ip:10.0.0.1"]))
    }

    @Test func settingsAreOffUntilAskedFor() throws {
        let settings = try LinkSettings(["bootstrap.servers": "a:1"]).synchronization
        for kind in SynchronizedKind.allCases { #expect(settings.schedule(of: kind)?.isEnabled != true) }
        #expect(!settings.deletesGroups && !settings.allowsPlaintextCredentials && settings.replicationFactor == -1)
        let chosen = try LinkSettings([
            "bootstrap.servers": "a:1", "acl.sync.enable": "true", "acl.sync.ms": "1000",
            "user.filters": #"{"userFilters":[{"name":"a"}]}"#,
            "mirror.replication.factor": "2",
        ]).synchronization
        #expect(chosen.accessRules == SynchronizationSchedule(isEnabled: true, milliseconds: 1_000))
        #expect(chosen.userFilter.admits("a") && !chosen.userFilter.admits("b"))
        #expect(chosen.replicationFactor == 2)
        for (key, value) in [
            ("acl.sync.ms", "999"), ("mirror.replication.factor", "0"), ("quota.filters", "{}"), ("user.sync.enable", "1"),
        ] {
            let error = #expect(throws: LinkSettingError.self) { try LinkSettings(["bootstrap.servers": "a:1", key: value]) }
            #expect(error?.key == key)
        }
    }
}

struct SynchronizedItemsTests {
    private static let id = KafkaUUID.random()

    private static func coordinator() throws -> LinkCoordinator {
        var coordinator = LinkCoordinator()
        let link = LinkDefinition(
            name: "dr", id: id, configuration: ["bootstrap.servers": "a:1"], sourceClusterID: "source", createdAt: 1)
        for record in try coordinator.createLink(link) { coordinator.replay(record) }
        return coordinator
    }

    private static func items(_ names: [String]) -> [SynchronizationPlan.Item] { names.map { .init(name: $0, value: "v") } }

    @Test func whatALinkPutHereIsKnownAfterReplaying() throws {
        var coordinator = try Self.coordinator()
        var items = Self.items(["a", "b"])
        items.append(.init(name: "c", value: "2", former: "1"))
        let records = try coordinator.claim(items, .quotas, link: "dr", id: Self.id)
        #expect(records.count == 3)
        for record in records {
            let (key, value) = record.encoded
            #expect(LinkRecord(key: key, value: value) == record)
            coordinator.replay(record)
        }
        #expect(try coordinator.claim(items, .quotas, link: "dr", id: Self.id).isEmpty, "said again it changes nothing")
        #expect(coordinator.image.synchronized.of("dr", .quotas)["c"] == SynchronizedItem.Value("2", former: "1"))
        #expect(coordinator.image.synchronized.of("dr", .acls).isEmpty)
        for record in try coordinator.forget(["a", "nobody's"], .quotas, link: "dr", id: Self.id) {
            let (key, value) = record.encoded
            #expect(value == nil && LinkRecord(key: key, value: nil) == record)
            coordinator.replay(record)
        }
        #expect(coordinator.image.synchronized.of("dr", .quotas).keys.sorted() == ["b", "c"])
        // Other brokers have no use for it.
        #expect(LinkImage(coordinator.image.json).synchronized == SynchronizedItems())
    }

    @Test func aLinkOfTheSameNameHasNothingToDoWithIt() throws {
        var coordinator = try Self.coordinator()
        for record in try coordinator.claim(Self.items(["a"]), .acls, link: "dr", id: Self.id) { coordinator.replay(record) }
        let other = coordinator
        #expect(throws: LinkRefusal.self) { try other.claim(Self.items(["b"]), .acls, link: "dr", id: .random()) }
        #expect(throws: LinkRefusal.self) { try other.forget(["a"], .acls, link: "dr", id: .random()) }
        let removal = try coordinator.deleteLink("dr", force: false)
        #expect(removal.contains(.synchronizedRemoved(.init(link: "dr", kind: .acls, name: "a"))), "nothing stays in the log for ever")
        for record in removal { coordinator.replay(record) }
        #expect(coordinator.image.synchronized == SynchronizedItems())
    }

    @Test func thereIsABound() throws {
        var coordinator = try Self.coordinator()
        let names = (0...SynchronizedItems.maximumCount).map { "n\($0)" }
        let records = try coordinator.claim(Self.items(names), .offsets, link: "dr", id: Self.id)
        #expect(records.count == SynchronizedItems.maximumCount)
        for record in records { coordinator.replay(record) }
        #expect(try coordinator.claim(Self.items(["more"]), .offsets, link: "dr", id: Self.id).isEmpty)
        #expect(try coordinator.deleteLink("dr", force: false).count == SynchronizedItems.maximumCount + 1)
    }
}

struct SynchronizationStatusTests {
    @Test func newsIsRecordedAtOnceAndTimeOnceAMinute() throws {
        let link = LinkDefinition(
            name: "l", id: KafkaUUID.random(), configuration: ["bootstrap.servers": "a:1"], sourceClusterID: "", createdAt: 0)
        var coordinator = LinkCoordinator()
        for record in try coordinator.createLink(link) { coordinator.replay(record) }
        var status = SynchronizationStatus()
        (status.lastRun, status.lastSuccess, status.created) = (1_000, 1_000, 3)
        func note() -> Int {
            let records = coordinator.note(status, .acls, link: "l", id: link.id)
            for record in records {
                let (key, value) = record.encoded
                #expect(LinkRecord(key: key, value: value) == record)
                coordinator.replay(record)
            }
            return records.count
        }
        #expect(note() == 1 && note() == 0)
        (status.lastRun, status.lastSuccess) = (60_000, 60_000)
        #expect(note() == 0)
        (status.lastRun, status.lastSuccess) = (61_000, 61_000)
        #expect(note() == 1)
        status.problem = String(repeating: "x", count: 5_000)
        #expect(note() == 1 && note() == 0)
        #expect(coordinator.image.synchronizations[SynchronizationKey(link: "l", kind: .acls)]?.problem.count == 2_000)
        #expect(coordinator.note(status, .acls, link: "l", id: .random()).isEmpty, "another link of that name")
        for record in try coordinator.deleteLink("l", force: false) { coordinator.replay(record) }
        #expect(coordinator.image.synchronizations.isEmpty)
    }
}
