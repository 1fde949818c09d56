// `simulate --scale PARTITIONS`: what metadata of that many partitions cost.
import Glibc
import Simulation

/// Seconds of CPU time of this process, which mean the same on a busy machine.
private func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// What this process occupies.
private func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    // Size and resident set, in pages.
    var line = [CChar](repeating: 0, count: 200)
    guard fgets(&line, 200, file) != nil else { return 0 }
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * sysconf(Int32(_SC_PAGESIZE))
}

/// Measures and prints; false when something went wrong.
func measureScale(partitions: Int, partitionsPerTopic: Int) -> Bool {
    do {
        let scale = MetadataScale(
            partitions: partitions, partitionsPerTopic: partitionsPerTopic, now: seconds, residentBytes: residentBytes)
        print("\(partitions) partitions, \(partitionsPerTopic) per topic")
        for figure in try scale.run() { print("    \(figure.name): \(Double(Int(figure.value * 1000)) / 1000) \(figure.unit)") }
        fflush(nil)
        return true
    } catch {
        print("error: \(error)")
        return false
    }
}
