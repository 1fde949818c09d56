// The four messages of a SCRAM exchange as text (RFC 5802, section 7).
import Primitives

enum ScramMessageError: Error {
    case malformed
}

/// Names as they stand in messages: `,` and `=` are escaped.
enum ScramName {
    static func escape(_ name: String) -> String {
        var result = ""
        for character in name {
            switch character {
            case "=": result += "=3D"
            case ",": result += "=2C"
            default: result.append(character)
            }
        }
        return result
    }

    static func unescape(_ text: some StringProtocol) -> String? {
        var result = ""
        var rest = Substring(text)
        while let mark = rest.firstIndex(of: "=") {
            result += rest[..<mark]
            switch rest[mark...].prefix(3) {
            case "=2C": result += ","
            case "=3D": result += "="
            default: return nil
            }
            rest = rest[rest.index(mark, offsetBy: 3)...]
        }
        return result + rest
    }
}

/// `n,,n=user,r=nonce`.
struct ScramClientFirst {
    /// The part before the bare message, such as `n,,`.
    var header: String
    /// Empty when the client asks for none.
    var authorizationID: String
    var user: String
    var nonce: String
    /// Kafka's extension `tokenauth=true` (KIP-48).
    var isTokenAuthenticated: Bool
    /// What is signed.
    var bare: String

    init(user: String, isToken: Bool = false, nonce: String) {
        header = "n,,"
        authorizationID = ""
        self.user = user
        self.nonce = nonce
        isTokenAuthenticated = isToken
        bare = "n=\(ScramName.escape(user)),r=\(nonce)\(isToken ? ",tokenauth=true" : "")"
    }

    init(_ bytes: [UInt8]) throws(ScramMessageError) {
        let text = try decoded(bytes)
        let parts = text.split(separator: ",", maxSplits: 2, omittingEmptySubsequences: false)
        // Channel binding (p=…) is not on offer, so `y` is as good as `n`.
        guard parts.count == 3, parts[0] == "n" || parts[0] == "y" else { throw .malformed }
        header = "\(parts[0]),\(parts[1]),"
        if parts[1].isEmpty {
            authorizationID = ""
        } else {
            guard parts[1].hasPrefix("a="), let id = ScramName.unescape(parts[1].dropFirst(2)) else { throw .malformed }
            authorizationID = id
        }
        bare = String(parts[2])
        var fields = bare.split(separator: ",", omittingEmptySubsequences: false)
        // A reserved field of a mandatory extension: nobody knows any.
        if fields.first?.hasPrefix("m=") == true { fields.removeFirst() }
        guard fields.count >= 2, fields[0].hasPrefix("n="), fields[1].hasPrefix("r="),
            let user = ScramName.unescape(fields[0].dropFirst(2)),
            !user.isEmpty, fields[1].count > 2
        else { throw .malformed }
        self.user = user
        nonce = String(fields[1].dropFirst(2))
        isTokenAuthenticated = fields.dropFirst(2).contains { $0.lowercased() == "tokenauth=true" }
    }

    var text: String { header + bare }
}

/// `r=nonce,s=salt,i=iterations`.
struct ScramServerFirst {
    var nonce: String
    var salt: [UInt8]
    var iterations: Int32
    var text: String

    init(nonce: String, salt: [UInt8], iterations: Int32) {
        self.nonce = nonce
        self.salt = salt
        self.iterations = iterations
        text = "r=\(nonce),s=\(Base64.encode(salt)),i=\(iterations)"
    }

    init(_ bytes: [UInt8]) throws(ScramMessageError) {
        text = try decoded(bytes)
        let fields = text.split(separator: ",", omittingEmptySubsequences: false)
        guard fields.count >= 3, fields[0].hasPrefix("r="), fields[1].hasPrefix("s="), fields[2].hasPrefix("i="),
            let salt = Base64.decode(String(fields[1].dropFirst(2))), let iterations = Int32(fields[2].dropFirst(2)), iterations > 0
        else { throw .malformed }
        nonce = String(fields[0].dropFirst(2))
        self.salt = salt
        self.iterations = iterations
    }
}

/// `c=binding,r=nonce,p=proof`.
struct ScramClientFinal {
    var binding: [UInt8]
    var nonce: String
    var proof: [UInt8]
    /// What is signed.
    var withoutProof: String

    init(nonce: String) {
        binding = Array("n,,".utf8)
        self.nonce = nonce
        proof = []
        withoutProof = "c=\(Base64.encode(binding)),r=\(nonce)"
    }

    init(_ bytes: [UInt8]) throws(ScramMessageError) {
        let text = try decoded(bytes)
        let fields = text.split(separator: ",", omittingEmptySubsequences: false)
        guard fields.count >= 3, fields[0].hasPrefix("c="), fields[1].hasPrefix("r="), let last = fields.last, last.hasPrefix("p="),
            let binding = Base64.decode(String(fields[0].dropFirst(2))), let proof = Base64.decode(String(last.dropFirst(2)))
        else { throw .malformed }
        self.binding = binding
        nonce = String(fields[1].dropFirst(2))
        self.proof = proof
        withoutProof = fields.dropLast().joined(separator: ",")
    }

    var text: String { withoutProof + ",p=" + Base64.encode(proof) }
}

/// The server's last message: `v=signature`, or `e=error`.
enum ScramServerFinal {
    case signature([UInt8])
    case error(String)

    init(_ bytes: [UInt8]) throws(ScramMessageError) {
        let text = try decoded(bytes)
        let field = text.split(separator: ",", omittingEmptySubsequences: false).first ?? ""
        if field.hasPrefix("e=") {
            self = .error(String(field.dropFirst(2)))
        } else if field.hasPrefix("v="), let signature = Base64.decode(String(field.dropFirst(2))) {
            self = .signature(signature)
        } else {
            throw .malformed
        }
    }
}

private func decoded(_ bytes: [UInt8]) throws(ScramMessageError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else { throw .malformed }
    return text
}
