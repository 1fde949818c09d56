// The algorithms of RFC 7518 and RFC 8037 that a token may be signed with: those with a public key. `none` and the ones with a shared
// secret (HS256 and the like) are not among them, whatever a key set says.

/// An algorithm of a token's signature, by the name in its header.
enum SignatureAlgorithm: String, Sendable, CaseIterable {
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case edDSA = "EdDSA"

    /// What kind of key it takes. A key is never used for an algorithm of another kind.
    var family: KeyFamily {
        switch self {
        case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512: .rsa
        case .es256: .p256
        case .es384: .p384
        case .es512: .p521
        case .edDSA: .ed25519
        }
    }
}

/// The kinds of keys.
enum KeyFamily: Sendable {
    case rsa
    case p256
    case p384
    case p521
    case ed25519
}
