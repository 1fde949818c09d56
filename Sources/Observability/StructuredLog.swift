// Log lines for people and for machines: one line per event on standard error, `time LEVEL component message key=value …`, or JSON.
import Glibc
import Logging
import Synchronization

/// What all loggers of the process share: level, form, destination. Levels can be changed while the process runs.
public final class StructuredLog: Sendable {
    /// How a line looks.
    public enum Format: String, Sendable, CaseIterable {
        case text, json
    }

    private static let allLevels = Logger.Level.allCases

    private let format: Format
    private let level: Atomic<Int>
    /// By component, those that there is a logger for.
    private let components = Mutex<[String: ComponentLevel]>([:])
    private let output: @Sendable (String) -> Void

    /// - Parameter output: receives whole lines with their newline; standard error by default.
    public init(level: Logger.Level = .info, format: Format = .text, output: @escaping @Sendable (String) -> Void = writeToStandardError) {
        self.format = format
        self.level = Atomic(Self.allLevels.firstIndex(of: level) ?? 0)
        self.output = output
    }

    /// The least severe level that is written, for every logger that has no level of its own.
    public var minimumLevel: Logger.Level {
        get { Self.allLevels[level.load(ordering: .relaxed)] }
        set { level.store(Self.allLevels.firstIndex(of: newValue) ?? 0, ordering: .relaxed) }
    }

    /// A logger for one component, e.g. `network`.
    public func logger(_ component: String) -> Logger {
        let level = components.withLock { components in
            let level = components[component] ?? ComponentLevel()
            components[component] = level
            return level
        }
        return Logger(label: component) { StructuredLogHandler(log: self, component: $0, componentLevel: level) }
    }

    /// The name that stands for all components without a level of their own.
    public static let root = "root"

    /// The level in force of every component that there is a logger for, by name, the root's first.
    public var levels: [(name: String, level: Logger.Level)] {
        let root = minimumLevel
        let all = components.withLock { $0.map { (name: $0.key, level: $0.value.own ?? root) } }
        return [(Self.root, root)] + all.sorted { $0.name < $1.name }
    }

    /// Sets a component's level, or the root's; nil lets a component follow the root again. Without effect on components unknown.
    public func setLevel(_ level: Logger.Level?, of component: String) {
        if component == Self.root {
            if let level { minimumLevel = level }
        } else {
            components.withLock { $0[component]?.own = level }
        }
    }

    /// A component's own level, shared by its loggers: read for every message, so without a lock.
    final class ComponentLevel: Sendable {
        private static let none = -1
        private let index = Atomic<Int>(ComponentLevel.none)

        var own: Logger.Level? {
            get {
                let index = index.load(ordering: .relaxed)
                return index == Self.none ? nil : StructuredLog.allLevels[index]
            }
            set { index.store(newValue.flatMap { StructuredLog.allLevels.firstIndex(of: $0) } ?? Self.none, ordering: .relaxed) }
        }
    }

    /// Writes a line with one system call, so that lines of several threads do not mix.
    public static func writeToStandardError(_ line: String) {
        var line = line
        line.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let count = write(STDERR_FILENO, rest.baseAddress, rest.count)
                if count < 0 && errno == EINTR { continue }
                // Nobody reads standard error any more, or it is full: the server goes on without this line.
                guard count > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
            }
        }
    }

    func emit(level: Logger.Level, component: String, message: String, metadata: Logger.Metadata) {
        switch format {
        case .text: output(Self.textLine(level, component, message, metadata))
        case .json: output(Self.jsonLine(level, component, message, metadata))
        }
    }

    private static func textLine(_ level: Logger.Level, _ component: String, _ message: String, _ metadata: Logger.Metadata) -> String {
        var line = timestamp()
        line += " "
        line += label(of: level)
        line += component
        line += ": "
        appendOneLine(message, to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " "
            line += key
            line += "="
            let text = value.description
            if text.isEmpty || text.utf8.contains(where: { $0 <= 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "=") }) {
                JSONText.appendQuoted(text, to: &line)
            } else {
                line += text
            }
        }
        line += "\n"
        return line
    }

    private static func jsonLine(_ level: Logger.Level, _ component: String, _ message: String, _ metadata: Logger.Metadata) -> String {
        var json = JSONText()
        json.beginObject()
        json.field("time", timestamp())
        json.field("level", level.rawValue)
        json.field("component", component)
        json.field("message", message)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            json.field(["time", "level", "component", "message"].contains(key) ? "\(key)_" : key, value.description)
        }
        json.endObject()
        return json.text + "\n"
    }

    private static func appendOneLine(_ text: String, to line: inout String) {
        guard text.utf8.contains(where: { $0 < 0x20 }) else {
            line += text
            return
        }
        // A client chooses some of this text: it must not be able to start a line of its own.
        for scalar in text.unicodeScalars {
            if scalar.value < 0x20 {
                line += " "
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
    }

    private static func label(of level: Logger.Level) -> String {
        switch level {
        case .trace: return "TRACE "
        case .debug: return "DEBUG "
        case .info: return "INFO  "
        case .notice: return "NOTE  "
        case .warning: return "WARN  "
        case .error: return "ERROR "
        case .critical: return "FATAL "
        }
    }

    private static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        var seconds = now.tv_sec
        gmtime_r(&seconds, &parts)
        func digits(_ value: Int, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
        }
        let date = "\(digits(Int(parts.tm_year) + 1900, 4))-\(digits(Int(parts.tm_mon) + 1, 2))-\(digits(Int(parts.tm_mday), 2))"
        let time = "\(digits(Int(parts.tm_hour), 2)):\(digits(Int(parts.tm_min), 2)):\(digits(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(digits(now.tv_nsec / 1_000_000, 3))Z"
    }
}

/// swift-log's side of ``StructuredLog``.
struct StructuredLogHandler: LogHandler {
    private let log: StructuredLog
    private let component: String
    private let componentLevel: StructuredLog.ComponentLevel
    private var ownLevel: Logger.Level?
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(log: StructuredLog, component: String, componentLevel: StructuredLog.ComponentLevel) {
        self.log = log
        self.component = component
        self.componentLevel = componentLevel
    }

    var logLevel: Logger.Level {
        get { ownLevel ?? componentLevel.own ?? log.minimumLevel }
        set { ownLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() {
            all.merge(provided) { _, new in new }
        }
        if let given = event.metadata {
            all.merge(given) { _, new in new }
        }
        if let error = event.error {
            all["error"] = "\(error)"
        }
        log.emit(level: event.level, component: component, message: event.message.description, metadata: all)
    }
}
