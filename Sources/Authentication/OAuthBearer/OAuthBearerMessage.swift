// OAUTHBEARER's messages (RFC 7628, KIP-255): the client's first and only one with its token, the server's answer to a token that it
// does not take, and the byte with which the client confirms having read it.

/// What a client says first.
struct OAuthBearerMessage: Equatable {
    /// Empty when the client does not ask to act as anybody in particular.
    var authorizationID: String
    var token: String
    /// In the order given; KIP-342. Nothing here looks at them, but they have to be well-formed.
    var extensions: [Extension]

    struct Extension: Equatable {
        var name: String
        var value: String
    }

    static let separator: UInt8 = 1
    /// The client's answer to the server's error.
    static let confirmation: [UInt8] = [separator]
    /// More extensions are no message of a client's.
    static let maximumExtensions = 64

    /// The message of a client that has this token.
    static func bytes(token: String) -> [UInt8] { Array("n,,\u{1}auth=Bearer \(token)\u{1}\u{1}".utf8) }

}

extension OAuthBearerMessage {
    /// Reads `n,[a=NAME],` SEPARATOR (KEY `=` VALUE SEPARATOR)* SEPARATOR; nil when it is none.
    init?(_ bytes: [UInt8]) {
        guard bytes.last == Self.separator else { return nil }
        let parts = bytes.dropLast().split(separator: Self.separator, omittingEmptySubsequences: false)
        // The last pair has a separator of its own, and the message ends with one more.
        guard parts.count >= 2, parts[parts.count - 1].isEmpty, parts.count <= Self.maximumExtensions + 3,
            let id = Self.authorizationID(parts[0])
        else { return nil }
        authorizationID = id
        extensions = []
        var found: String?
        for part in parts[1..<(parts.count - 1)] {
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let name = part[..<equals]
            let value = part[(equals + 1)...]
            guard !name.isEmpty, name.allSatisfy(Self.isLetter), !value.isEmpty, value.allSatisfy(Self.isValue) else { return nil }
            let text = String(decoding: name, as: UTF8.self)
            guard text != "auth" else {
                guard found == nil, let token = Self.token(value) else { return nil }
                found = token
                continue
            }
            guard !extensions.contains(where: { $0.name == text }) else { return nil }
            extensions.append(Extension(name: text, value: String(decoding: value, as: UTF8.self)))
        }
        guard let found else { return nil }
        token = found
    }

    /// The header of GS2 (RFC 5801) without channel binding: `n,,` or `n,a=NAME,`, with `=2C` for a comma and `=3D` for an equals sign.
    private static func authorizationID(_ header: ArraySlice<UInt8>) -> String? {
        let fields = header.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard fields.count == 3, fields[0].elementsEqual("n".utf8), fields[2].isEmpty else { return nil }
        if fields[1].isEmpty { return "" }
        guard fields[1].starts(with: "a=".utf8), fields[1].count > 2 else { return nil }
        var name: [UInt8] = []
        var rest = fields[1].dropFirst(2)
        while let byte = rest.first {
            guard (1...0x7f).contains(byte) else { return nil }
            if byte != UInt8(ascii: "=") {
                name.append(byte)
                rest = rest.dropFirst()
            } else if rest.starts(with: "=2C".utf8) {
                name.append(UInt8(ascii: ","))
                rest = rest.dropFirst(3)
            } else if rest.starts(with: "=3D".utf8) {
                name.append(UInt8(ascii: "="))
                rest = rest.dropFirst(3)
            } else {
                return nil
            }
        }
        return String(decoding: name, as: UTF8.self)
    }

    /// The token of `Bearer TOKEN` (RFC 6750); the word in any case.
    private static func token(_ value: ArraySlice<UInt8>) -> String? {
        let scheme = value.prefix { $0 != UInt8(ascii: " ") }
        guard String(decoding: scheme, as: UTF8.self).lowercased() == "bearer" else { return nil }
        let token = value.dropFirst(scheme.count).drop { $0 == UInt8(ascii: " ") }
        guard token.startIndex > value.startIndex + scheme.count, !token.isEmpty else { return nil }
        let content = token.prefix { $0 != UInt8(ascii: "=") }
        guard !content.isEmpty, content.allSatisfy(isTokenCharacter), token.dropFirst(content.count).allSatisfy({ $0 == UInt8(ascii: "=") })
        else { return nil }
        return String(decoding: token, as: UTF8.self)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isValue(_ byte: UInt8) -> Bool {
        (0x20...0x7e).contains(byte) || byte == 9 || byte == 10 || byte == 13
    }

    private static func isTokenCharacter(_ byte: UInt8) -> Bool {
        isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "-_~+/.".utf8.contains(byte)
    }
}
