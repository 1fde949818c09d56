// What all brokers said of the mirrors that they lead, and topics as links see them.
import Primitives

/// A topic of either side of a link.
public struct LinkedTopic: Sendable, Hashable {
    public var name: String
    public var id: TopicID
    public var partitions: Int

    public init(name: String, id: TopicID, partitions: Int) {
        self.name = name
        self.id = id
        self.partitions = partitions
    }
}

/// The progress of mirrors, as far as their leaders answered.
public struct MirrorSurvey: Sendable {
    public struct Entry: Sendable {
        /// Under which its leader answered; -1 when unknown.
        public var leaderEpoch: LeaderEpoch
        public var logEndOffset: Offset
        /// What is committed ends there; what is behind it goes with the leader.
        public var highWatermark: Offset
        /// The source's high watermark; -1 while it is not known.
        public var sourceEndOffset: Offset
        /// How long ago the mirror had everything; nil if it never had.
        public var caughtUpAgoMilliseconds: Int64?
        /// Nothing of the source's is open any more.
        public var isEnded: Bool
        /// Why the mirror cannot go on by itself; nil when it can.
        public var failure: String?
        /// Why nothing is fetched at the moment, for people; empty when all is well.
        public var problem: String
        /// The image that its leader went by.
        public var revision: Offset

        public init(
            leaderEpoch: LeaderEpoch = -1, logEndOffset: Offset, highWatermark: Offset, sourceEndOffset: Offset = -1,
            caughtUpAgoMilliseconds: Int64? = nil,
            isEnded: Bool = false, failure: String? = nil, problem: String = "", revision: Offset
        ) {
            self.leaderEpoch = leaderEpoch
            self.logEndOffset = logEndOffset
            self.highWatermark = highWatermark
            self.sourceEndOffset = sourceEndOffset
            self.caughtUpAgoMilliseconds = caughtUpAgoMilliseconds
            self.isEnded = isEnded
            self.failure = failure
            self.problem = problem
            self.revision = revision
        }
    }

    public var entries: [TopicPartition: Entry]

    public init(_ entries: [TopicPartition: Entry] = [:]) {
        self.entries = entries
    }

    /// Reads brokers' answers.
    public init(_ answers: [JSONValue]) {
        entries = [:]
        for answer in answers {
            let revision = answer["revision"]?.integerValue ?? -1
            for value in answer["partitions"]?.arrayValue ?? [] {
                guard let topic = value["topic"]?.stringValue, let number = value["partition"]?.integerValue else { continue }
                let partition = TopicPartition(topic, Int32(clamping: number))
                let epoch = LeaderEpoch(clamping: value["leaderEpoch"]?.integerValue ?? -1)
                // A broker that has just come back may take itself for a leader that it was.
                if let known = entries[partition], known.leaderEpoch > epoch { continue }
                entries[partition] = Entry(
                    leaderEpoch: epoch, logEndOffset: value["logEndOffset"]?.integerValue ?? 0,
                    highWatermark: value["highWatermark"]?.integerValue ?? -1,
                    sourceEndOffset: value["sourceEndOffset"]?.integerValue ?? -1,
                    caughtUpAgoMilliseconds: value["caughtUpAgoMs"]?.integerValue, isEnded: value["isEnded"]?.boolValue ?? false,
                    failure: value["failure"]?.stringValue, problem: value["problem"]?.stringValue ?? "", revision: revision)
            }
        }
    }

    /// Whether something holds for every partition of a topic; it does not where a leader did not answer.
    public func holds(_ topic: LinkedTopic, _ condition: (Entry) -> Bool) -> Bool {
        (0..<topic.partitions).allSatisfy { entries[TopicPartition(topic.name, Int32($0))].map(condition) ?? false }
    }
}
