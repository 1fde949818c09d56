// What a doctor found: how grave it is, what is wrong, and what to do.
import Configuration
import Primitives

/// One finding.
struct Finding {
    enum Severity: Int, Comparable {
        case error
        case warning
        case hint

        static func < (left: Severity, right: Severity) -> Bool { left.rawValue < right.rawValue }
    }

    var severity: Severity
    /// For programs, such as `advertised-unreachable`.
    var code: String
    /// What it is about, such as `broker 1`.
    var subject: String
    var message: String
    var remedy: String
}

/// All findings, and how much was looked at.
struct Diagnosis {
    private(set) var findings: [Finding] = []
    /// What was looked at and found in order.
    private(set) var sound: [String] = []

    mutating func add(_ severity: Finding.Severity, _ code: String, _ subject: String, _ message: String, _ remedy: String) {
        findings.append(Finding(severity: severity, code: code, subject: subject, message: message, remedy: remedy))
    }

    mutating func add(_ other: Diagnosis) {
        findings += other.findings
        sound += other.sound
    }

    mutating func isSound(_ what: String) { sound.append(what) }

    var hasErrors: Bool { findings.contains { $0.severity == .error } }

    private var sorted: [Finding] {
        findings.enumerated().sorted { ($0.element.severity, $0.offset) < ($1.element.severity, $1.offset) }.map(\.element)
    }

    var text: String {
        var lines = sound.map { "ok       \($0)" }
        for finding in sorted {
            let name = "\(finding.severity)"
            lines.append(name + String(repeating: " ", count: max(1, 9 - name.count)) + "\(finding.subject): \(finding.message)")
            lines.append("         -> \(finding.remedy)")
        }
        let errors = findings.count { $0.severity == .error }
        let warnings = findings.count { $0.severity == .warning }
        lines.append("")
        lines.append(
            findings.isEmpty
                ? "Nothing is wrong."
                : "\(errors) error\(errors == 1 ? "" : "s"), \(warnings) warning\(warnings == 1 ? "" : "s"), "
                    + "\(findings.count - errors - warnings) hint(s).")
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        [
            "ok": .strings(sound),
            "findings": .array(
                sorted.map {
                    [
                        "severity": .string("\($0.severity)"), "code": .string($0.code), "subject": .string($0.subject),
                        "message": .string($0.message), "remedy": .string($0.remedy),
                    ]
                }),
        ]
    }
}
