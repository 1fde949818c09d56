// `martlet produce TOPIC`: a record for each line.
import ArgumentParser
import MartletClient
import NIOCore
import Primitives
import Synchronization

struct ProduceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "produce", abstract: "Write each line of standard input, or of a file, as a record.",
        discussion: """
              echo 'hello' | martlet produce greetings
              martlet produce orders --file orders.txt --key-separator : --header source=import --compression zstd

            Ctrl-C ends it in an orderly way: whole lines read so far are written, and the process ends with status 0.
            """)

    @Argument(help: "The topic. A broker that creates topics by itself makes it when it is missing.")
    var topic: String

    @Option(name: .shortAndLong, help: "Read lines from this file instead of standard input.", completion: .file())
    var file: String?

    @Option(name: .shortAndLong, help: "What stands between key and value in each line; without it records have no keys.")
    var keySeparator: String?

    @Option(name: [.customShort("H"), .long], help: "A header for every record, name=value. May be given several times.")
    var header: [Assignment] = []

    @Flag(help: "An empty value is a tombstone (null) instead of an empty value.")
    var emptyAsNull = false

    @Option(name: .shortAndLong, help: "Write into this partition; otherwise the key decides, or chance.")
    var partition: Int32?

    @Option(name: .shortAndLong, help: "At most this many records a second.")
    var rate: Double?

    @OptionGroup var producing: ProducerOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let rate, !(1e-3...1e9).contains(rate) { throw ValidationError("--rate is from 0.001 to 1000000000 records a second.") }
        if keySeparator == "" { throw ValidationError("--key-separator is not empty.") }
        if let partition, partition < 0 { throw ValidationError("--partition is not negative.") }
    }

    func run() async throws {
        let producer: KafkaProducer = try await cluster.explaining { try KafkaProducer(try producing.configuration(cluster)) }
        defer { producer.abort() }
        let tally = Tally()
        try await cluster.explaining {
            _ = try await producer.cluster.connection(to: .bootstrap)
            // A topic that the broker makes by itself is there in no time; one that it does not make is not worth a long wait.
            _ = try await producer.cluster.topic(topic, allowAutoCreation: true, timeout: .seconds(min(cluster.timeout, 3)))
            Interruption.watch()
            do {
                try await produce(producer, tally)
                try await producer.flush()
            } catch {
                // What was read before the mistake is written, and said to be, so that it can be mended and the rest be sent.
                try? await producer.flush()
                Terminal.complain(Self.summary(tally.written.records, topic))
                throw error
            }
        }
        if let error = tally.firstError { throw CommandFailure(cluster.explanation(of: error)) }
        let written = tally.written
        if output.json {
            Terminal.print(
                JSONValue.object([("topic", .string(topic)), ("records", .whole(written.records)), ("bytes", .whole(written.bytes))]).text()
            )
        } else if Terminal.showsProgress || Interruption.isSignalled {
            Terminal.complain(Self.summary(written.records, topic))
        }
    }

    private static func summary(_ count: Int, _ topic: String) -> String {
        "\(count) record\(count == 1 ? "" : "s") written to \(topic)."
    }

    private func produce(_ producer: KafkaProducer, _ tally: Tally) async throws {
        var lines = try LineReader(file)
        let separator = keySeparator.map { Array($0.utf8) }
        let headers = RecordHeaders(header.map { RecordHeader($0.name, $0.value) })
        var progress = Progress(isWanted: file != nil)
        var pace = Pace(perSecond: rate)
        var count = 0
        while !Interruption.isWanted, let line = try lines.next() {
            count += 1
            let (key, value) = try split(line, at: separator, number: count)
            try await pace.wait()
            if tally.firstError != nil { break }
            let bytes = (key?.readableBytes ?? 0) + (value?.readableBytes ?? 0)
            let record = ProducerRecord(topic: topic, partition: partition, keyBytes: key, valueBytes: value, headers: headers)
            do throws(KafkaError) {
                try await producer.enqueue(record) { tally.settle($0, bytes: bytes) }
            } catch {
                throw CommandFailure("line \(count): \(cluster.explanation(of: error))")
            }
            progress.update { "\(count) records, \(Int(Double(count) / $0)) a second" }
            // A person who types sees mistakes at once, not when the next line is done.
            if lines.wouldBlock { try await producer.flush() }
        }
        progress.finish()
    }

    private func split(_ line: ByteBuffer, at separator: [UInt8]?, number: Int) throws -> (ByteBuffer?, ByteBuffer?) {
        guard let separator else { return (nil, emptyAsNull && line.readableBytes == 0 ? nil : line) }
        var rest = line
        let view = line.readableBytesView
        guard let range = view.firstRange(of: separator) else {
            throw CommandFailure("line \(number) has no '\(keySeparator ?? "")' between key and value")
        }
        let key = rest.readSlice(length: range.lowerBound - view.startIndex)
        rest.moveReaderIndex(forwardBy: separator.count)
        return (key, emptyAsNull && rest.readableBytes == 0 ? nil : rest)
    }
}

/// Counts what became of records; filled from event loops.
final class Tally: Sendable {
    struct Written {
        var records = 0
        var bytes = 0
        var error: KafkaError?
    }

    private let state = Mutex(Written())

    func settle(_ result: Result<RecordMetadata, KafkaError>, bytes: Int) {
        state.withLock { state in
            switch result {
            case .success:
                state.records += 1
                state.bytes += bytes
            case .failure(let error): state.error = state.error ?? error
            }
        }
    }

    var written: Written { state.withLock { $0 } }
    var firstError: KafkaError? { written.error }
}

/// Spreads work evenly over time.
struct Pace {
    private let nanosecondsEach: Double?
    private let started = SystemClock.monotonicNanoseconds()
    private var count = 0.0

    init(perSecond rate: Double?) {
        nanosecondsEach = rate.map { 1e9 / $0 }
    }

    /// When the next piece is due, in monotonic nanoseconds.
    var nextDue: Int64 { started + Int64(count * (nanosecondsEach ?? 0)) }

    mutating func wait() async throws {
        guard nanosecondsEach != nil else { return }
        let pause = nextDue - SystemClock.monotonicNanoseconds()
        count += 1
        // Shorter pauses than this cost more than they say; the next ones make up for it.
        if pause > 500_000 { try await Task.sleep(nanoseconds: UInt64(pause)) }
    }
}
