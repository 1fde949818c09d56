// `ssl.principal.mapping.rules`: from the distinguished name of a certificate to the name of a user (KIP-371).
import _StringProcessing

/// What is wrong with the rules.
public struct PrincipalMappingError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
}

/// A list of rules; the first that matches the whole name decides.
public struct PrincipalMappingRules: Sendable, Equatable {
    enum Rule: Sendable, Equatable {
        case asIs
        case replace(pattern: String, replacement: String, letters: Letters)
    }

    enum Letters: Sendable, Equatable {
        case unchanged, lower, upper
    }

    private var rules: [Rule]

    /// The name as it is.
    public static let standard = PrincipalMappingRules(rules: [.asIs])

    private init(rules: [Rule]) { self.rules = rules }

    /// Reads `RULE:pattern/replacement/[LU], …, DEFAULT`. Slashes and commas within a pattern are escaped by a backslash.
    public init(_ text: String) throws(PrincipalMappingError) {
        var rules: [Rule] = []
        var rest = Substring(text)
        while true {
            rest = rest.drop { $0 == " " || $0 == "," || $0 == "\n" || $0 == "\t" }
            if rest.isEmpty { break }
            if rest.hasPrefix("DEFAULT") {
                rest = rest.dropFirst(7)
                rules.append(.asIs)
            } else if rest.hasPrefix("RULE:") {
                rest = rest.dropFirst(5)
                rules.append(try Self.rule(&rest))
            } else {
                throw PrincipalMappingError(description: "'\(rest)' begins with neither RULE: nor DEFAULT")
            }
            guard rest.first == nil || rest.first == "," || rest.first == " " else {
                throw PrincipalMappingError(description: "'\(rest)' stands behind a rule without a comma")
            }
        }
        self.rules = rules.isEmpty ? [.asIs] : rules
    }

    private static func rule(_ rest: inout Substring) throws(PrincipalMappingError) -> Rule {
        let pattern = try part(&rest)
        let replacement = try part(&rest)
        let letters: Letters
        switch rest.first {
        case "L": letters = .lower
        case "U": letters = .upper
        default: letters = .unchanged
        }
        if letters != .unchanged { rest = rest.dropFirst() }
        do {
            _ = try Regex<AnyRegexOutput>(pattern)
        } catch {
            throw PrincipalMappingError(description: "'\(pattern)' is no regular expression")
        }
        return .replace(pattern: pattern, replacement: replacement, letters: letters)
    }

    /// Up to the next slash that is not escaped.
    private static func part(_ rest: inout Substring) throws(PrincipalMappingError) -> String {
        var result = ""
        while let character = rest.first {
            rest = rest.dropFirst()
            if character == "/" { return result }
            if character == "\\", rest.first == "/" {
                result += "/"
                rest = rest.dropFirst()
            } else {
                result.append(character)
            }
        }
        throw PrincipalMappingError(description: "a RULE has the form RULE:pattern/replacement/, with L or U behind it if wanted")
    }

    /// The user of a distinguished name; nil when no rule matches, and then nobody is let in.
    public func user(of distinguishedName: String) -> String? {
        for rule in rules {
            switch rule {
            case .asIs: return distinguishedName
            case .replace(let pattern, let replacement, let letters):
                guard let regex = try? Regex<AnyRegexOutput>(pattern), let match = distinguishedName.wholeMatch(of: regex) else { continue }
                let user = Self.fill(replacement, from: match.output)
                switch letters {
                case .unchanged: return user
                case .lower: return user.lowercased()
                case .upper: return user.uppercased()
                }
            }
        }
        return nil
    }

    /// Puts groups in the places of `$1`, `$2` and so on.
    private static func fill(_ replacement: String, from groups: AnyRegexOutput) -> String {
        var result = ""
        var rest = Substring(replacement)
        while let character = rest.first {
            rest = rest.dropFirst()
            if character == "\\", let escaped = rest.first {
                result.append(escaped)
                rest = rest.dropFirst()
            } else if character == "$", let digit = rest.first?.wholeNumberValue, digit < groups.count {
                result += groups[digit].substring ?? ""
                rest = rest.dropFirst()
            } else {
                result.append(character)
            }
        }
        return result
    }
}
