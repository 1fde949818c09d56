// Prometheus' text exposition format 0.0.4, written straight into bytes: a node with ten thousand partitions has megabytes of it.
import NIOCore

/// Writes metrics as Prometheus text. All samples of a family have to follow its header, which is the format's rule.
public struct PrometheusText {
    /// Prometheus' metric types.
    public enum MetricType: String, Sendable {
        case counter, gauge, summary, histogram, untyped
    }

    /// The text so far.
    public private(set) var buffer: ByteBuffer

    public init(capacity: Int = 16_384) {
        buffer = ByteBuffer()
        buffer.reserveCapacity(capacity)
    }

    /// Begins a family. Names are the caller's responsibility; the help text is escaped.
    public mutating func family(_ name: String, _ type: MetricType, help: String) {
        buffer.writeString("# HELP ")
        buffer.writeString(name)
        buffer.writeString(" ")
        writeEscaped(help, quotes: false)
        buffer.writeString("\n# TYPE ")
        buffer.writeString(name)
        buffer.writeString(" ")
        buffer.writeString(type.rawValue)
        buffer.writeString("\n")
    }

    /// One sample with an integer value.
    public mutating func sample(_ name: String, _ labels: KeyValuePairs<String, String>, _ value: Int) {
        writeHead(name, labels)
        buffer.writeString(String(value))
        buffer.writeString("\n")
    }

    /// One sample with a floating point value.
    public mutating func sample(_ name: String, _ labels: KeyValuePairs<String, String>, _ value: Double) {
        writeHead(name, labels)
        buffer.writeString(Self.text(of: value))
        buffer.writeString("\n")
    }

    /// One sample with labels that are not known before, such as those that clients bring.
    public mutating func sample(_ name: String, labels: [(name: String, value: String)], _ value: Double) {
        buffer.writeString(name)
        var separator = "{"
        for label in labels {
            buffer.writeString(separator)
            buffer.writeString(label.name)
            buffer.writeString("=\"")
            writeEscaped(label.value, quotes: true)
            buffer.writeString("\"")
            separator = ","
        }
        buffer.writeString(labels.isEmpty ? " " : "} ")
        buffer.writeString(Self.text(of: value))
        buffer.writeString("\n")
    }

    /// A family of one sample.
    public mutating func single(_ name: String, _ type: MetricType, help: String, _ value: Int) {
        family(name, type, help: help)
        sample(name, [:], value)
    }

    /// A family of one sample.
    public mutating func single(_ name: String, _ type: MetricType, help: String, _ value: Double) {
        family(name, type, help: help)
        sample(name, [:], value)
    }

    private mutating func writeHead(_ name: String, _ labels: KeyValuePairs<String, String>) {
        buffer.writeString(name)
        if !labels.isEmpty {
            var separator = "{"
            for (label, value) in labels {
                buffer.writeString(separator)
                buffer.writeString(label)
                buffer.writeString("=\"")
                writeEscaped(value, quotes: true)
                buffer.writeString("\"")
                separator = ","
            }
            buffer.writeString("}")
        }
        buffer.writeString(" ")
    }

    private mutating func writeEscaped(_ text: String, quotes: Bool) {
        let special = text.utf8.contains { $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "\n") || (quotes && $0 == UInt8(ascii: "\"")) }
        guard special else {
            buffer.writeString(text)
            return
        }
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): buffer.writeString("\\\\")
            case UInt8(ascii: "\n"): buffer.writeString("\\n")
            case UInt8(ascii: "\"") where quotes: buffer.writeString("\\\"")
            default: buffer.writeInteger(byte)
            }
        }
    }

    /// Prometheus' spelling of a floating point number.
    static func text(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return "\(value)"
    }
}
