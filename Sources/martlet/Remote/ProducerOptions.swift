// What producing commands have in common: compression, acknowledgements, batches.
import ArgumentParser
import MartletClient

enum AcknowledgementOption: String, CaseIterable, ExpressibleByArgument {
    case none = "0"
    case leader = "1"
    case all

    init?(argument: String) {
        self.init(rawValue: argument == "-1" ? "all" : argument)
    }
}

struct ProducerOptions: ParsableArguments {
    @Option(name: [.customShort("z"), .long], help: "none, gzip, snappy, lz4 or zstd, with a level if need be, such as zstd:6.")
    var compression = "none"

    @Option(help: "Who must have a record before it counts: 0 nobody, 1 the leader, all the in-sync replicas.")
    var acks = AcknowledgementOption.all

    @Option(help: "Milliseconds that a batch waits for more records.")
    var linger = 5

    @Option(help: "Bytes at which a batch is full.")
    var batchSize = 64 << 10

    func validate() throws {
        _ = try parsedCompression()
        if linger < 0 || batchSize <= 0 { throw ValidationError("--linger is not negative and --batch-size is positive.") }
    }

    func configuration(_ cluster: ClusterOptions) throws -> ProducerConfiguration {
        var configuration = ProducerConfiguration(try cluster.clientConfiguration())
        configuration.compression = try parsedCompression()
        configuration.acknowledgements = acks == .all ? .all : acks == .leader ? .leader : .none
        configuration.isIdempotent = acks == .all
        configuration.linger = .milliseconds(linger)
        configuration.batchSize = batchSize
        configuration.maximumRequestSize = max(configuration.maximumRequestSize, batchSize + 4096)
        configuration.bufferMemory = max(configuration.bufferMemory, 4 * configuration.maximumRequestSize)
        configuration.deliveryTimeout = .milliseconds(Int64(max(cluster.timeout, 1) * 1000))
        configuration.maximumBlockTime = configuration.deliveryTimeout
        return configuration
    }

    private func parsedCompression() throws -> Compression {
        let parts = compression.split(separator: ":", maxSplits: 1)
        guard let name = parts.first, let type = CompressionType(name: String(name)) else {
            let names = CompressionType.allCases.map(\.name).joined(separator: ", ")
            throw ValidationError("--compression '\(compression)' is none of \(names).")
        }
        guard parts.count == 2 else { return Compression(type) }
        guard let level = Int(parts[1]), Compression.levels(of: type)?.contains(level) == true else {
            let range = Compression.levels(of: type).map { "levels \($0.lowerBound) to \($0.upperBound)" } ?? "no levels"
            throw ValidationError("--compression '\(compression)': \(type) has \(range).")
        }
        return Compression(type, level: level)
    }
}
