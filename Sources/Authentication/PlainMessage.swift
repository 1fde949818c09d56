// PLAIN (RFC 4616): user and password in the clear, so only to be used where the connection itself is safe.

enum PlainMessage {
    /// Checks `[authorization id] NUL user NUL password`.
    static func check(_ token: [UInt8], password: (String) -> String?) -> SaslServerStep {
        let parts = token.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 3, let id = String(validating: parts[0], as: UTF8.self), let user = String(validating: parts[1], as: UTF8.self)
        else { return .failed(.malformed) }
        if user.isEmpty { return .failed(.noUser) }
        if parts[2].isEmpty { return .failed(.noPassword) }
        // Whether there is such a user must not show in the time this takes.
        let expected = password(user)
        let isRight = isEqualInConstantTime(Array((expected ?? String(repeating: "?", count: parts[2].count)).utf8), Array(parts[2]))
        guard expected != nil, isRight else { return .failed(.invalidCredentials(user: user)) }
        guard id.isEmpty || id == user else { return .failed(.otherAuthorizationID(user: user)) }
        return .complete([], user: user)
    }
}
