// `kafka-consumer-groups --reset-offsets`: works out new offsets of groups without members, and sets them if wanted.
import Configuration
import MartletClient
import Primitives

struct OffsetReset {
    static let scenarios = [
        "to-offset", "shift-by", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "from-file",
    ]

    let options: ToolOptions
    let admin: AdminClient

    private typealias Offsets = [(partition: TopicPartition, offset: Int64)]

    func run() async throws {
        guard Self.scenarios.contains(where: { options.has($0) }) else {
            throw CommandFailure(
                "Option '[reset-offsets]' requires one of the following scenarios: ["
                    + Self.scenarios.map { "[\($0)]" }.joined(separator: ", ")
                    + "]")
        }
        let groups = try await ConsumerGroupsTool.named(options, admin)
        var resets: [(group: String, offsets: Offsets)] = []
        for group in groups {
            let state = try await state(of: group)
            guard ["Empty", "Dead"].contains(state) else {
                Terminal.print(
                    "\nError: Assignments can only be reset if the group '\(group)' is inactive, but the current state is \(state).")
                resets.append((group, []))
                continue
            }
            let offsets = try await offsets(group).sorted { $0.partition < $1.partition }
            if options.has("execute"), !offsets.isEmpty {
                // Topic ids have to be known for the newest version of the request.
                try await admin.cluster.refreshMetadata(topics: Set(offsets.map(\.partition.topic)))
                let values = offsets.map { ($0.partition, CommittedOffset($0.offset)) }
                try await admin.alterGroupOffsets(group, Dictionary(values, uniquingKeysWith: { _, last in last }))
            }
            resets.append((group, offsets))
        }
        show(resets)
    }

    private func state(of group: String) async throws(KafkaError) -> String {
        do throws(KafkaError) {
            return try await GroupDetails.of(group, admin).state
        } catch {
            if error.codeName == "GROUP_ID_NOT_FOUND" { return "Dead" }
            throw error
        }
    }

    private func show(_ resets: [(group: String, offsets: Offsets)]) {
        if options.has("export") {
            let isOne = options.values("group").count == 1
            var text = ""
            for (group, offsets) in resets {
                for (partition, offset) in offsets {
                    text += (isOne ? "" : CSV.field(group) + ",") + "\(CSV.field(partition.topic)),\(partition.partition),\(offset)\n"
                }
            }
            return Terminal.print(text)
        }
        func line(_ cells: [String]) -> String {
            "\n" + JavaFormat.row([(cells[0], 30), (cells[1], 30), (cells[2], 10), (cells[3], 15)])
        }
        var text = resets.isEmpty ? "" : line(["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"])
        for (group, offsets) in resets {
            for (partition, offset) in offsets { text += line([group, partition.topic, "\(partition.partition)", "\(offset)"]) }
        }
        Terminal.print(text)
    }

    // MARK: New offsets

    private func partitions(_ group: String) async throws -> [TopicPartition] {
        if options.has("all-topics") { return try await admin.listGroupOffsets(group).keys.sorted() }
        if options.has("topic") { return try await TopicArguments.partitions(options.values("topic"), admin) }
        guard options.has("from-file") else {
            throw CommandFailure("One of the reset scopes should be defined: --all-topics, --topic.")
        }
        return []
    }

    private func offsets(_ group: String) async throws -> Offsets {
        let partitions = try await partitions(group)
        if let offset = options.integer("to-offset") {
            return try await withinLog(partitions.map { ($0, Int64(offset)) })
        }
        if options.has("to-earliest") { return try await listed(partitions, .earliest) }
        if options.has("to-latest") { return try await listed(partitions, .latest) }
        if let text = options.value("to-datetime") { return try await atTime(partitions, try DateText.milliseconds(text)) }
        if let text = options.value("by-duration") {
            return try await atTime(partitions, SystemClock.now() - (try DateText.durationMilliseconds(text)))
        }
        if options.has("from-file") { return try await withinLog(try planned(group)) }
        let committed = try await admin.listGroupOffsets(group)
        if let shift = options.integer("shift-by") {
            let wanted = try partitions.map { partition in
                guard let current = committed[partition] else {
                    throw CommandFailure("Cannot shift offset for partition \(partition) since there is no current committed offset")
                }
                return (partition, current.offset + Int64(shift))
            }
            return try await withinLog(wanted)
        }
        let known = partitions.compactMap { partition in committed[partition].map { (partition, $0.offset) } }
        return known + (try await listed(partitions.filter { committed[$0] == nil }, .latest))
    }

    private func listed(_ partitions: [TopicPartition], _ query: OffsetQuery) async throws(KafkaError) -> Offsets {
        try await admin.listOffsets(partitions.map { ($0, query) }).map { outcome throws(KafkaError) in
            (outcome.item, try outcome.result.get().offset)
        }
    }

