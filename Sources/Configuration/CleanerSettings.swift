// The log cleaner's settings; the keys `log.cleaner.*` that are no defaults of topics.

/// How compacted logs are cleaned. All but `isEnabled` are dynamic.
public struct CleanerSettings: Sendable, Equatable {
    /// `log.cleaner.enable`.
    public var isEnabled: Bool
    /// `log.cleaner.threads`; 0 cleans nothing.
    public var threads: Int
    /// `log.cleaner.dedupe.buffer.size`: memory for the maps of keys, of all threads together.
    public var dedupeBufferBytes: Int
    /// `log.cleaner.io.buffer.load.factor`: how full a map may get.
    public var dedupeBufferLoadFactor: Double
    /// `log.cleaner.io.buffer.size`: buffers for reading and writing, of all threads together.
    public var ioBufferBytes: Int
    /// `log.cleaner.io.max.bytes.per.second`, reading and writing together.
    public var ioMaxBytesPerSecond: Double
    /// `log.cleaner.backoff.ms`.
    public var backoffMilliseconds: Int64
}

extension ConfigurationReader {
    func readCleaner() -> CleanerSettings {
        CleanerSettings(
            isEnabled: boolean("log.cleaner.enable"), threads: size("log.cleaner.threads"),
            dedupeBufferBytes: size("log.cleaner.dedupe.buffer.size"),
            dedupeBufferLoadFactor: value("log.cleaner.io.buffer.load.factor")?.number ?? 0.9,
            ioBufferBytes: size("log.cleaner.io.buffer.size"),
            ioMaxBytesPerSecond: value("log.cleaner.io.max.bytes.per.second")?.number ?? .infinity,
            backoffMilliseconds: integer("log.cleaner.backoff.ms"))
    }
}
