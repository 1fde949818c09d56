// Formatting: what has to be on disk before a node may start for the first time, as Kafka's storage tool writes it.
import ClusterMetadata
import Consensus
import Controlling
import KafkaRecords
import OrderedCollections
import Primitives
import Storage

/// How the voters of the metadata quorum become known.
public enum FormatQuorum: Sendable {
    /// `controller.quorum.voters` names them.
    case staticVoters
    /// This node alone, with room for more (`--standalone`): its id, and where its controller listens.
    case standalone([Voter.Endpoint])
    /// These (`--initial-controllers`), each with the id that its directory shall have.
    case initialControllers([Voter])
    /// Those that the running quorum will have (`--no-initial-controllers`).
    case noInitialControllers

    var isDynamic: Bool {
        if case .staticVoters = self { return false }
        return true
    }
}

/// One formatting of a node's directories.
public struct MetadataFormat: Sendable {
    public var nodeID: NodeID
    public var clusterID: String
    /// `log.dirs`.
    public var directories: [String]
    /// `metadata.log.dir`, one of `directories`.
    public var metadataDirectory: String
    public var quorum = FormatQuorum.staticVoters
    /// `--release-version`; the default for new clusters when nil.
    public var releaseVersion: MetadataVersion?
    /// `--feature`.
    public var featureLevels: OrderedDictionary<String, Int16> = [:]
    /// `--ignore-formatted`: leave formatted directories as they are instead of failing.
    public var ignoresFormatted = false
    /// `--add-scram`.
    public var scramCredentials: [UserScramCredentialRecord] = []

    public init(nodeID: NodeID, clusterID: String, directories: [String], metadataDirectory: String? = nil) {
        self.nodeID = nodeID
        self.clusterID = clusterID
        self.directories = directories
        self.metadataDirectory = metadataDirectory ?? directories.first ?? ""
    }

    /// What was formatted, for people.
    public struct Report: Sendable {
        /// Directories formatted now.
        public var formatted: [String] = []
        /// Directories that had been formatted before.
        public var skipped: [String] = []
        public var metadataVersion: MetadataVersion
        /// All feature levels, metadata.version and kraft.version among them.
        public var featureLevels: OrderedDictionary<String, Int16>
    }

    /// Whether a directory has been formatted.
    public static func isFormatted(_ directory: String) -> Bool { MetadataFiles.exists("\(directory)/\(MetaProperties.fileName)") }

    /// Writes `bootstrap.checkpoint`, for initial voters the first snapshot, and at last `meta.properties`, which makes a directory
    /// formatted: a crash in between leaves it unformatted, and formatting it again is safe.
    public func run() throws(MetadataStorageError) -> Report {
        if nodeID < 0 { throw .invalidOption("You must specify a valid non-negative node ID.") }
        if clusterID.isEmpty { throw .invalidOption("You must specify the cluster id.") }
        if directories.isEmpty { throw .invalidOption("You must specify at least one directory to format") }
        guard directories.contains(metadataDirectory) else {
            throw .invalidOption(
                "The specified metadata log directory, \(metadataDirectory) was not one of the given directories: \(directories)")
        }
        let version = try effectiveVersion()
        let levels = try effectiveLevels(version)
        var report = Report(metadataVersion: version, featureLevels: levels)
        for directory in directories {
            if try hasProperties(directory) { report.skipped.append(directory) } else { report.formatted.append(directory) }
        }
        if let first = report.skipped.first, !ignoresFormatted {
            throw .invalidOption(
                "Log directory \(first) is already formatted. Use --ignore-formatted to ignore this directory and format the others.")
        }
        for directory in report.formatted { try format(directory, version: version, levels: levels) }
        return report
    }

    private func hasProperties(_ directory: String) throws(MetadataStorageError) -> Bool {
        do throws(StorageError) {
            guard let properties = try MetaProperties(path: "\(directory)/\(MetaProperties.fileName)") else { return false }
            if let other = properties.clusterID, other != clusterID {
                throw StorageError.foreignDirectory(path: directory, reason: "it belongs to cluster \(other), not \(clusterID)")
            }
            if let other = properties.nodeID, other != nodeID {
                throw StorageError.foreignDirectory(path: directory, reason: "it belongs to node \(other), not \(nodeID)")
            }
            return true
        } catch {
            throw .storage(error)
        }
    }

