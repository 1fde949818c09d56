// Users of PLAIN in a file of lines, for those who would rather not write JAAS into a configuration.

/// What is wrong with a file of users; never contains a password.
public struct PasswordFileError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
}

/// Lines `user:password` or `user=password`; empty lines and lines that begin with `#` do not count. The first mark separates, so a
/// password may contain both.
public enum PasswordFile {
    /// The passwords by user.
    public static func parse(_ text: String) throws(PasswordFileError) -> [String: String] {
        var users: [String: String] = [:]
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let trimmed = line.drop { $0 == " " || $0 == "\t" }
            if trimmed.isEmpty || trimmed.hasPrefix("#") { continue }
            guard let mark = trimmed.firstIndex(where: { $0 == ":" || $0 == "=" }), mark != trimmed.startIndex,
                trimmed.index(after: mark) != trimmed.endIndex
            else { throw PasswordFileError(description: "line \(index + 1) is not of the form user:password") }
            let user = String(trimmed[..<mark])
            guard users.updateValue(String(trimmed[trimmed.index(after: mark)...]), forKey: user) == nil else {
                throw PasswordFileError(description: "line \(index + 1) names the user \(user) a second time")
            }
        }
        return users
    }
}
