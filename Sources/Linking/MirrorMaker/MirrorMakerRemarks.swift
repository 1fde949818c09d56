// Why a link has no need of a setting of MirrorMaker's.

enum MirrorMakerRemarks {
    private static let checkpoints = "offsets are the same on both sides: there is nothing to translate, and there are no checkpoints"
    private static let syncs = "offsets are the same on both sides: there are no offset syncs"
    private static let heartbeats = "a link has no heartbeats: metrics and `martlet link describe` say whether it is well"
    private static let positions = "a mirror goes on from where it ends"
    private static let sharing = "this cluster's brokers do the work, each for the mirrors that it leads"
    private static let destination = "the destination is the cluster that the link is made in (-b)"
    private static let onlyOne = "as links do"

    private static let exact: [String: String] = [
        "enabled": "the link is for this flow",
        "exactly.once.source.support": "not needed: batches keep their offsets, so none comes twice",
        "offset.lag.max": syncs,
        "offset.flush.interval.ms": positions,
        "tasks.max": "\(sharing); num.cluster.link.fetchers adds connections",
        "group.id": sharing, "session.timeout.ms": sharing, "heartbeat.interval.ms": sharing,
        "dedicated.mode.enable.internal.rest": sharing,
        "use.defaults.from": onlyOne, "topic.filter.class": onlyOne, "group.filter.class": onlyOne, "config.property.filter.class": onlyOne,
        "forwarding.admin.class": onlyOne,
        "replication.policy.separator": "topics have the same names on both sides",
        "replication.policy.internal.topic.separator.enabled": "a link has no internal topics at either end but __cluster_links",
        "replication.provenance.headers.enable": "links know without headers where topics come from",
        "replication.provenance.lookback.records": "links know without headers where topics come from",
        "config.properties.exclude": "nothing is copied",
        "target.cluster.alias": destination,
    ]

    private static let families: [(prefix: String, remark: String)] = [
        ("emit.checkpoints.", checkpoints), ("checkpoints.", checkpoints), ("emit.offset-syncs.", syncs), ("offset-syncs.", syncs),
        ("emit.heartbeats.", heartbeats), ("heartbeats.", heartbeats), ("offset.storage.", positions),
        ("refresh.groups.", "groups are listed whenever their offsets are copied (consumer.offset.sync.ms)"),
        ("target.", destination), ("producer.", destination), ("source.producer.", "a link writes nothing to its source"),
        ("source.admin.", "a link has its own"), ("admin.", "a link has its own"),
        ("source.consumer.", "a link's fetchers have their own"), ("consumer.", "a link's fetchers have their own"),
    ]

    /// Nil for what is not known.
    static func needless(_ name: String) -> String? { exact[name] ?? families.first { name.hasPrefix($0.prefix) }?.remark }
}
