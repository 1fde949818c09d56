// Which way records go over a link, and which side opens its connections.
import Collections
import Primitives

/// What a link is for on the cluster that has it.
public enum LinkMode: String, Sendable, Hashable, CaseIterable {
    /// Topics of the other cluster are mirrored here.
    case destination = "DESTINATION"
    /// The other cluster mirrors topics of this one, over connections that this one opens.
    case source = "SOURCE"
    /// Each may mirror topics of the other.
    case bidirectional = "BIDIRECTIONAL"

    /// Why nothing can be mirrored over a link of mode SOURCE.
    public static func noMirrors(over link: String) -> String {
        "link '\(link)' has link.mode=SOURCE: the other cluster mirrors over it, not this one"
    }
}

/// Who opens a link's connections.
public enum LinkConnectionMode: String, Sendable, Hashable, CaseIterable {
    case outbound = "OUTBOUND"
    /// The other cluster does; this one cannot reach it.
    case inbound = "INBOUND"
}

extension LinkSettings {
    static let modeSettings = [
        LinkSetting(
            key: "link.mode", kind: .choice(LinkMode.allCases.map(\.rawValue)), defaultValue: LinkMode.destination.rawValue,
            isMutable: false,
            meaning: "DESTINATION mirrors topics of the other cluster; SOURCE opens the connections over which the other cluster mirrors "
                + "topics of this one; BIDIRECTIONAL does both, and lets topics be reversed."),
        LinkSetting(
            key: "connection.mode", kind: .choice(LinkConnectionMode.allCases.map(\.rawValue)),
            defaultValue: LinkConnectionMode.outbound.rawValue, isMutable: false,
            meaning: "INBOUND waits for the other cluster's brokers to connect, where they cannot be reached from here."),
        LinkSetting(
            key: "link.local.principal", kind: .text, defaultValue: "",
            meaning: "Who the other cluster is here, over connections that this one opened; by default who made the link."),
    ]

    /// Whether mirrors of this cluster take their records over the link.
    public var mirrors: Bool { mode != .source }

    /// Whether this cluster opens connections for the other one to use.
    public var offersConnections: Bool { mode != .destination && connectionMode == .outbound }

    func checkModes() throws(LinkSettingError) {
        if mode == .source {
            guard connectionMode == .outbound else {
                throw LinkSettingError(
                    "connection.mode",
                    "is INBOUND with link.mode=SOURCE; a source that is connected to needs no link of its own, for the destination's has all"
                )
            }
            if autoCreatesMirrors || syncsOffsets {
                throw LinkSettingError("link.mode", "is SOURCE; what is mirrored is up to the link of the destination")
            }
        }
        guard connectionMode == .inbound else { return }
        if !bootstrapServers.isEmpty {
            throw LinkSettingError("bootstrap.servers", "is set with connection.mode=INBOUND; the other cluster connects, so leave it out")
        }
        if !clientProperties.isEmpty {
            throw LinkSettingError(
                clientProperties.keys[0], "is set with connection.mode=INBOUND; the other cluster connects and logs in, so leave it out")
        }
    }
}
