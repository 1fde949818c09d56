// The same security for connections that are not this library's: links fetch over the broker's own.
import Authentication
import TransportSecurity

extension ClientSecurity {
    /// Nil for plaintext.
    package var peerTLS: TLSClientContext? { tls }

    /// What to log in with, asked for at every login; nil without SASL.
    package var peerCredentials: (@Sendable () -> SaslCredentials)? {
        guard let credentials else { return nil }
        // A token that cannot be read makes the login fail, which says so.
        return { (try? currentCredentials()) ?? credentials }
    }
}
