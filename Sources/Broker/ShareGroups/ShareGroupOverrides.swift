// What is in force for one share group: the broker's settings with the group's own over them.
import ClusterMetadata
import Configuration
import KafkaWire
import Primitives
import ShareCoordination
import Storage

/// Where a group begins to read a partition (`share.auto.offset.reset`).
enum ShareAutoOffsetReset: Equatable, Sendable {
    case earliest
    case latest
    /// At what was written this long ago.
    case duration(milliseconds: Int64)

    init(_ text: String) {
        let text = text.lowercased()
        if text == "earliest" {
            self = .earliest
        } else if text.hasPrefix("by_duration:"), let milliseconds = Self.milliseconds(text.dropFirst("by_duration:".count)) {
            self = .duration(milliseconds: milliseconds)
        } else {
            self = .latest
        }
    }

    /// Reads an ISO 8601 duration of days, hours, minutes and seconds, `pNdTnHnMn.nS`; nil for anything else.
    private static func milliseconds(_ text: Substring) -> Int64? {
        guard text.first == "p" else { return nil }
        var seconds = 0.0
        var number = ""
        var isTime = false
        for character in text.dropFirst() {
            switch character {
            case "0"..."9", ".", "-", "+": number.append(character)
            case "t" where number.isEmpty: isTime = true
            case "d", "h", "m", "s":
                guard let value = Double(number), isTime != (character == "d") else { return nil }
                seconds += value * (character == "d" ? 86_400 : character == "h" ? 3_600 : character == "m" ? 60 : 1)
                number = ""
            default: return nil
            }
        }
        guard number.isEmpty, seconds >= 0, seconds < 1e12 else { return nil }
        return Int64(seconds * 1_000)
    }
}

/// A share group's settings in force.
struct ShareGroupOverrides: Sendable {
    var partition = SharePartitionSettings()
    var autoOffsetReset = ShareAutoOffsetReset.latest
    var isolation = ReadIsolation.highWatermark

    init(_ settings: ShareGroupSettings, _ values: (String) -> String?) {
        func integer(_ key: String, _ standard: Int64) -> Int64 { values(key).flatMap { Int64($0) } ?? standard }
        partition.lockDurationMilliseconds = integer("share.record.lock.duration.ms", settings.recordLockDurationMilliseconds)
        partition.deliveryCountLimit = Int16(clamping: integer("share.delivery.count.limit", Int64(settings.deliveryCountLimit)))
        partition.maximumInFlight = Int(clamping: integer("share.partition.max.record.locks", Int64(settings.partitionMaxRecordLocks)))
        partition.isRenewEnabled = values("share.renew.acknowledge.enable")?.lowercased() != "false"
        autoOffsetReset = ShareAutoOffsetReset(values("share.auto.offset.reset") ?? "latest")
        if values("share.isolation.level")?.lowercased() == "read_committed" { isolation = .lastStable }
    }
}

extension BrokerServices {
    /// What is in force for a share group at the moment.
    func shareSettings(of group: String) -> ShareGroupOverrides {
        let values = image.configurations.values(of: ConfigResource(.group, group))
        return ShareGroupOverrides(configurationInForce.current.shareGroups) { values[$0] }
    }
}
