// Raising kraft.version from 0 to 1 (KIP-853): voters of the configuration become voters of the log, with their directories, so that they
// can be changed from then on. What each voter is, it has told the leader by UpdateRaftVoter.
import KafkaRecords
import OrderedCollections
import Primitives

extension Quorum {
    /// The voters as they have told of themselves, where kraft.version 0 keeps it out of the log.
    private var knownVoters: VoterSet {
        let known = leading.volatileVoters ?? voters
        return known.updating(localVoter, ignoringDirectory: true) ?? known
    }

    /// Why this leader cannot raise kraft.version to that level, in words; nil when it can, or has.
    public func reasonAgainstKraftVersion(_ level: Int16) -> String? {
        if level == kraftVersion { return nil }
        if level < kraftVersion {
            return "Invalid upgrade of kraft.version from version \(kraftVersion) to \(level) because it is a downgrade"
        }
        guard level == 1 else { return "kraft.version \(level) is not known" }
        if role != .leader { return "this node is not the leader of the metadata quorum" }
        let known = knownVoters.voters.values
        let silent = known.filter { $0.directoryID == .zero }.map { "\($0.id)" }
        if !silent.isEmpty {
            return "Invalid upgrade of kraft.version to \(level) because the directories of the voters \(silent.joined(separator: ", ")) "
                + "are not known yet: they have to run and follow this leader"
        }
        let old = known.filter { !$0.supportedKraftVersions.contains(level) }.map { "\($0.id)" }
        if old.isEmpty { return nil }
        return "Invalid upgrade of kraft.version to \(level) because the voters \(old.joined(separator: ", ")) do not support it"
    }

    /// Appends the level and the voters, which are in force at once. Nothing happens when the level is in force already, or when there is
    /// a reason against it.
    public mutating func raiseKraftVersion(to level: Int16, now: Int64) -> [QuorumEffect] {
        step(now) { quorum in
            guard quorum.role == .leader, level > quorum.kraftVersion, quorum.reasonAgainstKraftVersion(level) == nil else { return }
            var version = KRaftVersionRecord()
            version.kRaftVersion = level
            let voters = quorum.knownVoters
            quorum.leading.volatileVoters = nil
            quorum.appendControl([.kraftVersion(version), .voters(voters.record())])
        }
    }
}
