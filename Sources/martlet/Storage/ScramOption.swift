// `format --add-scram`: users that exist from a cluster's first start, in the syntax of Kafka's storage tool (KIP-900).
import Authentication
import Controlling
import KafkaRecords
import Primitives

/// `SCRAM-SHA-256=[name=alice,password=alice-secret]`, with iterations, salt and saltedpassword if wanted.
enum ScramOption {
    private static let keys = ["name", "password", "iterations", "salt", "saltedpassword"]

    /// The record of the credential; the error repeats no password.
    static func record(_ argument: String) throws -> UserScramCredentialRecord {
        guard let sign = argument.firstIndex(of: "="), let mechanism = ScramMechanism(name: String(argument[..<sign])) else {
            throw CommandFailure("--add-scram begins with SCRAM-SHA-256= or SCRAM-SHA-512=")
        }
        let rest = argument[argument.index(after: sign)...]
        guard rest.hasPrefix("["), rest.hasSuffix("]") else {
            throw CommandFailure("--add-scram has the form \(mechanism.name)=[name=alice,password=…]")
        }
        let values = try values(rest.dropFirst().dropLast())
        guard let name = values["name"], !name.isEmpty else { throw CommandFailure("--add-scram must have a name") }
        let iterations = values["iterations"].map { Int32($0) } ?? ScramMechanism.minimumIterations
        guard let iterations, (ScramMechanism.minimumIterations...ScramMechanism.maximumIterations).contains(iterations) else {
            throw CommandFailure("--add-scram: iterations is a number from 4096 to 16384")
        }
        let salt: [UInt8]
        if let text = values["salt"] {
            guard let bytes = Base64.decode(text), !bytes.isEmpty else { throw CommandFailure("--add-scram: salt is not base64") }
            salt = bytes
        } else {
            var generator = SystemRandomNumberGenerator()
            salt = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
        let salted = try saltedPassword(values, mechanism, salt, iterations)
        return ScramKeys(mechanism, saltedPassword: salted, salt: salt, iterations: iterations).record(user: name, mechanism)
    }

    private static func saltedPassword(
        _ values: [String: String], _ mechanism: ScramMechanism, _ salt: [UInt8], _ iterations: Int32
    ) throws -> [UInt8] {
        if let text = values["saltedpassword"] {
            guard values["password"] == nil, values["salt"] != nil else {
                throw CommandFailure("--add-scram: saltedpassword needs salt, and no password beside it")
            }
            guard let bytes = Base64.decode(text), bytes.count == mechanism.keyLength else {
                throw CommandFailure("--add-scram: saltedpassword is not base64 of \(mechanism.keyLength) bytes")
            }
            return bytes
        }
        guard let password = values["password"], let salted = mechanism.saltedPassword(password, salt: salt, iterations: iterations) else {
            throw CommandFailure("--add-scram must have a password or a saltedpassword")
        }
        return salted
    }

    /// `a=b,c=d`; values may be quoted, and a comma within belongs to the value unless a key follows.
    private static func values(_ text: Substring) throws -> [String: String] {
        var values: [String: String] = [:]
        var last: String?
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            if let sign = part.firstIndex(of: "="), keys.contains(String(part[..<sign])) {
                let key = String(part[..<sign])
                guard values[key] == nil else { throw CommandFailure("--add-scram has \(key) twice") }
                values[key] = String(part[part.index(after: sign)...])
                last = key
            } else if let key = last {
                values[key, default: ""] += "," + part
            } else {
                throw CommandFailure("--add-scram: the first key must be one of \(keys.joined(separator: ", "))")
            }
        }
        return values.mapValues { value in
            value.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"") ? String(value.dropFirst().dropLast()) : value
        }
    }
}
