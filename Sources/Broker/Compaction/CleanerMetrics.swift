// What the cleaner's state means as gauges.
import Observability
import Primitives
import Storage

extension BrokerServices {
    /// The cleaner's gauges; nil when `log.cleaner.enable` is false.
    func cleanerState() -> KafkaState.Cleaner? {
        guard configuration.cleaner.isEnabled else { return nil }
        let known = cleaner.snapshot
        var gauges = KafkaState.Cleaner()
        gauges.maxDirtyPercent = Int(known.dirtiestRatio * 100)
        gauges.timeSinceLastRunMilliseconds = max(0, SystemClock.monotonicMilliseconds() - known.lastLook)
        var read = 0
        var written = 0
        for run in known.lastRuns.values {
            read += run.statistics.bytesRead
            written += run.statistics.bytesWritten
            gauges.maxBufferUtilizationPercent = max(gauges.maxBufferUtilizationPercent, Int(run.statistics.mapUtilization * 100))
            gauges.maxCleanTimeSeconds = max(gauges.maxCleanTimeSeconds, Int(run.seconds))
            gauges.maxCompactionDelaySeconds = max(gauges.maxCompactionDelaySeconds, Int(run.delayMilliseconds / 1000))
        }
        gauges.recopyPercent = read == 0 ? 0 : written * 100 / read
        for directory in directories.directories {
            var entry = KafkaState.Cleaner.Directory(path: directory.path)
            for (name, uncleanable) in known.uncleanable where uncleanable.directory == directory.path {
                entry.uncleanablePartitionCount += 1
                let now = SystemClock.now()
                let candidate = try? partitions.partition(name)?.withLog { log throws(StorageError) in try log.cleaningCandidate(now: now) }
                entry.uncleanableBytes += candidate?.cleanableBytes ?? 0
            }
            gauges.directories.append(entry)
        }
        return gauges
    }
}
