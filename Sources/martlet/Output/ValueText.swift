// Times, sizes and bytes as people read them.
import Glibc
import NIOCore
import Primitives

/// Times in UTC, as of ISO 8601, with milliseconds.
enum TimeText {
    /// `2026-11-21T04:43:17.123Z`; the bare number for what no calendar has.
    static func of(_ timestamp: Timestamp) -> String {
        guard timestamp >= 0 else { return String(timestamp) }
        var seconds = time_t(timestamp / 1000)
        var parts = tm()
        guard gmtime_r(&seconds, &parts) != nil, parts.tm_year < 8100 else { return String(timestamp) }
        return padded(Int(parts.tm_year) + 1900, 4) + "-" + padded(Int(parts.tm_mon) + 1, 2) + "-" + padded(Int(parts.tm_mday), 2) + "T"
            + padded(Int(parts.tm_hour), 2) + ":" + padded(Int(parts.tm_min), 2) + ":" + padded(Int(parts.tm_sec), 2) + "."
            + padded(Int(timestamp % 1000), 3) + "Z"
    }

    /// Reads milliseconds since 1970, or `2026-11-21`, `2026-11-21T04:43`, `2026-11-21T04:43:17.123Z`: always UTC.
    static func parse(_ text: String) -> Timestamp? {
        if let number = Int64(text) { return number }
        let halves = text.split(whereSeparator: { $0 == "T" || $0 == " " })
        guard let day = halves.first, halves.count <= 2 else { return nil }
        let date = day.split(separator: "-").map { Int32($0) }
        guard date.count == 3, let year = date[0], let month = date[1], let dayOfMonth = date[2], (1970...9999).contains(year),
            (1...12).contains(month), (1...31).contains(dayOfMonth)
        else { return nil }
        var parts = tm()
        parts.tm_year = year - 1900
        parts.tm_mon = month - 1
        parts.tm_mday = dayOfMonth
        var milliseconds: Int64 = 0
        if halves.count == 2 {
            var clock = halves[1]
            if clock.hasSuffix("Z") { clock = clock.dropLast() }
            let fields = clock.split(separator: ":")
            guard (2...3).contains(fields.count), let hour = Int32(fields[0]), let minute = Int32(fields[1]), (0..<24).contains(hour),
                (0..<60).contains(minute)
            else { return nil }
            parts.tm_hour = hour
            parts.tm_min = minute
            if fields.count == 3 {
                guard let seconds = Double(fields[2]), seconds >= 0, seconds < 61 else { return nil }
                milliseconds = Int64((seconds * 1000).rounded())
            }
        }
        return Int64(timegm(&parts)) * 1000 + milliseconds
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

/// Numbers of bytes.
enum SizeText {
    /// `512 B`, `1.5 KiB`, `20 MiB`.
    static func of(_ bytes: some BinaryInteger) -> String {
        var value = Double(bytes)
        if value < 0 { return "-" }
        for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
            if value < 1024 || unit == "TiB" { return "\(NumberText.rounded(value, unit == "B" ? 0 : 1)) \(unit)" }
            value /= 1024
        }
        return ""
    }
}

/// Numbers with a fixed number of places, which the standard library does not write.
enum NumberText {
    /// Without zeros at the end.
    static func rounded(_ value: Double, _ places: Int) -> String {
        var text = fixed(value, places)
        guard text.contains(".") else { return text }
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }

    /// With all of its places.
    static func fixed(_ value: Double, _ places: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        let scale = (0..<places).reduce(1.0) { scale, _ in scale * 10 }
        let scaled = Int64((value.magnitude * scale).rounded())
        let sign = value < 0 && scaled != 0 ? "-" : ""
        guard places > 0 else { return sign + String(scaled) }
        let whole = scaled / Int64(scale)
        let digits = String(scaled % Int64(scale))
        return sign + "\(whole)." + String(repeating: "0", count: places - digits.utf8.count) + digits
    }
}

/// Bytes of records, which are mostly text but need not be.
enum ByteText {
    /// A quoted string where the bytes are UTF-8, `0x…` where they are not, `null` where there are none.
    static func of(_ bytes: ByteBuffer?) -> String {
        guard let bytes else { return "null" }
        if let text = string(bytes) { return JSONValue.string(text).text() }
        let digits = Array("0123456789abcdef")
        var text = "0x"
        for byte in bytes.readableBytesView {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return text
    }

    /// A member for JSON: `name` with the text, or `nameBase64` for bytes that are not UTF-8.
    static func member(_ name: String, _ bytes: ByteBuffer?) -> (String, JSONValue) {
        guard let bytes else { return (name, .null) }
        if let text = string(bytes) { return (name, .string(text)) }
        return (name + "Base64", .string(Base64.encode(bytes.readableBytesView)))
    }

    private static func string(_ bytes: ByteBuffer) -> String? {
        bytes.withUnsafeReadableBytes { String(validating: $0, as: UTF8.self) }
    }
}