    private func effectiveVersion() throws(MetadataStorageError) -> MetadataVersion {
        guard let level = featureLevels[MetadataVersion.featureName] else { return releaseVersion ?? .defaultForNewClusters }
        if releaseVersion != nil {
            throw .invalidOption("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")
        }
        guard let version = MetadataVersion(rawValue: level) else {
            throw .invalidOption(
                "No MetadataVersion with feature level \(level). Valid feature levels are from \(MetadataVersion.minimum.rawValue) to "
                    + "\(MetadataVersion.latest.rawValue).")
        }
        return version
    }

    private func effectiveLevels(_ version: MetadataVersion) throws(MetadataStorageError) -> OrderedDictionary<String, Int16> {
        var levels: OrderedDictionary<String, Int16> = [MetadataVersion.featureName: version.rawValue]
        for (name, level) in featureLevels where name != MetadataVersion.featureName {
            guard Feature.named(name) != nil else {
                let known = Feature.all.map(\.name).joined(separator: ", ")
                throw .invalidOption("Unsupported feature: \(name). Supported features are: \(known)")
            }
            levels[name] = level
        }
        for feature in Feature.all where levels[feature.name] == nil {
            levels[feature.name] = feature.name == FeatureName.kraft ? (quorum.isDynamic ? 1 : 0) : feature.defaultLevel(for: version)
        }
        let kraft = levels[FeatureName.kraft] ?? 0
        if kraft == 0 && quorum.isDynamic {
            throw .invalidOption(
                "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, "
                    + "--initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing the "
                    + "--feature flag for kraft.version.")
        }
        if kraft > 0 && !quorum.isDynamic {
            throw .invalidOption(
                "Cannot set kraft.version to \(kraft) unless controller.quorum.voters is empty and one of the flags --standalone, "
                    + "--initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try using one of "
                    + "--standalone, --initial-controllers, or --no-initial-controllers and removing controller.quorum.voters.")
        }
        for feature in Feature.all {
            if let problem = feature.problem(settingLevel: levels[feature.name] ?? 0, beside: levels) { throw .invalidOption(problem) }
        }
        if !scramCredentials.isEmpty && !version.supportsScram {
            throw .invalidOption("SCRAM is only supported in metadata.version \(MetadataVersion.scram) or later.")
        }
        return levels
    }

    private func format(
        _ directory: String, version: MetadataVersion, levels: OrderedDictionary<String, Int16>
    ) throws(MetadataStorageError) {
        var directoryID = KafkaUUID.random()
        do throws(StorageError) { try MetadataFiles.createDirectory(directory) } catch { throw .storage(error) }
        if directory == metadataDirectory {
            let voters = initialVoters(directoryID)
            if let own = voters?.voters[nodeID] { directoryID = own.directoryID }
            try writeBootstrap(directory, version: version, levels: levels)
            if let voters { try writeFirstSnapshot(directory, voters) }
        }
        let properties = MetaProperties(clusterID: clusterID, nodeID: nodeID, directoryID: directoryID)
        do throws(StorageError) {
            try properties.write(to: "\(directory)/\(MetaProperties.fileName)")
        } catch {
            throw .storage(error)
        }
    }

    private func initialVoters(_ directoryID: KafkaUUID) -> VoterSet? {
        switch quorum {
        case .staticVoters, .noInitialControllers: nil
        case .standalone(let endpoints): VoterSet([Voter(id: nodeID, directoryID: directoryID, endpoints: endpoints)])
        case .initialControllers(let voters): VoterSet(voters)
        }
    }

    private func writeBootstrap(
        _ directory: String, version: MetadataVersion, levels: OrderedDictionary<String, Int16>
    ) throws(MetadataStorageError) {
        var bootstrap = BootstrapMetadata(version: version, features: levels)
        bootstrap.records += scramCredentials.map { VersionedRecord(.userScramCredential($0)) }
        try MetadataSnapshotFile.write(
            to: "\(directory)/\(MetadataLog.bootstrapFileName)", header: [.snapshotHeader(SnapshotHeaderRecord())], epoch: 0,
            timestamp: SystemClock.now(), mode: 0o644
        ) { (body) throws(MetadataStorageError) in
            for record in bootstrap.records { try body(record) }
        }
    }

    private func writeFirstSnapshot(_ directory: String, _ voters: VoterSet) throws(MetadataStorageError) {
        let partition = MetadataLog.partitionPath(directory)
        do throws(StorageError) { try MetadataFiles.createDirectory(partition) } catch { throw .storage(error) }
        let now = SystemClock.now()
        try MetadataSnapshotFile.write(
            to: "\(partition)/\(SnapshotID.bootstrap.fileName)",
            header: Quorum.snapshotHeader(lastContainedTimestamp: now, kraftVersion: 1, voters: voters), epoch: 0, timestamp: now
        ) { _ in
        }
    }
}
