// A second look at a configuration that loads: what works on this machine but will not work for its clients, or will hurt later.
// `martlet doctor` prints what is found here. Pure: the resolution of names is handed in.
import ConfigDefinitions

/// Something that `doctor` has to say about a configuration.
public struct ConfigurationFinding: Sendable, Hashable, CustomStringConvertible {
    public enum Severity: Int, Sendable, Comparable {
        /// Does not work.
        case error = 0
        /// Works, but will surprise.
        case warning = 1
        /// Could be better.
        case advice = 2

        public static func < (left: Severity, right: Severity) -> Bool { left.rawValue < right.rawValue }

        /// The word for tables and JSON.
        public var name: String {
            switch self {
            case .error: "error"
            case .warning: "warning"
            case .advice: "advice"
            }
        }
    }

    public var severity: Severity
    /// A short name for scripts, such as `advertised-loopback`.
    public var code: String
    /// The key to change.
    public var key: String
    /// What is wrong and what it leads to.
    public var message: String
    /// What to do.
    public var remedy: String

    public var description: String { "\(severity.name): \(key): \(message). \(remedy)." }
}

/// Checks of a whole configuration.
public enum ConfigurationChecks {
    /// All findings, the gravest first.
    ///
    /// - Parameter resolve: the addresses of a host name as text, nil when it has none.
    public static func check(
        _ configuration: BrokerConfiguration, resolve: (String) -> [String]?
    ) -> [ConfigurationFinding] {
        var findings: [ConfigurationFinding] = []
        for listener in configuration.advertisedListeners {
            findings += advertised(listener, configuration, resolve)
        }
        findings += sharedAddresses(configuration)
        findings += ports(configuration)
        findings += directories(configuration)
        findings += replication(configuration)
        findings += limits(configuration)
        // A stable order: by severity, then as found.
        return findings.enumerated().sorted { ($0.element.severity, $0.offset) < ($1.element.severity, $1.offset) }.map(\.element)
    }

    // MARK: Advertised listeners

    private static func advertised(
        _ listener: Listener, _ configuration: BrokerConfiguration, _ resolve: (String) -> [String]?
    ) -> [ConfigurationFinding] {
        let key = "advertised.listeners"
        guard let bound = configuration.listeners.first(where: { $0.name == listener.name }) else { return [] }
        if listener.isWildcard {
            return [
                ConfigurationFinding(
                    severity: .error, code: "advertised-wildcard", key: key, message: "\(listener) is no address to connect to",
                    remedy: "Advertise \(listener.name) under a name or address that its clients reach")
            ]
        }
        if isLoopback(bound.host) {
            // Only this machine can connect, and then any name of it will do.
            return isLoopback(listener.host) || listener.host == bound.host
                ? [] : resolution(listener, resolve, severity: .error)
        }
        if isLoopback(listener.host) {
            return [
                ConfigurationFinding(
                    severity: .warning, code: "advertised-loopback", key: key,
                    message: "\(bound) takes connections from other machines but tells their clients to connect to \(listener.host), "
                        + "which is themselves",
                    remedy: "Advertise \(listener.name) under this machine's name or address, or bind it to 127.0.0.1")
            ]
        }
        var findings = resolution(listener, resolve, severity: .error)
        if findings.isEmpty, let addresses = resolve(listener.host), addresses.allSatisfy(isLoopback) {
            findings.append(
                ConfigurationFinding(
                    severity: .warning, code: "advertised-resolves-to-loopback", key: key,
                    message: "\(listener.host) is \(addresses.joined(separator: ", ")) here, so this node could not reach itself "
                        + "the way its clients should",
                    remedy: "Check the entry of \(listener.host) in /etc/hosts"))
        }
        if !configuration.layers.fixed.keys.contains(key), bound.isWildcard {
            findings.append(
                ConfigurationFinding(
                    severity: .advice, code: "advertised-by-default", key: key,
                    message: "\(listener.name) is advertised as \(listener.host), this machine's own name, because nothing else is said",
                    remedy: "Set advertised.listeners if clients know this machine by another name"))
        }
        return findings
    }