    /// The first offsets at a time, or the ends where no record is so late.
    private func atTime(_ partitions: [TopicPartition], _ time: Int64) async throws(KafkaError) -> Offsets {
        var found = try await listed(partitions, .timestamp(time))
        let without = found.filter { $0.offset < 0 }.map(\.partition)
        for partition in without {
            Terminal.print(
                "\nWarn: Partition \(partition.partition) from topic \(partition.topic) is empty. Falling back to latest known offset.")
        }
        found.removeAll { $0.offset < 0 }
        return found + (try await listed(without, .latest))
    }

    /// Offsets that the logs do not have become the nearest ones.
    private func withinLog(_ wanted: Offsets) async throws(KafkaError) -> Offsets {
        let partitions = wanted.map(\.partition)
        let starts = Dictionary(
            try await listed(partitions, .earliest).map { ($0.partition, $0.offset) }, uniquingKeysWith: { first, _ in first })
        let ends = Dictionary(
            try await listed(partitions, .latest).map { ($0.partition, $0.offset) }, uniquingKeysWith: { first, _ in first })
        return wanted.map { partition, offset in
            if let end = ends[partition], offset > end {
                Terminal.complain(
                    "WARN New offset (\(offset)) is higher than latest offset for topic partition \(partition). Value will be set to \(end)"
                )
                return (partition, end)
            }
            if let start = starts[partition], offset < start {
                Terminal.complain(
                    "WARN New offset (\(offset)) is lower than earliest offset for topic partition \(partition). Value will be set to "
                        + "\(start)")
                return (partition, start)
            }
            return (partition, offset)
        }
    }

    /// What the file says for a group: `topic,partition,offset` for one group, with the group before it for several.
    private func planned(_ group: String) throws -> Offsets {
        let path = options.value("from-file") ?? ""
        guard case .success(let text) = ConfigurationFile.text(path) else {
            throw CommandFailure("java.nio.file.NoSuchFileException: \(path)")
        }
        var offsets: Offsets = []
        for line in text.split(whereSeparator: \.isNewline) {
            var fields = line.split(separator: ",").map { String($0).trimmingBlanks.filter { $0 != "\"" } }
            if fields.count == 4 {
                guard fields.removeFirst() == group else { continue }
            }
            guard fields.count == 3, let partition = Int32(fields[1]), let offset = Int64(fields[2]) else {
                throw CommandFailure("\(path): '\(line)' is not of the form topic,partition,offset")
            }
            offsets.append((TopicPartition(fields[0], partition), offset))
        }
        if offsets.isEmpty { Terminal.print("\nError: No reset plan for group \(group) found") }
        return offsets
    }
}

private enum CSV {
    /// Quoted where it has to be.
    static func field(_ text: String) -> String {
        text.contains(where: { $0 == "," || $0 == "\"" }) ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }
}

/// Times as Kafka's tools take them.
enum DateText {
    /// `2026-11-28T10:15:30.000`, in UTC unless `Z`, `+01:00` or `+0100` says otherwise.
    static func milliseconds(_ text: String) throws -> Int64 {
        let mistake = CommandFailure(
            "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")
        guard let middle = text.firstIndex(of: "T") else { throw mistake }
        let clock = text[text.index(after: middle)...]
        var shift: Int64 = 0
        var end = text.endIndex
        if let sign = clock.lastIndex(where: { $0 == "+" || $0 == "-" }) {
            let digits = clock[clock.index(after: sign)...].filter(\.isNumber)
            guard digits.count == 4 || digits.count == 2, let number = Int64(digits) else { throw mistake }
            let minutes = digits.count == 2 ? number * 60 : number / 100 * 60 + number % 100
            shift = (clock[sign] == "-" ? -minutes : minutes) * 60_000
            end = sign
        }
        guard let time = TimeText.parse(String(text[..<end])) else {
            throw CommandFailure("java.text.ParseException: Unparseable date: \"\(text)\"")
        }
        return time - shift
    }

    /// `P1DT2H3M4.5S`
    static func durationMilliseconds(_ text: String) throws -> Int64 {
        let mistake = CommandFailure("Text cannot be parsed to a Duration")
        var rest = text.uppercased()[...]
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest.removeFirst() }
        guard rest.popFirst() == "P", !rest.isEmpty else { throw mistake }
        var seconds = 0.0
        var isTime = false
        var number = ""
        for character in rest {
            switch character {
            case "T" where number.isEmpty && !isTime: isTime = true
            case "0"..."9", ".", "-", "+": number.append(character)
            default:
                let units: [Character: Double] = isTime ? ["H": 3600, "M": 60, "S": 1] : ["D": 86_400]
                guard let unit = units[character], let value = Double(number) else { throw mistake }
                seconds += value * unit
                number = ""
            }
        }
        guard number.isEmpty else { throw mistake }
        return Int64((isNegative ? -seconds : seconds) * 1000)
    }
}
