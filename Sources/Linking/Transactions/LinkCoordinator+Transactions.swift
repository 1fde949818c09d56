// Which transactions of a source may be shown as committed. Decided where verbs are: a transaction is released before a fail-over is recorded,
// and then completed on all mirrors, or not at all, and then aborted on all.
import Collections
import Primitives

extension LinkCoordinator {
    /// Releases in one record.
    private static let releasesPerRecord = 500

    /// Records transactions as released whose mirrors all fetch still.
    ///
    /// - Returns: those that are.
    public func release(_ candidates: [TransactionRelease], link: String) -> (released: [DecisionID], records: [LinkRecord]) {
        guard image.links[link] != nil else { return ([], []) }
        let accepted = candidates.filter { candidate in
            candidate.markers.keys.allSatisfy { partition in
                guard let mirror = image.mirrors[partition.topic] else { return false }
                return mirror.link == link && mirror.state.fetches
            }
        }
        var number = transactions[link]?.nextNumber ?? 0
        var records: [LinkRecord] = []
        for start in stride(from: 0, to: accepted.count, by: Self.releasesPerRecord) {
            records.append(
                .transactionsReleased(link, number, Array(accepted[start..<min(start + Self.releasesPerRecord, accepted.count)])))
            number += 1
        }
        return (accepted.map(\.id), records)
    }

    /// Records how far decisions have been carried out everywhere, and lets go of the releases before.
    public func settle(_ positions: OrderedDictionary<Int32, Offset>, link: String) -> [LinkRecord] {
        guard image.links[link] != nil else { return [] }
        let known = transactions[link] ?? RecordedTransactions()
        var records: [LinkRecord] = known.positions == positions ? [] : [.transactionPositions(link, positions)]
        for (number, releases) in known.releases where releases.allSatisfy({ $0.id.offset < positions[$0.id.partition] ?? -1 }) {
            records.append(.releasesRemoved(link, number))
        }
        return records
    }

    /// What goes with a link.
    func forgetTransactions(of link: String) -> [LinkRecord] {
        guard let known = transactions[link] else { return [] }
        return known.releases.keys.map { .releasesRemoved(link, $0) } + [.transactionPositionsRemoved(link)]
    }

    mutating func replayTransactions(_ record: LinkRecord) {
        switch record {
        case .transactionsReleased(let link, let number, let releases):
            transactions[link, default: RecordedTransactions()].releases[number] = releases
        case .releasesRemoved(let link, let number): transactions[link]?.releases[number] = nil
        case .transactionPositions(let link, let positions):
            transactions[link, default: RecordedTransactions()].positions = positions
        case .transactionPositionsRemoved(let link): transactions[link] = nil
        case .link, .linkRemoved, .mirror, .mirrorRemoved, .fence, .fenceRemoved, .synchronized, .synchronizedRemoved, .synchronous,
            .synchronousRemoved:
            break
        case .synchronization, .synchronizationRemoved: break
        }
    }
}