    private static func resolution(
        _ listener: Listener, _ resolve: (String) -> [String]?, severity: ConfigurationFinding.Severity
    ) -> [ConfigurationFinding] {
        if AddressFamily(listener.host) != .name { return [] }
        if let addresses = resolve(listener.host), !addresses.isEmpty { return [] }
        return [
            ConfigurationFinding(
                severity: severity, code: "advertised-unresolvable", key: "advertised.listeners",
                message: "\(listener) names a host that cannot be resolved here",
                remedy: "Use a name that resolves on every client, or an address")
        ]
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || (host.hasPrefix("127.") && AddressFamily(host) == .version4)
    }

    private static func sharedAddresses(_ configuration: BrokerConfiguration) -> [ConfigurationFinding] {
        var findings: [ConfigurationFinding] = []
        var seen: [Listener] = []
        for listener in configuration.advertisedListeners where listener.port != 0 {
            if let other = seen.first(where: { $0.host == listener.host && $0.port == listener.port }) {
                findings.append(
                    ConfigurationFinding(
                        severity: .warning, code: "advertised-twice", key: "advertised.listeners",
                        message: "\(other.name) and \(listener.name) are both advertised as \(listener.host):\(listener.port), but only "
                            + "one of them can be reached there",
                        remedy: "Give each its own host or port, unless a proxy tells them apart"))
            }
            seen.append(listener)
        }
        return findings
    }

    private static func ports(_ configuration: BrokerConfiguration) -> [ConfigurationFinding] {
        let key = "martlet.admin.listeners"
        var findings: [ConfigurationFinding] = []
        for admin in configuration.adminListeners {
            for listener in configuration.listeners where listener.port == admin.port && admin.port != 0 {
                let adminIsWildcard = admin.host.isEmpty || admin.host == "0.0.0.0" || admin.host == "::"
                guard listener.isWildcard || adminIsWildcard || listener.host == admin.host else { continue }
                findings.append(
                    ConfigurationFinding(
                        severity: .error, code: "port-used-twice", key: key,
                        message: "\(admin) and \(listener) want the same port", remedy: "Choose another port for one of them"))
            }
            if !isLoopback(admin.host) {
                findings.append(
                    ConfigurationFinding(
                        severity: .advice, code: "admin-open", key: key,
                        message: "\(admin) serves metrics to everyone who can connect, without asking who they are",
                        remedy: "Make sure that a firewall or network policy lets only the monitoring in"))
            }
        }
        return findings
    }

    // MARK: Directories

    private static func directories(_ configuration: BrokerConfiguration) -> [ConfigurationFinding] {
        let key = "log.dirs"
        var findings: [ConfigurationFinding] = []
        var paths = configuration.storage.logDirectories
        if !paths.contains(configuration.metadataLog.directory) { paths.append(configuration.metadataLog.directory) }
        for (index, path) in paths.enumerated() {
            if ["/tmp", "/var/tmp", "/dev/shm", "/run"].contains(where: { path == $0 || path.hasPrefix($0 + "/") }) {
                findings.append(
                    ConfigurationFinding(
                        severity: .warning, code: "directory-temporary", key: key,
                        message: "\(path) is emptied when the machine restarts, or before",
                        remedy: "Choose a directory on a disk that keeps its data, such as /var/lib/martlet"))
            }
            if !path.hasPrefix("/") {
                findings.append(
                    ConfigurationFinding(
                        severity: .advice, code: "directory-relative", key: key,
                        message: "\(path) depends on the directory that the node is started in", remedy: "Write the path from the root"))
            }
            for (otherIndex, other) in paths.enumerated() where otherIndex != index && isInside(path, other) {
                findings.append(
                    ConfigurationFinding(
                        severity: .error, code: "directory-nested", key: key, message: "\(path) lies inside of \(other)",
                        remedy: "Give each entry a directory of its own"))
            }
        }
        return findings
    }

    private static func isInside(_ path: String, _ other: String) -> Bool {
        let parent = other.hasSuffix("/") ? other : other + "/"
        return path.hasPrefix(parent) && path.utf8.count > parent.utf8.count
    }

    // MARK: Replication and limits

