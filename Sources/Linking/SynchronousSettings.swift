// The settings of mirrors that the source waits for before it acknowledges.

extension LinkSettings {
    static let synchronousSettings = [
        LinkSetting(
            key: "mirror.acks", kind: .choice(["none", "all"]), defaultValue: "none",
            meaning: "all has the source answer producers with acks=all only when the mirror has their records too (RPO 0)."),
        LinkSetting(
            key: "mirror.sync.filters", kind: .filters(.topics), defaultValue: "",
            meaning: "Which topics mirror.acks=all is for, JSON, {\"topicFilters\":[…]}; all without."),
        LinkSetting(
            key: "mirror.sync.timeout.ms", kind: .integer(500...600_000), defaultValue: "10000",
            meaning: "How long the source waits for the mirror before it goes on without, until the mirror has caught up."),
    ]
}
