// What becomes of one partition's records between fetching and writing: those that have been to the target, that are there already or that a
// transform does not let through are left out, the others are changed and told where they come from.
import Mirroring
import Primitives
import RecordBatches

/// What was done to records.
struct RewriteCounts: Hashable, Sendable {
    var changed = 0
    /// Left out by a transform.
    var dropped = 0
    /// Left out since they had been to the target.
    var returned = 0
    /// Left out since they were there already.
    var known = 0

    static func += (left: inout RewriteCounts, right: RewriteCounts) {
        left.changed += right.changed
        left.dropped += right.dropped
        left.returned += right.returned
        left.known += right.known
    }

    var leftOut: Int { dropped + returned + known }
}

/// A record that no transform could make sense of.
struct RefusedRecord: Hashable, Sendable {
    var offset: Int64
    var reason: String
}

/// Rewrites the records of one fetch of one partition.
struct RecordRewriting: Sendable {
    private let transforms: [RecordTransform]
    private let rule: ProvenanceRule?
    /// What the target has of each origin.
    private let known: KnownOrigins
    private(set) var counts = RewriteCounts()
    /// Offsets of origins that are passed on, by the way that they came.
    private(set) var passed: [RecordPath: OffsetRanges] = [:]
    private(set) var refused: RefusedRecord?

    /// Nil when nothing is to be done, so that batches can be passed on as they are.
    init?(_ transforms: [RecordTransform], _ rule: ProvenanceRule?, known: KnownOrigins) {
        guard !transforms.isEmpty || rule != nil else { return nil }
        (self.transforms, self.rule, self.known) = (transforms, rule, known)
    }

    /// - Returns: nil for a record that is left out, and after one that was refused.
    mutating func rewrite(_ record: Record) -> Record? {
        guard refused == nil else { return nil }
        var found: (path: RecordPath, offset: Int64)?
        switch rule?.judge(record.headers, offset: record.offset) {
        case .returns:
            counts.returned += 1
            return nil
        case .comes(let path, let offset):
            if known.has(path, offset) {
                counts.known += 1
                return nil
            }
            found = (path, offset)
        case nil: break
        }
        var record = record
        var isChanged = false
        for transform in transforms {
            do throws(TransformRefusal) {
                switch try transform.apply(&record) {
                case .unchanged: continue
                case .changed: isChanged = true
                case .dropped:
                    counts.dropped += 1
                    return nil
                }
            } catch {
                refused = RefusedRecord(offset: record.offset, reason: error.reason)
                return nil
            }
        }
        if isChanged { counts.changed += 1 }
        if let found { passed[found.path, default: OffsetRanges()].insert(found.offset...found.offset) }
        rule?.stamp(&record)
        return record
    }
}

extension RecordRewriting {
    /// What is passed on when the source was read from one offset to another. What it wrote first itself is without gaps then: markers and
    /// records of others in between are nothing that could come on another way.
    func passed(from start: Int64, to next: Int64) -> [RecordPath: OffsetRanges] {
        guard let rule, refused == nil, counts.dropped == 0, start < next else { return passed }
        var whole = passed
        whole[rule.ownPath, default: OffsetRanges()].insert(start...(next - 1))
        return whole
    }
}

extension CopiedBatch {
    /// The batch without records that turned out to be on the target already.
    ///
    /// - Parameter compression: nil for the batch's own.
    /// - Returns: nil when nothing is left.
    func without(
        _ known: KnownOrigins, _ rule: ProvenanceRule, _ compression: Compression?
    ) throws(RecordBatchError) -> (batch: CopiedBatch?, removed: Int) {
        let batch = try RecordBatch(bytes)
        let own = Compression(try batch.header.compression)
        let codec = compression ?? own
        var assembly = RecordAssembly(codec)
        var offsets = segments.flatMap { segment in (0..<segment.count).map { segment.upstream + $0 } }.makeIterator()
        var iterator = try batch.records()
        var removed = 0
        while var record = try iterator.next() {
            record.offset = offsets.next() ?? record.offset
            if let (path, offset) = rule.path(onTarget: record.headers), known.has(path, offset) {
                removed += 1
            } else {
                assembly.append(record)
            }
        }
        if removed == 0 { return (self, 0) }
        return (assembly.isEmpty ? nil : try assembly.finish(), removed)
    }
}