    private static func replication(_ configuration: BrokerConfiguration) -> [ConfigurationFinding] {
        // How many brokers there are is known only for certain where a single voter is a broker itself: others may still join it.
        guard configuration.controllerQuorumVoters.count == 1, configuration.processRoles == [.broker, .controller] else { return [] }
        let nodes = 1
        var findings: [ConfigurationFinding] = []
        if Int(configuration.offsets.topicReplicationFactor) > nodes {
            findings.append(
                ConfigurationFinding(
                    severity: .error, code: "replication-unreachable", key: "offsets.topic.replication.factor",
                    message: "\(configuration.offsets.topicReplicationFactor) replicas do not fit on \(count(nodes)), so the offsets topic "
                        + "cannot be created and no consumer group can work",
                    remedy: "Set it to \(nodes)"))
        }
        if Int(configuration.topics.defaultReplicationFactor) > nodes {
            findings.append(
                ConfigurationFinding(
                    severity: .error, code: "replication-unreachable", key: "default.replication.factor",
                    message: "\(configuration.topics.defaultReplicationFactor) replicas do not fit on \(count(nodes)), so topics cannot be "
                        + "created without a count of their own",
                    remedy: "Set it to \(nodes)"))
        }
        let defaults = configuration.topics.defaults
        if defaults.minInSyncReplicas > Int(configuration.topics.defaultReplicationFactor) {
            findings.append(
                ConfigurationFinding(
                    severity: .error, code: "in-sync-unreachable", key: "min.insync.replicas",
                    message:
                        "topics get \(configuration.topics.defaultReplicationFactor) replicas but need \(defaults.minInSyncReplicas) in "
                        + "sync, so every write with acks=all fails",
                    remedy: "Lower it, or raise default.replication.factor"))
        }
        if defaults.uncleanLeaderElectionEnable {
            findings.append(
                ConfigurationFinding(
                    severity: .warning, code: "unclean-election", key: "unclean.leader.election.enable",
                    message: "a replica that misses acknowledged records may become the leader, which loses them for good",
                    remedy: "Leave it false and set it for single topics that can bear the loss"))
        }
        return findings
    }

    private static func count(_ nodes: Int) -> String { nodes == 1 ? "one node" : "\(nodes) nodes" }

    private static func limits(_ configuration: BrokerConfiguration) -> [ConfigurationFinding] {
        var findings: [ConfigurationFinding] = []
        let defaults = configuration.topics.defaults
        if defaults.maxMessageBytes > configuration.network.socketRequestMaxBytes {
            findings.append(
                ConfigurationFinding(
                    severity: .error, code: "message-larger-than-request", key: "message.max.bytes",
                    message: "batches of \(defaults.maxMessageBytes) bytes never arrive, because requests may have "
                        + "\(configuration.network.socketRequestMaxBytes) (socket.request.max.bytes)",
                    remedy: "Raise socket.request.max.bytes above message.max.bytes"))
        }
        if defaults.deletes, defaults.retentionBytes >= 0, Int64(defaults.segmentBytes) > defaults.retentionBytes {
            findings.append(
                ConfigurationFinding(
                    severity: .advice, code: "segment-larger-than-retention", key: "log.retention.bytes",
                    message: "only whole segments are deleted, and one has up to \(defaults.segmentBytes) bytes, so partitions keep more "
                        + "than the \(defaults.retentionBytes) asked for",
                    remedy: "Lower log.segment.bytes to a fraction of it"))
        }
        if defaults.deletes, defaults.retentionBytes < 0, defaults.retentionMilliseconds < 0 {
            findings.append(
                ConfigurationFinding(
                    severity: .warning, code: "retention-unlimited", key: "log.retention.ms",
                    message: "with neither a time nor a size, records are kept until the disk is full",
                    remedy: "Set log.retention.ms or log.retention.bytes"))
        }
        if defaults.flushMessages < 1000 {
            findings.append(
                ConfigurationFinding(
                    severity: .advice, code: "flush-often", key: "log.flush.interval.messages",
                    message: "flushing to disk every \(defaults.flushMessages) records makes every producer wait for the disk",
                    remedy: "Leave it unset and rely on replicas, or use log.flush.interval.ms"))
        }
        return findings
    }
}
