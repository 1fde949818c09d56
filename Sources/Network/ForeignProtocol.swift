// Tells clients that speak something else from Kafka clients, by the first four bytes: the commonest mistakes of configuration are a
// TLS client on a plaintext listener and a browser or probe on the broker's port, and both deserve a better answer than silence.

/// Another protocol, and what its user should do.
enum ForeignProtocol: String, Sendable {
    case tls = "TLS"
    case http = "HTTP"

    /// - Parameter firstBytes: the first four bytes of the connection, which in Kafka's protocol are a size.
    init?(firstBytes: UInt32) {
        // A TLS record: handshake (22), version 3.x.
        if firstBytes >> 16 == 0x1603 {
            self = .tls
            return
        }
        let word = String(decoding: (0..<4).map { UInt8(truncatingIfNeeded: firstBytes >> UInt32(24 - 8 * $0)) }, as: UTF8.self)
        // Methods by their first four letters; "PRI " opens HTTP/2.
        guard ["GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI "].contains(word) else { return nil }
        self = .http
    }

    func remedy(listener: String) -> String {
        switch self {
        case .tls:
            return "a TLS client connected to the plaintext listener \(listener): set security.protocol=PLAINTEXT in the client, "
                + "or let it connect to a listener that is mapped to SSL in listener.security.protocol.map"
        case .http:
            return "an HTTP client connected to the Kafka listener \(listener): point it to the admin port, which serves /health and "
                + "/metrics, or use a Kafka client here"
        }
    }
}
