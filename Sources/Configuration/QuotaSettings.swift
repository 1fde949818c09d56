// Over which time quotas are measured; the keys `quota.window.*` and `controller.quota.window.*`.

/// The windows of quotas. Fixed at the start, as in Kafka.
public struct QuotaSettings: Sendable, Equatable {
    /// `quota.window.num`: samples kept.
    public var windows: Int
    /// `quota.window.size.seconds`, in milliseconds: the length of one.
    public var windowMilliseconds: Int64
    /// `controller.quota.window.num`.
    public var controllerWindows: Int
    /// `controller.quota.window.size.seconds`, in milliseconds.
    public var controllerWindowMilliseconds: Int64
}

extension ConfigurationReader {
    func readQuotas() -> QuotaSettings {
        QuotaSettings(
            windows: size("quota.window.num"), windowMilliseconds: integer("quota.window.size.seconds") * 1000,
            controllerWindows: size("controller.quota.window.num"),
            controllerWindowMilliseconds: integer("controller.quota.window.size.seconds") * 1000)
    }
}
